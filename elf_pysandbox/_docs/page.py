"""Pages of tools as HTML: the Markdown of `markdown`, of which only what that writes is understood."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

_STYLE = """:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 50rem; margin: 2rem auto; padding: 0 1rem; }
pre { background: #8881; padding: 0.8rem; overflow-x: auto; }
code, pre { font-family: ui-monospace, monospace; font-size: 0.9em; }
table { border-collapse: collapse; } th, td { border: 1px solid #8885; padding: 0.2rem 0.6rem; text-align: left; }"""


def render(title: str, markdown: str) -> str:
    """Return a page that needs nothing else and runs no script."""
    body = "\n".join(_blocks(markdown))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{html.escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
{body}
</body>
</html>
"""


def _blocks(markdown: str) -> Iterator[str]:
    lines = iter(markdown.splitlines())
    paragraph: list[str] = []
    for line in lines:
        special = line.startswith(("#", "```", "|", "- ")) or not line.strip()
        if not special:
            paragraph.append(line)
            continue
        if paragraph:
            yield f"<p>{_inline(' '.join(paragraph))}</p>"
            paragraph = []
        if line.startswith("```"):
            yield f"<pre>{html.escape(_fenced(lines))}</pre>"
        elif line.startswith("#"):
            level = len(line) - len(line.lstrip("#"))
            yield f"<h{level}>{_inline(line[level:].strip())}</h{level}>"
        elif line.startswith("|"):
            yield from _table(line, lines)
        elif line.startswith("- "):
            yield f"<p>• {_inline(line[2:])}</p>"
    if paragraph:
        yield f"<p>{_inline(' '.join(paragraph))}</p>"


def _fenced(lines: Iterator[str]) -> str:
    block = []
    for line in lines:
        if line.startswith("```"):
            break
        block.append(line)
    return "\n".join(block)


def _table(head: str, lines: Iterator[str]) -> Iterator[str]:
    yield "<table>" + _row(head, "th")
    next(lines, None)  # the line of dashes
    for line in lines:
        if not line.startswith("|"):
            break
        yield _row(line, "td")
    yield "</table>"


def _row(line: str, cell: str) -> str:
    cells = re.split(r"(?<!\\)\|", line.strip())[1:-1]
    return "<tr>" + "".join(f"<{cell}>{_inline(text.strip())}</{cell}>" for text in cells) + "</tr>"


def _inline(text: str) -> str:
    """Escape the text, then put back the few marks that `markdown` writes."""
    parts = re.split(r"(`[^`]*`)", text.replace("\\|", "|"))
    return "".join(_code(part) if part.startswith("`") and len(part) > 1 else _marks(part) for part in parts)


def _code(part: str) -> str:
    return f"<code>{html.escape(part[1:-1])}</code>"


def _marks(text: str) -> str:
    safe = html.escape(html.unescape(text))
    safe = re.sub(r"\*\*([^*]+)\*\*", r"<strong>\1</strong>", safe)
    safe = re.sub(r"(?<!\*)\*([^*]+)\*(?!\*)", r"<em>\1</em>", safe)
    return re.sub(r"\[([^\]]+)\]\(([\w.\-]+\.html)\)", r'<a href="\2">\1</a>', safe)
