"""Checking source without running it: every finding at once, and never an exception.

Run as a program by the host (`elf_pysandbox._host.checker`): a request on standard input, findings on standard output,
both JSON. A process of its own, with limits of its own, because hostile source can end the process that parses it.
"""

from __future__ import annotations

import base64
import json
import resource
import sys
from collections.abc import Collection, Sequence

from elf_pysandbox_worker.restricted.compiler import check_source
from elf_pysandbox_worker.restricted.diagnostics import Diagnostic, PolicyDenied, finding
from elf_pysandbox_worker.restricted.importer import Importer
from elf_pysandbox_worker.wire.messages import Bundle, SourceFile

MEMORY_BYTES = 1 << 30
CPU_S = 120


def check(
    source: bytes,
    path: str = "<string>",
    *,
    allowed_imports: Sequence[str] = (),
    siblings: Collection[str] = (),
    files_granted: bool = False,
) -> list[Diagnostic]:
    """Return every finding of one module, in source order.

    Parameters
    ----------
    source : bytes
        The file as it is; decoded as the interpreter does.
    path : str
        Where it comes from, for the findings.
    allowed_imports : sequence of str
        Modules beyond the default allowlist.
    siblings : collection of str
        Modules that would travel in the same bundle.
    files_granted : bool
        Whether the tool would have a file grant.
    """
    importer = Importer(Bundle("", [SourceFile(name, "", b"") for name in siblings]), allowed_imports)
    try:
        return list(check_source(source, path, importer.verdict(), files_granted=files_granted))
    except PolicyDenied as denied:
        return list(denied.diagnostics)
    except SyntaxError as error:
        return [_syntax_finding(error, path)]
    except (ValueError, LookupError) as error:
        return [
            finding("PSB003", f"The source cannot be decoded: {error}.")._replace(path=path, line=1, column=1)
        ]


def _syntax_finding(error: SyntaxError, path: str) -> Diagnostic:
    # The parser tells a source that it cannot decode by a SyntaxError, too.
    undecodable = "codec" in str(error.msg) or "encoding" in str(error.msg) or "null bytes" in str(error.msg)
    deep = "too many" in str(error.msg) or "nested" in str(error.msg) or "complex" in str(error.msg)
    rule = "PSB003" if undecodable else "PSB002" if deep else "PSB001"
    line, column = error.lineno or 1, error.offset or 1
    return finding(rule, f"{str(error.msg)[:1].upper()}{str(error.msg)[1:]}.")._replace(
        path=path,
        line=line,
        column=column,
        end_line=error.end_lineno or line,
        end_column=error.end_offset or column,
    )


def main() -> None:
    """Answer one request: `{"files": [[path, base64, siblings]], "allowed_imports": [], "files_granted": false}`."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    request = json.loads(sys.stdin.buffer.read())
    for path, source, siblings in request["files"]:
        found = check(
            base64.b64decode(source),
            path,
            allowed_imports=request["allowed_imports"],
            siblings=siblings,
            files_granted=request["files_granted"],
        )
        # A line each, as they come: should the process end at one file, the others' findings are there.
        sys.stdout.write(json.dumps([path, [tuple(one) for one in found]]) + "\n")
        sys.stdout.flush()
