"""Checking source without running it: every finding at once, and never an exception.

Hostile source can end the process that parses it, or worse: `check_process` is where this runs for the host.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from elf_pysandbox_worker.restricted.compiler import check_source
from elf_pysandbox_worker.restricted.diagnostics import Diagnostic, PolicyDenied, finding
from elf_pysandbox_worker.restricted.importer import Importer
from elf_pysandbox_worker.wire.messages import Bundle, SourceFile


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
