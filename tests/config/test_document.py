"""Documents that hold together, with includes, defaults and overrides; the corpus of those that do not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from elf_pysandbox.config.document import load_document, parse_document
from elf_pysandbox.config.problems import DocumentError
from elf_pysandbox.config.schema import workflow_schema
from tests.config.malformed import CORPUS, Malformed

jsonschema = pytest.importorskip("jsonschema")
MODULES_ARE_LOOKED_FOR_BY_THE_RUNNER = "module missing"


@pytest.mark.parametrize(
    "malformed",
    [case for case in CORPUS if case.name != MODULES_ARE_LOOKED_FOR_BY_THE_RUNNER],
    ids=lambda case: case.name,
)
def test_a_malformed_document_gives_one_error_at_its_line_and_column(
    malformed: Malformed, folder: Path
) -> None:
    path = folder / "flow.yaml"
    path.write_bytes(malformed.text if isinstance(malformed.text, bytes) else malformed.text.encode())
    with pytest.raises(DocumentError) as caught:
        load_document(path)
    assert len(caught.value.problems) == 1, str(caught.value)
    assert str(caught.value).startswith(f"{folder / malformed.file}:{malformed.at}: ")
    assert malformed.says in str(caught.value)


def test_several_mistakes_are_told_at_once_in_the_order_of_the_text(folder: Path) -> None:
    path = folder / "flow.yaml"
    path.write_text(
        "functions:\n  python_functions:\n    - name: a\n      file: tools.py\n      function: double\n"
        "      timeout: soon\n      retyr: 3\n      on_error: perhaps\n"
    )
    with pytest.raises(DocumentError) as caught:
        load_document(path)
    assert [(problem.line, problem.column) for problem in caught.value.problems] == [(6, 16), (7, 7), (8, 17)]


def test_a_node_puts_its_settings_over_its_functions_and_these_over_the_defaults(folder: Path) -> None:
    path = folder / "flow.yaml"
    path.write_text(
        "defaults: {timeout: 9, memory_limit_mb: 64, retry: 2}\n"
        "functions:\n  python_functions:\n"
        "    - {name: f, file: tools.py, function: double, timeout: 5, parameters: {x: 1, y: 2}}\n"
        "workflow:\n  nodes:\n    - {id: one, ref: f, memory_limit_mb: 128, parameters: {y: 3}}\n"
        "    - {id: two, ref: f}\n"
    )
    one, two = (node.config for node in load_document(path).nodes)
    assert (one.timeout, one.memory_limit_mb, one.retry and one.retry.attempts) == (5, 128, 2)
    assert (two.timeout, two.memory_limit_mb) == (5, 64)
    assert (one.parameters, two.parameters) == ({"x": 1, "y": 3}, {"x": 1, "y": 2})


def test_an_included_documents_paths_count_from_its_own_folder_and_its_errors_name_it(folder: Path) -> None:
    inner = folder / "lib"
    inner.mkdir()
    (inner / "more.py").write_text("def triple(x):\n    return 3 * x\n")
    (inner / "lib.yaml").write_text(
        "python_path: [src]\ndefaults: {timeout: 3, retry: 2}\n"
        "functions: {python_functions: [{name: t, file: more.py, function: triple}]}\n"
    )
    path = folder / "flow.yaml"
    path.write_text(
        "include: lib/lib.yaml\ndefaults: {timeout: 7}\n"
        "functions: {python_functions: [{name: d, file: tools.py, function: double}]}\n"
    )
    document = load_document(path)
    assert {node.id: (node.config.file, node.config.timeout) for node in document.nodes} == {
        "t": (str(inner / "more.py"), 7.0),
        "d": (str(folder / "tools.py"), 7.0),
    }
    assert document.python_path == (str(folder), str(inner / "src"))
    assert document.files == (path, inner / "lib.yaml")
    (inner / "lib.yaml").write_text(
        "functions:\n  python_functions: [{name: t, file: gone.py, function: f}]\n"
    )
    with pytest.raises(DocumentError, match=r"lib/lib\.yaml:2:38: there is no file"):
        load_document(path)


def test_an_included_document_holds_no_graph(folder: Path) -> None:
    (folder / "lib.yaml").write_text("workflow: {nodes: [{id: a}]}\n")
    path = folder / "flow.yaml"
    path.write_text("include: [lib.yaml]\n")
    with pytest.raises(DocumentError, match=r"lib\.yaml:1:1: an included document holds"):
        load_document(path)


def test_functions_without_a_graph_follow_each_other(folder: Path) -> None:
    document = parse_document(
        "functions:\n  python_functions:\n    - {name: a, file: tools.py, function: double}\n"
        "    - {name: b, file: tools.py, function: boom}\n",
        str(folder / "flow.yaml"),
    )
    assert [(edge.sources, edge.targets) for edge in document.edges] == [(("a",), ("b",))]


def test_a_loop_with_a_condition_or_a_cap_is_accepted(folder: Path) -> None:
    text = (
        "functions: {python_functions: [{name: a, file: tools.py, function: double}]}\n"
        "workflow:\n  nodes: [{id: a}]\n  edges: [{source: a, target: a, %s}]\n"
    )
    for rule in ("max_iterations: 3", "condition: state.a < `10`"):
        assert parse_document(text % rule, str(folder / "f.yaml")).edges[0].conditional


SPECIFICATION = """
functions:
  python_functions:
    - name: "data_processor"
      module: "my_tools.data_processing"
      function: "process_data"
      parameters:
        input_data: "${state.raw_data}"
        config:
          format: "json"
          validate: true
      timeout: 30
      memory_limit_mb: 256

    - name: "file_analyzer"
      file: "./tools.py"
      function: "analyze_file"
      parameters:
        file_path: "${state.file_path}"
        deep_scan: false
      allowed_imports:
        - "pandas"
        - "numpy"
        - "requests"
