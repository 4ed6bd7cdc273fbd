"""From bytes to code: decode, parse, check, compile.

The interpreter's own parser decodes (PEP 263 cookies, byte order marks), so what is checked is what runs. A
module is compiled once per process: the cache is keyed by the hash of its bytes and by what the verdict
depends on.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from types import CodeType

from elf_pysandbox_worker.restricted.diagnostics import Diagnostic, PolicyDenied, finding, listed
from elf_pysandbox_worker.restricted.state import STATE
from elf_pysandbox_worker.restricted.transformer import ImportVerdict, PolicyTransformer

# The transformer uses three Python frames for each level of a tree, and those take no C stack since 3.11. The
# parser builds no tree that needs more than this.
_RECURSION_LIMIT = 30_000

_cache: dict[tuple[str, str, bool, bool], CodeType] = {}


def compile_module(
    source: bytes,
    path: str,
    import_verdict: ImportVerdict | None,
    *,
    files_granted: bool,
    learn: bool = False,
) -> tuple[CodeType, tuple[Diagnostic, ...]]:
    """Return a module's code and its findings that do not keep it from loading.

    Parameters
    ----------
    source : bytes
    path : str
        Where the module comes from, for tracebacks and findings.
    import_verdict : callable or None
        See `PolicyTransformer`.
    files_granted, learn : bool
        See `PolicyTransformer`.

    Raises
    ------
    PolicyDenied
        With every finding, when at least one of them is an error (never in learn mode).
    SyntaxError, ValueError
        As the interpreter raises them.
    """
    key = (hashlib.sha256(source).hexdigest(), path, files_granted, learn)
    cached = _cache.get(key)
    if cached is not None:
        return cached, ()
    try:
        tree = ast.parse(source, path)
        options = {"files_granted": files_granted, "learn": learn}
        findings, refused = _checked(tree, source, path, import_verdict, **options)
        if refused and not learn:
            raise PolicyDenied(findings)
        code: CodeType = compile(tree, path, "exec", dont_inherit=True)
    except (RecursionError, MemoryError) as error:
        raise _too_deep(error, path) from None
    _cache[key] = code
    return code, findings


def check_source(
    source: bytes, path: str, import_verdict: ImportVerdict | None, *, files_granted: bool
) -> tuple[Diagnostic, ...]:
    """Parse and check, without refusing: return every finding.

    Raises
    ------
    PolicyDenied
        Nested too deeply.
    SyntaxError, ValueError
        As the interpreter raises them.
    """
    try:
        tree = ast.parse(source, path)
        findings, refused = _checked(tree, source, path, import_verdict, files_granted=files_granted)
        if not refused:
            compile(tree, path, "exec", dont_inherit=True)  # symbols and nesting have their own errors
    except (RecursionError, MemoryError) as error:
        raise _too_deep(error, path) from None
    return findings


def compile_expression(source: str | bytes) -> CodeType:
    """Return the code of one expression, for the `eval` of tool code.

    Raises
    ------
    PolicyDenied, SyntaxError, TypeError
    """
    if not isinstance(source, (str, bytes)):
        raise TypeError("eval() arg 1 must be a string or bytes object")
    text = str.__str__(source) if isinstance(source, str) else source_text(source)
    try:
        tree = ast.parse(text.lstrip(" \t"), "<string>", "eval")
        findings, refused = _checked(tree, text.encode("utf-8", "replace"), "<string>", None)
        if refused and not STATE.learn:
            raise PolicyDenied(findings)
        return compile(tree, "<string>", "eval", dont_inherit=True)
    except (RecursionError, MemoryError) as error:
        raise _too_deep(error, "<string>") from None


def check_tree(
    tree: ast.AST,
    source: bytes,
    path: str,
    import_verdict: ImportVerdict | None,
    *,
    files_granted: bool = True,
    learn: bool = False,
) -> tuple[Diagnostic, ...]:
    """Check a tree, rewrite it in place, and return the findings in source order."""
    return _checked(tree, source, path, import_verdict, files_granted=files_granted, learn=learn)[0]


def _checked(
    tree: ast.AST, source: bytes, path: str, import_verdict: ImportVerdict | None, **options: bool
) -> tuple[tuple[Diagnostic, ...], bool]:
    """Return the findings, and whether one of them is an error: never by their class, which a tool can hold."""
    transformer = PolicyTransformer(import_verdict, **options)
    _visit(transformer, tree)
    return _located(transformer.findings, source, path), transformer.refused


def check_generated(tree: ast.AST, source: str, *, generated: bool = True) -> tuple[Diagnostic, ...]:
    """Check text that a library is about to run.

    Parameters
    ----------
    generated : bool
        The text itself will run, so that names which need a guard are findings; else the tree will, rewritten.
    """
    transformer = PolicyTransformer(
        lambda name, level: ("PSB404", "Generated code imports.", ""), generated=generated
    )
    _visit(transformer, tree)
    return _located(transformer.findings, source.encode(), "<generated>")


# No context managers in this module: tools hold the class of those, and its `__exit__` could swallow an error.


def _too_deep(error: BaseException, path: str) -> PolicyDenied:
    message = f"The source is nested too deeply to compile ({error or type(error).__name__})."
    return PolicyDenied([finding("PSB002", message)._replace(path=path, line=1, column=1)])


def _visit(transformer: PolicyTransformer, tree: ast.AST) -> None:
    """Let the check recurse deeply. Never around the parser or compiler: they take this limit for their C stack."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, _RECURSION_LIMIT))
    try:
        transformer.visit(tree)
    finally:
        sys.setrecursionlimit(before)


def _located(findings: list[Diagnostic], source: bytes, path: str) -> tuple[Diagnostic, ...]:
    """List findings, with columns that count characters from 1 in place of the parser's byte offsets."""
    if not findings:
        return ()
    kept = listed(findings)
    columns = _columns(
        {(f.line, f.column) for f in kept} | {(f.end_line, f.end_column) for f in kept}, source
    )
    return tuple(
        found._replace(
            path=path,
            column=columns[found.line, found.column],
            end_column=columns[found.end_line, found.end_column],
        )
        for found in kept
    )


def _columns(places: set[tuple[int, int]], source: bytes) -> dict[tuple[int, int], int]:
    """Return the column of each (line, byte offset). A line is gone through once: it may be all of a large file."""
    lines = source_text(source).encode().split(b"\n")
    columns: dict[tuple[int, int], int] = {}
    current = reached = characters = 0
    for line, offset in sorted(places):
        if line != current:
            current, reached, characters = line, 0, 0
        text = lines[line - 1] if 0 < line <= len(lines) else b""
        characters += len(text[reached:offset].decode("utf-8", "replace"))
        reached = max(reached, offset)
        columns[line, offset] = characters + 1
    return columns


def source_text(source: bytes) -> str:
    """Return decoded source with universal newlines, as the parser sees it; never fails."""
    import io
    import tokenize

    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
        text = source.decode(encoding, "replace")
    except (SyntaxError, LookupError, UnicodeDecodeError):
        text = source.decode("utf-8", "replace")
    return text.replace("\r\n", "\n").replace("\r", "\n")
