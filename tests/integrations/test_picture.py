"""Workflows drawn: Mermaid names every node and way, and the SVG is well-formed with a box for each."""

from __future__ import annotations

from xml.etree import ElementTree

from elf_pysandbox import load_workflow, workflow_mermaid, workflow_svg
from tests.integrations.conftest import EXAMPLES


def test_mermaid_shows_every_node_and_way() -> None:
    text = workflow_mermaid(load_workflow(EXAMPLES / "orders.yaml"))
    assert text.startswith("flowchart TD\n")
    for name in (
        "START",
        "fetch",
        "totals",
        "rates",
        "tax",
        "combine",
        "refine",
        "publish",
        "archive",
        "END",
    ):
        assert f'"{name}"' in text
    assert 'n6 -->|"state.value #gt; state.target, at most 4 times"| n6' in text
    assert 'n7 -.->|"on error"| n8' in text


def test_the_picture_is_well_formed_and_has_a_box_for_each_node() -> None:
    root = ElementTree.fromstring(workflow_svg(load_workflow(EXAMPLES / "orders.yaml")))
    space = "{http://www.w3.org/2000/svg}"
    texts = [element.text for element in root.iter(f"{space}text")]
    assert {"START", "fetch", "archive", "END", "on error"} <= set(texts)
    assert len([box for box in root.iter(f"{space}rect") if box.get("rx")]) == 10
