"""Parameters of nodes against signatures, told with line and column: by the text where it tells, else the template."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from elf_pysandbox import DocumentError, SandboxPool, load_workflow, validate_workflow
from elf_pysandbox._tools.load import load_source
from elf_pysandbox._tools.static import look_at

TOOLS = """
import functools
from helpers import *
def plain(x, y=1, *, z): return x
def open_(x, **more): return x
def nothing(): return 1
def wrapper(f):
    @functools.wraps(f)
    def inner(*a, **k): return f(*a, **k)
    return inner
@wrapper
def decorated(x): return x
class Shop:
    @staticmethod
    def price(x): return x
"""


def write(folder: Path, functions: str, rest: str = "") -> Path:
    (folder / "tools.py").write_text(TOOLS)
    (folder / "helpers.py").write_text("def helped(x): return x\n")
    (folder / "small.py").write_text("def only(x):\n    return x\n")
    path = folder / "flow.yaml"
    path.write_text(f"functions:\n  python_functions:\n{functions}{rest}")
    return path


def problems(path: Path) -> list[tuple[int, int, str]]:
    with pytest.raises(DocumentError) as caught:
        validate_workflow(path)
    return [(problem.line, problem.column, problem.message) for problem in caught.value.problems]


def test_unknown_and_missing_parameters_are_told_where_they_are_written(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "    - name: a\n      file: tools.py\n      function: plain\n      parameters:\n"
        "        x: 1\n        zz: 2\n"
        "    - {name: b, file: tools.py, function: nothing, parameters: {x: 1}}\n"
        "    - {name: c, file: tools.py, function: open_, parameters: {any: 1}}\n"
        "    - {name: d, file: tools.py, function: plain}\n",
    )
    assert problems(path) == [
        (7, 9, "node 'a': plain: parameters lack z"),
        (8, 9, "node 'a': plain has no parameter 'zz'. Did you mean 'z'?"),
        (9, 65, "node 'b': nothing has no parameter 'x'. It takes none."),
        (10, 62, "node 'c': open_: parameters lack x"),
        (11, 7, "node 'd': plain: parameters lack x, z"),
    ]


def test_a_nodes_own_parameter_is_told_in_the_node(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "    - {name: a, file: small.py, function: only, parameters: {x: 1}}\n",
        "workflow:\n  nodes:\n    - {id: a}\n    - {id: b, ref: a, parameters: {why: 2}}\n",
    )
    assert problems(path) == [(7, 36, "node 'b': only has no parameter 'why'. There is x.")]


def test_a_function_that_its_module_lacks_is_told_where_it_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, "    - {name: a, file: small.py, function: onyl}\n")
    ((line, column, message),) = problems(path)
    assert (line, column) == (3, 43)
    assert message.startswith("there is no function 'onyl' in")
    assert message.endswith("Did you mean 'only'?")


def test_mistakes_in_the_document_and_in_what_it_names_are_told_together(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "    - {name: a, file: small.py, function: only, timeout: soon, parameters: {y: 1}}\n"
        "    - {name: b, file: small.py, function: only, parameters: {y: 1}}\n"
        "    - {name: c, module: no.such, function: only}\n",
        "workflow:\n  nodes: [{id: a}, {id: b}, {id: c}]\n  edges: [{source: a, target: x}]\n",
    )
    assert [(line, column) for line, column, _ in problems(path)] == [
        (3, 58),
        (4, 61),
        (4, 62),
        (5, 25),
        (8, 31),
    ]


@pytest.mark.parametrize("function", ["decorated", "helped", "Shop.price"])
def test_what_the_text_does_not_tell_is_left_to_the_template(tmp_path: Path, function: str) -> None:
    path = write(tmp_path, f"    - {{name: a, file: tools.py, function: {function}}}\n")
    validate_workflow(path)


def test_what_the_template_tells_has_line_and_column_too(tmp_path: Path, pool: SandboxPool) -> None:
    path = write(tmp_path, "    - {name: a, file: tools.py, function: decorated, parameters: {y: 1}}\n")
    node = load_workflow(path).nodes(pool)["a"]
    with pytest.raises(DocumentError, match=r"flow\.yaml:3:67: node 'a': decorated has no parameter 'y'"):
        asyncio.run(node.initialize())


@pytest.mark.parametrize(
    ("source", "missing", "known"),
    [
        ("def f(a): ...", False, True),
        ("async def f(a, /, b, *c, d=1, **e): ...", False, True),
        ("if 1:\n    def f(a): ...\nelse:\n    def f(b): ...", False, False),
        ("from x import f", False, False),
        ("from x import *", False, False),
        ("f = print", False, False),
        ("globals()['f'] = 1", False, False),
        ("def __getattr__(name): ...", False, False),
        ("def g(): ...", True, False),
        ("def g():\n    global f\n    f = 1", False, False),
        ("class f:\n    def __init__(self, a): ...", False, False),
        ("@functools.lru_cache(maxsize=1)\ndef f(a): ...", False, True),
    ],
)
def test_only_what_the_text_surely_says_is_believed(source: str, missing: bool, known: bool) -> None:
    look = look_at(load_source(source, "f", name="m").context, "f")
    assert look is not None
    assert (look.missing, look.order is not None) == (missing, known)


def test_a_text_that_does_not_parse_tells_nothing() -> None:
    assert look_at(load_source("def f(:", "f", name="m").context, "f") is None
