"""A profile as one HTML file that needs nothing else: no network, no other file.

All text of the tool is carried as JSON in a script element that browsers do not run, and put on the page as
text nodes only; a content security policy forbids the page everything but its own script and style.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from importlib.resources import files
from typing import Any

from elf_pysandbox._profile.model import Frame, Profile
from elf_pysandbox._profile.text import render

_POLICY = "default-src 'none'; script-src 'sha256-{script}'; style-src 'sha256-{style}'"


def render_page(profile: Profile) -> str:
    """Return the page."""
    folder = files("elf_pysandbox._profile")
    script = folder.joinpath("flame.js").read_text(encoding="utf-8")
    style = folder.joinpath("flame.css").read_text(encoding="utf-8")
    policy = _POLICY.format(script=_digest(script), style=_digest(style))
    # "<" cannot occur in it, so nothing of it can end the element.
    data = json.dumps(_data(profile), ensure_ascii=True).replace("<", "\\u003c")
    title = html.escape(f"Profile of {profile.target}")
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{html.escape(policy)}">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
<p id="hint">Click a bar to look closer, the first one to go back.</p>
<div id="flame" role="img" aria-label="Flame graph"></div>
<div id="detail" aria-live="polite">&nbsp;</div>
<table id="lines"><caption>Hottest lines</caption><tbody></tbody></table>
<pre id="report">{html.escape(render(profile))}</pre>
<script type="application/json" id="data">{data}</script>
<script>{script}</script>
</body>
</html>
"""


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _data(profile: Profile) -> dict[str, Any]:
    whole = profile.seconds or 1.0
    lines = [
        {"file": file, "line": line, "share": spent / whole, "source": profile.source(file, line)}
        for file, line, spent in profile.lines()[:40]
    ]
    return {"target": profile.target, "tree": tree(profile), "lines": lines}


def tree(profile: Profile) -> dict[str, Any]:
    """Return the flame graph: name, file, line, seconds and children of each node, the widest child first."""
    root: dict[str, Any] = {"name": profile.target, "file": "", "line": 0, "seconds": 0.0, "children": {}}
    for stack in profile.stacks:
        node = root
        node["seconds"] += stack.seconds
        for frame, _ in stack.frames:
            node = node["children"].setdefault(frame, _node(frame))
            node["seconds"] += stack.seconds
    return _ordered(root)


def _node(frame: Frame) -> dict[str, Any]:
    return {"name": frame.name, "file": frame.file, "line": frame.line, "seconds": 0.0, "children": {}}


def _ordered(node: dict[str, Any]) -> dict[str, Any]:
    children = sorted(node["children"].values(), key=lambda child: -child["seconds"])
    return {**node, "children": [_ordered(child) for child in children]}
