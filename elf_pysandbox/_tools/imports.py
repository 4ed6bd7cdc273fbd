"""Which modules a source text names, found without parsing it.

A scan by regular expressions instead of `ast`: it never fails or recurses on a hostile or broken source, it
reads source of a newer Python than this one, and it costs little. It may find more than is imported (a
sentence in a docstring that reads like an import), which only makes a bundle larger, and never less than the
statements say.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from typing import NamedTuple

_BLANK = re.compile(r"(?:[ \t\f\r]|\\\r?\n)+")
_FROM = re.compile(
    r"\bfrom ?(?P<dots>(?:\. ?)*+)(?P<module>[^\W\d]\w*+(?: ?\. ?\w++)*+)? ?\bimport\b ?(?P<names>\(|[^\n;]*)"
)
_IMPORT = re.compile(r"\bimport\b(?P<names>[^\n;]*)")
_CALL = re.compile(r"\b(?:import_module|__import__)\s*\(\s*[\"'](?P<module>[\w.]++)[\"']")
_COOKIE = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")
_FIRST_LINES = re.compile(rb"[^\r\n]*(?:\r\n?|\n)?[^\r\n]*")
_BOM = b"\xef\xbb\xbf"
_SLOW = frozenset({"idna", "punycode"})
_GAP = r"(?:[ \t\f]|\\\r?\n?)*+"
_MANY_PARTS = re.compile(rf"(?<!\w)(?:\w++{_GAP}\.{_GAP}){{100}}")
_COMMENT = re.compile(r"#[^\n]*")
_AS = re.compile(r"(?<!\s)\s++as\s++\w++\s*+$")
_LONGEST_LIST = 10_000


class Import(NamedTuple):
    """One import as written: `level` leading dots, the module, and the names taken from it."""

    module: str
    level: int = 0
    names: tuple[str, ...] = ()


def decode_source(source: bytes) -> str:
    """Decode as Python does (PEP 263: a BOM, a cookie in the first two lines, else UTF-8), never failing.

    What does not decode is replaced: the confined side reports it when it compiles the same bytes.
    """
    try:
        return source.removeprefix(_BOM).decode(_encoding(source), "replace")
    except (LookupError, ValueError):
        return source.decode("utf-8", "replace")


def parses_slowly(source: bytes) -> bool:
    """Whether Python takes the square of the source's length in time or memory to read it; no honest source does that.

    That is so of two codecs, and of dotted names, of which CPython's parser keeps every prefix.
    """
    return _is_slow(_cookie(source)) or _MANY_PARTS.search(decode_source(source)) is not None


def _encoding(source: bytes) -> str:
    named = _cookie(source)
    return "utf-8" if _is_slow(named) else named


def _is_slow(encoding: str) -> bool:
    try:
        return codecs.lookup(encoding).name in _SLOW
    except (LookupError, ValueError):
        return False


def _cookie(source: bytes) -> str:
    """Return the encoding that the first two lines name, utf-8 if they name none."""
    if source.startswith(_BOM):
        return "utf-8"
    for line in _FIRST_LINES.match(source)[0].splitlines():  # type: ignore[index]
        found = _COOKIE.match(line)
        if found:
            return found.group(1).decode("ascii")
        if line.strip() and not line.lstrip().startswith(b"#"):
            break
    return "utf-8"


def scan_imports(source: bytes) -> tuple[Import, ...]:
    """Return every import that `source` names, sorted, each once."""
    if b"import" not in source and not _has_wide_encoding(source):
        return ()
    text = decode_source(source)
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    text = _BLANK.sub(" ", text)
    found: set[Import] = set()
    rest, position = [], 0
    for match in _FROM.finditer(text):
        level = match["dots"].count(".")
        if level or match["module"]:
            found.add(Import(_squeeze(match["module"] or ""), level, _names(_clause(text, match))))
        rest.append(text[position : match.start()])
        position = match.end()
    rest.append(text[position:])
    for match in _IMPORT.finditer("\n".join(rest)):
        found.update(Import(name) for name in _names(match["names"], dotted=True))
    for match in _CALL.finditer(text):
        module = match["module"].lstrip(".")
        found.add(Import(module, len(match["module"]) - len(module)))
    return tuple(sorted(found))


def _clause(text: str, match: re.Match[str]) -> str:
    """The names after `import`: up to the end of the line, or between parentheses."""
    if match["names"] != "(":
        return match["names"]
    start = match.end()
    end = text.find(")", start, start + _LONGEST_LIST)
    if "#" in text[start:end]:
        text, start = _COMMENT.sub("", text[start : start + _LONGEST_LIST]), 0
        end = text.find(")")
    if end < 0:
        return ""
    return text[start:end].replace("\n", " ")


def _has_wide_encoding(source: bytes) -> bool:
    """Whether ASCII words may be written with other bytes than ASCII's (a cookie such as utf-7)."""
    return b"coding" in source[:400]


def _squeeze(dotted: str) -> str:
    return dotted.replace(" ", "")


def _names(clause: str, *, dotted: bool = False) -> tuple[str, ...]:
    """The names of an import clause: "(a as b, c)" to ("a", "c")."""
    clause = _COMMENT.sub("", clause)
    names = []
    for part in clause.split(","):
        name = _AS.sub("", " " + part.strip()).strip()
        if dotted:
            name = _squeeze(name)
        if name == "*" or all(piece.isidentifier() for piece in name.split(".")):
            names.append(name)
    return tuple(names)
