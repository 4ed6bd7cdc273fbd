"""The public validator: verdicts, findings with places, and hostile source."""

from __future__ import annotations

import os

import pytest

from elf_pysandbox import PythonSecurityValidator


@pytest.fixture(scope="module")
def validator() -> PythonSecurityValidator:
    return PythonSecurityValidator()


def test_the_names_of_the_specification_are_among_the_forbidden():
    builtins = {"eval", "exec", "compile", "__import__", "open", "input", "raw_input", "file", "reload"}
    modules = {"os", "sys", "subprocess", "importlib", "runpy", "pickle", "marshal", "shelve", "dill"}
    assert builtins <= PythonSecurityValidator.FORBIDDEN_BUILTINS
    assert modules <= PythonSecurityValidator.FORBIDDEN_MODULES


@pytest.mark.parametrize(
    "code",
    [
        "import math\ndef area(r):\n    return math.pi * r ** 2\n",
        "class A:\n    def __init__(self):\n        self._x = 1\n    def __eq__(self, other):\n        return True\n",
        "async def f():\n    async with g() as x:\n        yield x\n",
        "match [1, 2]:\n    case [int(x), *rest] if x:\n        pass\n",
        "def compile(x):\n    return x\ncompile(1)\n",
    ],
)
def test_ordinary_code_is_valid(validator, code):
    assert validator.validate_code(code) is True
    assert validator.check(code) == []


@pytest.mark.parametrize("name", ["eval", "exec", "compile", "__import__", "open", "input"])
def test_code_that_uses_a_forbidden_builtin_is_not_valid(validator, name):
    assert validator.validate_code(f"{name}('x')") is False


@pytest.mark.parametrize(
    "name", ["os", "sys", "subprocess", "importlib", "runpy", "pickle", "marshal", "shelve", "dill"]
)
def test_code_that_imports_a_forbidden_module_is_not_valid_listed_or_not(validator, name):
    code = f"import {name}"
    assert validator.validate_code(code) is False
    assert validator.validate_imports([], code) is False
    assert validator.validate_imports([name], code) is False


def test_imports_are_judged_by_the_list_given(validator):
    assert validator.validate_imports([], "import json, numpy") is False
    assert validator.validate_imports(["numpy"], "import json, numpy.linalg") is True
    validator.validate_code("import pandas")
    assert validator.validate_imports(["numpy"]) is False
    assert validator.validate_imports(["pandas"]) is True


def test_all_findings_come_at_once_in_source_order_with_their_places(validator):
    found = validator.check(
        "import os\nx = 'é', f.__code__\ntry:\n    import sys\nexcept ImportError:\n    pass\n"
    )
    assert [(d.rule, d.severity, d.line, d.column, d.end_line, d.end_column) for d in found] == [
        ("PSB301", "error", 1, 1, 1, 10),
        ("PSB201", "error", 2, 10, 2, 20),
        ("PSB301", "warning", 4, 5, 4, 15),
    ]
    assert all(d.message and d.hint for d in found)


def test_a_file_grant_and_allowed_imports_change_the_verdict():
    code = "import numpy\nopen('x')\n"
    assert [d.rule for d in PythonSecurityValidator().check(code)] == ["PSB302", "PSB103"]
    assert PythonSecurityValidator(["numpy"], files_granted=True).check(code) == []


@pytest.mark.parametrize(
    ("source", "rule"),
    [
        ("x = (", "PSB001"),
        ("x = 'unfinished", "PSB001"),
        ("def f():\nreturn 1", "PSB001"),
        ("x = 1\0", "PSB003"),
        (b"# coding: klingon\nx = 1", "PSB003"),
        (b"x = '\xff'", "PSB003"),
        ("(" * 10_000, "PSB002"),
        ("x = " + "-" * 50_000 + "1", "PSB002"),
        ("x = " + "+".join(["1"] * 200_000), "PSB002"),
        ("\n".join(" " * i + "if x:" for i in range(200)), "PSB002"),
        ("x = " + "[" * 150 + "]" * 150 + ".a" * 100_000, "PSB002"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_hostile_and_broken_source_is_a_finding_and_never_an_exception(validator, source, rule):
    assert [d.rule for d in validator.check(source)] == [rule]


def test_a_source_that_ends_the_checking_process_is_a_finding_and_the_other_files_are_still_checked(tmp_path):
    (tmp_path / "a.py").write_text("import os\n")
    (tmp_path / "b.py").write_text("x = '" + "a" * 10 + "'\n" + "y = [" + "[0]," * 6_000_000 + "]\n")
    (tmp_path / "c.py").write_text("import a\n")
    found = PythonSecurityValidator().check_paths([tmp_path])
    assert {path.rpartition("/")[2]: [d.rule for d in ds] for path, ds in found.items()} == {
        "a.py": ["PSB301"],
        "b.py": ["PSB002"],
        "c.py": [],
    }


def test_a_file_whose_name_is_not_utf_8_is_checked_and_so_are_those_beside_it(tmp_path):
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/odd\xff.py")
    for path in (odd, str(tmp_path / "even.py")):
        with open(path, "w", encoding="ascii") as file:
            file.write("import os\n")
    found = PythonSecurityValidator().check_paths([tmp_path])
    assert {path: [(d.rule, d.path) for d in ds] for path, ds in found.items()} == {
        path: [("PSB301", path)] for path in (odd, str(tmp_path / "even.py"))
    }


def test_restricted_globals_have_the_builtins_and_imports_of_a_tool(validator):
    space = validator.create_restricted_globals(["sqlite3"])
    exec("import json\nfrom math import pi\nimport sqlite3\nx = json.dumps(sorted([3, pi]))", space)
    assert space["x"] == "[3, 3.141592653589793]"
    with pytest.raises(ImportError, match="PSB301"):
        exec("import os", space)
    with pytest.raises(NameError, match="PSB103"):
        exec("open('/etc/passwd')", space)


def test_restricted_globals_leave_the_host_process_as_it_was(validator):
    import functools

    validator.create_restricted_globals([])
    exec("import functools, dataclasses, enum, typing", validator.create_restricted_globals([]))
    assert "getattr" not in vars(functools)
