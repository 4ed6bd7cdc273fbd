"""Loading bundles through the policy's door, in a process of its own: a process holds one tool."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from typing import Any

_RUN = """
import json, sys, traceback
from elf_pysandbox_worker import restricted
from elf_pysandbox_worker.wire.messages import Bundle, SourceFile
request = json.load(sys.stdin)
files = [SourceFile(name, path, source.encode("latin-1"), package) for name, path, source, package in request["files"]]
try:
    module = restricted.load(Bundle(request["entry"], files), **request["options"])
    answer = ["ok", repr(module.run()) if hasattr(module, "run") else ""]
except restricted.PolicyDenied as denied:
    answer = ["denied", " ".join(found.rule for found in denied.diagnostics) + " " + str(denied)]
except BaseException as error:
    answer = [type(error).__name__, str(error) + "\\n" + traceback.format_exc()]
print("\\n" + json.dumps(answer))
"""


def load(source: str | bytes | dict[str, str], entry: str = "tool", **options: Any) -> tuple[str, str]:
    """Load a module, or modules by name (packages end in a dot); return how it ended and what `run()` gave.

    Ends are "ok", "denied" (then the rules come first), or the name of an exception with its message.
    """
    modules = source if isinstance(source, dict) else {entry: source}
    files = []
    for name, text in modules.items():
        package, full = name.endswith("."), name.rstrip(".")
        path = f"/tools/{full.replace('.', '/')}{'/__init__' if package else ''}.py"
        raw = text if isinstance(text, bytes) else textwrap.dedent(text).encode()
        files.append((full, path, raw.decode("latin-1"), package))
    ended = subprocess.run(
        [sys.executable, "-c", _RUN],
        input=json.dumps({"files": files, "entry": entry, "options": options}),
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    status, said = json.loads(ended.stdout.splitlines()[-1])
    return status, said
