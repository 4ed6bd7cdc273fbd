"""Docstrings in the Google, NumPy and reST styles, read into the parts that a schema needs."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, field

_SECTIONS = {
    "args": "parameters", "arguments": "parameters", "parameters": "parameters", "params": "parameters",
    "other parameters": "parameters", "keyword args": "parameters", "keyword arguments": "parameters",
    "returns": "returns", "return": "returns", "yields": "returns", "yield": "returns",
    "raises": "raises", "examples": "examples", "example": "examples",
    "attributes": "other", "notes": "other", "note": "other", "see also": "other", "references": "other",
    "warnings": "other", "warns": "other", "warning": "other", "todo": "other",
}  # fmt: skip
_GOOGLE_HEAD = re.compile(r"^(?P<name>[A-Za-z][A-Za-z ]*):[ \t]*$")
_UNDERLINE = re.compile(r"^(-{3,}|={3,})[ \t]*$")
_GOOGLE_ITEM = re.compile(
    r"^(?P<name>\*{0,2}\w[\w.]*)[ \t]*(?:\((?P<type>[^)]*)\))?[ \t]*:[ \t]*(?P<text>.*)$"
)
_NUMPY_ITEM = re.compile(r"^(?P<names>\*{0,2}\w+(?:[ \t]*,[ \t]*\*{0,2}\w+)*)[ \t]*(?::.*)?$")
_REST = re.compile(
    r"^:(?P<field>param|parameter|arg|argument|key|keyword|return|returns|rtype|type|raises?|except|yields?)"
    r"(?P<subject>(?:[ \t]+[^:\n]*)?):[ \t]*(?P<text>.*)$"
)
_LONGEST = 100_000


@dataclass(slots=True)
class Docstring:
    """The parts of a docstring.

    Attributes
    ----------
    summary, description : str
        First paragraph; the paragraphs after it.
    parameters : dict of name to text
    returns : str
    raises : dict of exception name to text
    examples : list of str
    """

    summary: str = ""
    description: str = ""
    parameters: dict[str, str] = field(default_factory=dict)
    returns: str = ""
    raises: dict[str, str] = field(default_factory=dict)
    examples: list[str] = field(default_factory=list)


def parse(text: str | None) -> Docstring:
    """Read a docstring of any style; what belongs to no known section is description."""
    doc = Docstring()
    if not text or not isinstance(text, str):
        return doc
    lines = inspect.cleandoc(text[:_LONGEST]).split("\n")
    prose: list[str] = []
    section = ""
    body: list[str] = []
    position = 0
    while position < len(lines):
        name, size = _head(lines, position)
        if name is not None:
            _finish(doc, section, body, prose)
            section, body = name, []
            position += size
            continue
        if section and lines[position].strip() and _ends_google(lines, position, section, body):
            _finish(doc, section, body, prose)
            section, body = "", []
        body.append(lines[position])
        position += 1
    _finish(doc, section, body, prose)
    paragraphs = "\n".join(prose).strip().split("\n\n", 1)
    doc.summary = " ".join(paragraphs[0].split())
    doc.description = paragraphs[1].strip() if len(paragraphs) > 1 else ""
    if not doc.examples:
        doc.examples = _doctests(lines)
    return doc


def _head(lines: list[str], position: int) -> tuple[str | None, int]:
    """Return the section that begins here and the number of lines of its head."""
    line = lines[position]
    if position + 1 < len(lines) and _UNDERLINE.match(lines[position + 1]):
        kind = _SECTIONS.get(line.strip().lower())
        if kind:
            return f"numpy {kind}", 2
    found = _GOOGLE_HEAD.match(line)
    if found:
        kind = _SECTIONS.get(found["name"].lower())
        if kind:
            return f"google {kind}", 1
    return None, 0


def _ends_google(lines: list[str], position: int, section: str, body: list[str]) -> bool:
    """A Google section ends where the text goes back to the margin."""
    return section.startswith("google") and not lines[position][:1].isspace() and bool("".join(body).strip())


def _finish(doc: Docstring, section: str, body: list[str], prose: list[str]) -> None:
    style, _, kind = section.partition(" ")
    text = inspect.cleandoc("\n" + "\n".join(body)).strip() if kind else ""
    if not kind:
        prose += _rest_fields(doc, body)
    elif kind == "parameters":
        doc.parameters |= _numpy_items(body) if style == "numpy" else _google_items(body)
    elif kind == "raises":
        doc.raises |= _numpy_items(body) if style == "numpy" else _google_items(body)
    elif kind == "returns":
        doc.returns = _returns(body, text, style)
    elif kind == "examples" and text:
        doc.examples.append(text)


def _returns(body: list[str], text: str, style: str) -> str:
    if style == "numpy":
        items = [line for line in body if line.strip()]
        rest = [line for line in items if line[:1].isspace()]
        return _join(rest) if rest else _join(items)
    return _join(text.split("\n"))


def _join(lines: list[str]) -> str:
    return " ".join(" ".join(lines).split())


def _google_items(body: list[str]) -> dict[str, str]:
    items: dict[str, list[str]] = {}
    margin = min((len(line) - len(line.lstrip()) for line in body if line.strip()), default=0)
    current: list[str] | None = None
    for line in body:
        found = _GOOGLE_ITEM.match(line[margin:]) if not line[margin : margin + 1].isspace() else None
        if found:
            current = items[found["name"].lstrip("*")] = [found["text"]]
        elif current is not None:
            current.append(line)
    return {name: _join(lines) for name, lines in items.items()}


def _numpy_items(body: list[str]) -> dict[str, str]:
    items: dict[str, list[str]] = {}
    current: list[list[str]] = []
    for line in body:
        found = _NUMPY_ITEM.match(line) if line[:1].strip() else None
        if found:
            names = [name.strip().lstrip("*") for name in found["names"].split(",")]
            current = [items.setdefault(name, []) for name in names]
        else:
            for lines in current:
                lines.append(line)
    return {name: _join(lines) for name, lines in items.items()}


def _rest_fields(doc: Docstring, body: list[str]) -> list[str]:
    """Take the ``:param x:`` fields out of `body`; returns the rest."""
    rest: list[str] = []
    take: list[str] | None = None
    found_fields: list[tuple[str, str, list[str]]] = []
    for line in body:
        found = _REST.match(line)
        if found:
            take = [found["text"]]
            found_fields.append((found["field"], found["subject"].strip(), take))
        elif take is not None and line[:1].isspace():
            take.append(line)
        else:
            take = None
            rest.append(line)
    for kind, subject, lines in found_fields:
        text = _join(lines)
        if kind in ("param", "parameter", "arg", "argument", "key", "keyword") and subject:
            doc.parameters[subject.split()[-1].lstrip("*")] = text
        elif kind in ("return", "returns", "yield", "yields"):
            doc.returns = text
        elif kind in ("raise", "raises", "except"):
            doc.raises[subject] = text
    return rest


def _doctests(lines: list[str]) -> list[str]:
    """Interactive examples outside a section of their own."""
    blocks: list[list[str]] = []
    open_block = False
    for line in lines:
        if line.lstrip().startswith(">>>") or (open_block and line.strip()):
            if not open_block:
                blocks.append([])
            blocks[-1].append(line)
            open_block = True
        else:
            open_block = False
    return ["\n".join(block) for block in blocks]