"""


def test_the_published_schema_admits_what_is_read_and_refuses_what_is_not(folder: Path) -> None:
    schema = json.loads(json.dumps(workflow_schema()))
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    assert list(validator.iter_errors(yaml.safe_load(SPECIFICATION))) == []
    assert len(parse_document(SPECIFICATION, str(folder / "flow.yaml")).nodes) == 2
    for line in (
        "tiemout: 3",
        "timeout: soon",
        "retry: often",
        "on_error: ignore",
        "output: 3",
        "profile: trusted",
    ):
        wrong = yaml.safe_load(SPECIFICATION + f"      {line}\n")
        assert list(validator.iter_errors(wrong)), line


def test_mistakes_of_every_kind_are_told_in_one_go(folder: Path) -> None:
    path = folder / "flow.yaml"
    path.write_text(
        """\
functions:
  python_functions:
    - {name: a, file: tools.py, function: double, timeout: soon}
    - {name: b, file: gone.py, function: double}
    - {name: c, file: tools.py, function: double, parameters: {x: "${state.}"}}
    - {file: tools.py, function: double}
    - {name: a, file: tools.py, function: double}
workflow:
  nodes:
    - {id: a, retyr: 3}
    - {id: b, on_error: goto nowhere}
    - {id: c, ref: cc}
    - {id: d, ref: a}
  edges:
    - {source: a, target: bb}
    - {source: b, target: c, condition: "state.["}
    - {source: c}
"""
    )
    with pytest.raises(DocumentError) as caught:
        load_document(path)
    places = [(problem.line, problem.message.split(",")[0][:34]) for problem in caught.value.problems]
    assert [line for line, _ in places] == [3, 4, 5, 6, 7, 10, 11, 15, 16, 17], places
    assert caught.value.partial is not None


def test_what_a_mistake_hides_is_not_told_as_another_one(folder: Path) -> None:
    """Names in parts with mistakes are names all the same, and a graph with holes is not looked at as a whole."""
    path = folder / "flow.yaml"
    path.write_text(
        """\
functions:
  python_functions:
    - {name: a, file: tools.py}
    - {name: b, file: tools.py, function: double}
workflow:
  nodes: [{id: a}, {id: b, stop: perhaps}, {id: c, ref: b, kind: llm}]
  edges: [{source: a, target: b}, {source: b, target: c, max_iterations: many}]
"""
    )
    with pytest.raises(DocumentError) as caught:
        load_document(path)
    assert [(problem.line, problem.column) for problem in caught.value.problems] == [
        (3, 7),
        (6, 34),
        (6, 66),
        (7, 74),
    ]
