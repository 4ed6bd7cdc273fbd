"""One process that checks source under the language policy; it parses, and runs nothing.

The host never parses what a caller hands it with more than `ast`, and deep nesting can end even that process: so
the check has a process of its own, started like the zygote, with limits that it sets itself.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

TIMEOUT_S = 120.0
_BOOT = "import sys; sys.path.extend(sys.argv[1:]); from elf_pysandbox_worker.restricted.checking import main; main()"

File = tuple[str, bytes, Sequence[str]]
"""Path, source, and the names of the modules beside it."""


def check_files(
    files: Sequence[File],
    roots: Sequence[str],
    *,
    allowed_imports: Sequence[str],
    files_granted: bool,
    python: str = "",
) -> Iterator[tuple[str, list[list[Any]] | None]]:
    """Yield (path, findings as lists) of each file in order; None for a file whose check ended the process.

    Parameters
    ----------
    files : sequence of File
    roots : sequence of str
        Folders that hold `elf_pysandbox_worker` and the packages it imports.
    allowed_imports, files_granted
        As for a template.
    python : str
        Path of the interpreter; the host's own by default.
    """
    rest = list(files)
    while rest:
        request = {
            "files": [
                (path, base64.b64encode(source).decode(), list(beside)) for path, source, beside in rest
            ],
            "allowed_imports": list(allowed_imports),
            "files_granted": files_granted,
        }
        answers = _ask(json.dumps(request).encode(), roots, python or sys.executable)
        yield from answers
        rest = rest[len(answers) :]
        if rest:
            yield rest.pop(0)[0], None


def _ask(request: bytes, roots: Sequence[str], python: str) -> list[tuple[str, list[list[Any]]]]:
    """Run the checker once; return the answers it gave before it ended."""
    try:
        ended = subprocess.run(
            [python, "-I", "-S", "-c", _BOOT, *roots],
            input=request,
            capture_output=True,
            env={},
            cwd="/",
            timeout=TIMEOUT_S,
            start_new_session=True,
            check=False,
        )
        output, errors = ended.stdout, ended.stderr
    except subprocess.TimeoutExpired as late:
        output, errors = late.stdout or b"", b""
    if not output and b"Error" in errors:
        raise OSError(errors.decode(errors="replace")[-2000:].strip())
    answers = []
    for line in output.split(b"\n")[:-1]:
        path, found = json.loads(line)
        answers.append((path, found))
    return answers
