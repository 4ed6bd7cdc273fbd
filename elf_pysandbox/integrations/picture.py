"""A workflow as a picture: Mermaid text, and an SVG that needs no program and no network to draw."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING, NamedTuple

from elf_pysandbox.config import check

if TYPE_CHECKING:
    from elf_pysandbox.config.document import Document, EdgePlan
    from elf_pysandbox.integrations.workflow import Workflow

_WIDTH, _HEIGHT, _GAP_X, _GAP_Y, _MARGIN = 150, 40, 40, 60, 40


class _Line(NamedTuple):
    """One arrow: from, to, what is written on it, and whether it is taken on an error only."""

    source: str
    target: str
    label: str = ""
    error: bool = False


def _lines(document: Document) -> Iterator[_Line]:
    for entry in check.entries(document):
        yield _Line(check.START, entry)
    for edge in document.edges:
        for source in edge.sources:
            if source != check.START:
                yield from (_Line(source, target, _label(edge)) for target in edge.targets)
    leaving = {source for edge in document.edges for source in edge.sources}
    for node in document.nodes:
        rule = node.config.on_error
        if rule is not None and rule.kind == "goto":
            yield _Line(node.id, rule.target, "on error", True)
        if node.id not in leaving:
            yield _Line(node.id, check.END)


def _label(edge: EdgePlan) -> str:
    parts = [edge.condition.text] if edge.condition is not None else []
    if edge.max_iterations is not None:
        parts.append(f"at most {edge.max_iterations} times")
    return ", ".join(parts)


def workflow_mermaid(workflow: Workflow) -> str:
    """Return the workflow as a Mermaid flowchart (https://mermaid.js.org)."""
    document = workflow.document
    numbers = {name: f"n{at}" for at, name in enumerate((check.START, *document.ids, check.END))}
    text = ["flowchart TD"]
    for name, number in numbers.items():
        opened, closed = ("([", "])") if name in (check.START, check.END) else ("[", "]")
        text.append(f'    {number}{opened}"{_mermaid(name)}"{closed}')
    for line in _lines(document):
        arrow = "-.->" if line.error else "-->"
        label = f'|"{_mermaid(line.label)}"|' if line.label else ""
        text.append(f"    {numbers[line.source]} {arrow}{label} {numbers[line.target]}")
    return "\n".join(text) + "\n"


def _mermaid(text: str) -> str:
    return text.replace("&", "#amp;").replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;")


def workflow_svg(workflow: Workflow) -> str:
    """Return the workflow as an SVG document, its nodes in rows by their distance from the start."""
    document = workflow.document
    lines = list(_lines(document))
    rows = _rows(document, lines)
    places = _places(rows)
    width = max(len(row) for row in rows) * (_WIDTH + _GAP_X) + 2 * _MARGIN + _WIDTH
    height = len(rows) * (_HEIGHT + _GAP_Y) + 2 * _MARGIN
    body = [_arrow(line, places) for line in lines]
    body += [_box(name, place) for name, place in places.items()]
    return "\n".join([_HEAD.format(width=width, height=height), *body, "</svg>", ""])


_HEAD = """<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"
  font-family="sans-serif" font-size="13">
<defs><marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">
<path d="M0,0L10,5L0,10z" fill="#555"/></marker></defs>
<rect width="100%" height="100%" fill="white"/>"""


def _rows(document: Document, lines: list[_Line]) -> list[list[str]]:
    """Return the nodes by distance from the start, END in a row of its own."""
    distance = {check.START: 0}
    waiting = [check.START]
    while waiting:
        name = waiting.pop(0)
        for line in lines:
            if line.source == name and line.target not in distance:
                distance[line.target] = distance[name] + 1
                waiting.append(line.target)
    last = max(far for name, far in distance.items() if name != check.END) + 1
    rows: list[list[str]] = [[] for _ in range(last + 1)]
    for name in (check.START, *document.ids):
        rows[distance.get(name, last - 1)].append(name)
    rows[last].append(check.END)
    return rows


def _places(rows: list[list[str]]) -> dict[str, tuple[float, float]]:
    """Return the centre of each box."""
    widest = max(len(row) for row in rows) * (_WIDTH + _GAP_X)
    places = {}
    for number, row in enumerate(rows):
        left = _MARGIN + (widest - len(row) * (_WIDTH + _GAP_X)) / 2
        for at, name in enumerate(row):
            x = left + at * (_WIDTH + _GAP_X) + (_WIDTH + _GAP_X) / 2
            places[name] = (x, _MARGIN + number * (_HEIGHT + _GAP_Y) + _HEIGHT / 2)
    return places


def _half(name: str) -> float:
    return _WIDTH / 4 if name in (check.START, check.END) else _WIDTH / 2


def _box(name: str, place: tuple[float, float]) -> str:
    x, y = place
    outer = name in (check.START, check.END)
    width = 2 * _half(name)
    shown = name if len(name) <= 20 else name[:19] + "…"
    return (
        f'<rect x="{x - width / 2:g}" y="{y - _HEIGHT / 2:g}" width="{width:g}" height="{_HEIGHT}" '
        f'rx="{_HEIGHT / 2 if outer else 6:g}" fill="{"#eee" if outer else "#e8f0fe"}" stroke="#555"/>'
        f'<text x="{x:g}" y="{y + 4:g}" text-anchor="middle">{escape(shown)}</text>'
    )


def _arrow(line: _Line, places: dict[str, tuple[float, float]]) -> str:
    (x1, y1), (x2, y2) = places[line.source], places[line.target]
    style = 'stroke="#c33" stroke-dasharray="5 4"' if line.error else 'stroke="#555"'
    anchor = "middle"
    if 0 < y2 - y1 <= _HEIGHT + _GAP_Y:
        start, end = y1 + _HEIGHT / 2, y2 - _HEIGHT / 2
        middle = (start + end) / 2
        path = f"M{x1:g},{start:g}C{x1:g},{middle:g} {x2:g},{middle:g} {x2:g},{end:g}"
        tx, ty = (x1 + x2) / 2, middle
    else:  # back, sideways or past a row: around the right side, leaving low and arriving high
        side = max(x1, x2) + _WIDTH / 2 + 45
        from_x, to_x = x1 + _half(line.source), x2 + _half(line.target)
        low, high = y1 + 8, y2 - 8
        path = f"M{from_x:g},{low:g}C{side:g},{low:g} {side:g},{high:g} {to_x:g},{high:g}"
        tx, ty, anchor = side - 8, (y1 + y2) / 2, "start"
    drawn = f'<path d="{path}" fill="none" {style} marker-end="url(#head)"/>'
    if line.label:
        drawn += (
            f'<text x="{tx:g}" y="{ty:g}" font-size="11" fill="#333" text-anchor="{anchor}" '
            f'paint-order="stroke" stroke="white" stroke-width="4">{escape(line.label)}</text>'
        )
    return drawn
