import os
import sys
from pathlib import Path

import pytest

from elf_pysandbox import SandboxPool
from elf_pysandbox._errors import ModuleLoadError, ToolNotFoundError
from elf_pysandbox._tools.load import load, load_source
from elf_pysandbox._tools.siblings import _wanted
from tests.tools.bundles import run_tool
from tests.tools.conftest import Project


def names(tool: object) -> list[str]:
    return [sibling.name for sibling in tool.context.siblings]  # type: ignore[attr-defined]


def test_a_file_target_runs_in_a_fresh_process(project: Project) -> None:
    root = project({"text.py": "def word_count(text):\n    return len(text.split())\n"})
    tool = load(f"{root}/text.py:word_count")
    assert (tool.name, tool.path, tool.context.name) == ("word_count", "word_count", "text")
    assert run_tool(tool, "to be or not") == 4


def test_a_module_target_is_found_on_the_python_path_and_no_parent_runs(project: Project) -> None:
    root = project(
        {
            "pk/__init__.py": "import sys\nsys.pk_ran = True\n",
            "pk/inner/__init__.py": "",
            "pk/inner/tool.py": "from ..base import base\nfrom . import near\n"
            "def run(x):\n    return base(x) + near.K\n",
            "pk/base.py": "def base(x):\n    return x * 2\n",
            "pk/inner/near.py": "K = 5\n",
            "pk/unused.py": "1/0\n",
        }
    )
    tool = load("pk.inner.tool:run", python_path=[str(root)])
    assert not hasattr(sys, "pk_ran")
    assert "pk" not in sys.modules
    assert names(tool) == ["pk", "pk.base", "pk.inner", "pk.inner.near"]
    assert run_tool(tool, 4) == 13


def test_a_file_in_a_package_keeps_its_dotted_name(project: Project) -> None:
    root = project(
        {"pk/__init__.py": "", "pk/a.py": "from .b import f", "pk/b.py": "def f(): return __name__"}
    )
    tool = load(f"{root}/pk/a.py:f")
    assert tool.context.name == "pk.a"
    assert run_tool(tool) == "pk.b"


def test_circular_imports_travel_together(project: Project) -> None:
    root = project(
        {
            "a.py": "import b\ndef f(n):\n    return b.g(n)\ndef stop():\n    return 'end'\n",
            "b.py": "import a\ndef g(n):\n    return a.stop() if n else a.f(1)\n",
        }
    )
    tool = load(f"{root}/a.py:f")
    assert names(tool) == ["b"]
    assert run_tool(tool, 0) == "end"


def test_a_namespace_package_travels_as_an_empty_one(project: Project) -> None:
    root = project({"ns/one.py": "from ns import two\ndef f():\n    return two.V\n", "ns/two.py": "V = 2\n"})
    tool = load("ns.one:f", python_path=[str(root)])
    assert names(tool) == ["ns", "ns.two"]
    assert run_tool(tool) == 2


def test_a_file_that_imports_relatively_from_a_folder_without_init_counts_from_above_it(
    project: Project,
) -> None:
    """Such a folder is a namespace package (PEP 420)."""
    root = project(
        {
            "ns/top.py": "K = 1\n",
            "ns/deep/near.py": "L = 2\n",
            "ns/deep/m.py": "from ..top import K\nfrom . import near\ndef f():\n    return [__name__, K, near.L]\n",
        }
    )
    assert run_tool(load(f"{root}/ns/deep/m.py:f")) == ["ns.deep.m", 1, 2]
    assert run_tool(load(f"{root}/ns/deep/m.py:f", python_path=[str(root / "ns")])) == ["ns.deep.m", 1, 2]
    assert load(f"{root}/ns/deep/near.py:f").context.name == "near"


def test_a_relative_import_of_nothing_is_told_as_python_tells_it(project: Project, pool: SandboxPool) -> None:
    root = project({"t.py": "from .gone import x\ndef f(): return x\n"})
    outcome = pool.outcome(load(f"{root}/t.py:f"))
    assert outcome.status == "load_failed"
    assert "no known parent package" in str(outcome.error)


def test_a_star_import_of_a_package_brings_its_submodules(project: Project) -> None:
    files = {"pk/__init__.py": "__all__ = ['one']\n", "pk/one.py": "V = 1\n"}
    root = project({"t.py": "from pk import *\ndef f():\n    return one.V\n", **files})
    assert run_tool(load(f"{root}/t.py:f")) == 1


def test_a_sibling_never_replaces_a_standard_module(project: Project) -> None:
    root = project({"t.py": "import json\ndef f():\n    return json.dumps(1)\n", "json.py": "1/0\n"})
    tool = load(f"{root}/t.py:f")
    assert names(tool) == []
    assert run_tool(tool) == "1"


def test_a_file_named_like_a_standard_module_gets_its_own_name(project: Project) -> None:
    root = project({"json.py": "import json\ndef f():\n    return json.dumps([__name__])\n"})
    assert run_tool(load(f"{root}/json.py:f")) == '["json_file"]'


@pytest.mark.parametrize(
    ("target", "args", "expected"),
    [
        ("math:sqrt", [9], 3.0),
        ("builtins:len", [[1, 2]], 2),
        ("builtins:str.upper", ["a"], "A"),
        ("json.decoder:JSONDecoder", [], None),
        ("textwrap:dedent", ["  a"], "a"),
        ("yaml:safe_load", ["[1]"], [1]),
    ],
)
def test_installed_and_standard_functions_go_by_name(
    target: str, args: list[object], expected: object
) -> None:
    tool = load(target)
    assert tool.context.siblings == ()
    result = run_tool(tool, *args)
    assert expected is None or result == expected


@pytest.mark.parametrize(
    ("source", "value"),
    [
        (b"def f():\r\n\treturn 'crlf'\r\n", "crlf"),
        (b"\xef\xbb\xbfdef f():\n    return 'bom'\n", "bom"),
        ("# -*- coding: latin-1 -*-\ndef f():\n    return 'é'\n".encode("latin-1"), "é"),
        ("def größe():\n    return 'ü'\nf = größe\n".encode(), "ü"),
    ],
)
def test_sources_of_every_encoding_arrive_byte_for_byte(project: Project, source: bytes, value: str) -> None:
    root = project({"t.py": source})
    assert run_tool(load(f"{root}/t.py:f")) == value


def test_a_source_that_does_not_compile_is_no_error_here(project: Project) -> None:
    root = project({"t.py": b"import a b c ((((\xff", "u.py": "(" * 100_000})
    assert load(f"{root}/t.py:f").context.source_bytes.startswith(b"import a")
    assert load(f"{root}/u.py:f").context.siblings == ()


@pytest.mark.parametrize(
    ("target", "error", "words"),
    [
        ("nowhere/t.py:f", ModuleLoadError, "no source file"),
        ("no_such_module_here:f", ModuleLoadError, "PYTHONPATH"),
        ("elf_pysandbox_nope.x:f", ModuleLoadError, "no module"),
        ("not a module:f", ModuleLoadError, "no module name"),
        ("json", ToolNotFoundError, "names no function"),
        ("json:", ToolNotFoundError, "names no function"),
        ("json:a b", ToolNotFoundError, "names no function"),
        ("json:a..b", ToolNotFoundError, "names no function"),
    ],
)
def test_what_does_not_exist_is_an_error_that_says_what_to_do(
    target: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        load(target)


@pytest.mark.parametrize("name", [b"tool\xff.py", b"folder\xff/tool.py"], ids=["file", "folder"])
def test_a_file_whose_name_is_not_utf_8_is_an_error_that_names_it(tmp_path: Path, name: bytes) -> None:
    path = os.fsdecode(os.path.join(os.fsencode(tmp_path), name))
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="ascii") as file:
        file.write("def f(): return 1\n")
    with pytest.raises(ModuleLoadError, match="not valid UTF-8: rename") as caught:
        load(f"{path}:f")
    assert "\\udcff" in str(caught.value)
    assert str(caught.value).encode()
    with pytest.raises(ModuleLoadError, match="not valid UTF-8"):
        load_source("def f(): return 1", "f", name="tool\udcff")


def test_a_source_too_large_is_refused_before_it_is_held(project: Project) -> None:
    root = project({"t.py": b"#" * (8 << 20) + b"\n"})
    with pytest.raises(ModuleLoadError, match="larger than"):
        load(f"{root}/t.py:f")


def test_load_source_keeps_text_and_name() -> None:
    tool = load_source("def double(x):\n    return 2 * x, __name__\n", "double", name="text")
    assert run_tool(tool, 4) == [8, "text"]
    assert load_source(b"def f(): pass", "f", name="json").context.name == "json_source"


def test_two_tools_of_one_name_in_two_modules_stay_apart(project: Project) -> None:
    root = project({"a.py": "def f():\n    return 'a'\n", "b.py": "def f():\n    return 'b'\n"})
    one, two = load(f"{root}/a.py:f"), load(f"{root}/b.py:f")
    assert one != two
    assert (run_tool(one), run_tool(two)) == ("a", "b")


def test_equal_content_makes_equal_tools(project: Project) -> None:
    root = project({"a.py": "def f():\n    return 'a'\n"})
    assert load(f"{root}/a.py:f") == load(f"{root}/a.py:f")
    assert len({load(f"{root}/a.py:f"), load(f"{root}/a.py:f")}) == 1


def test_script_metadata_gives_requirements(project: Project) -> None:
    block = '# /// script\r\n# requires-python = ">=3.11"\r\n# dependencies = ["six>=1"]\r\n# ///\r\n'
    root = project({"t.py": block})
    context = load(f"{root}/t.py:f").context
    assert (context.requirements, context.requires_python) == (("six>=1",), ">=3.11")


@pytest.mark.parametrize(
    "text",
    [
        "from \\\n  near import V\n",
        "from near \\\n  import V\n",
        "from near import (\n    V,\n)\n",
        "from pk import (  # several\n    one as V,\n)\n",
        "import importlib\nV = importlib.import_module(\n    'near'\n).V\n",
        "if True: import near; V = near.V\n",
        "def _():\n\tpass\r\nfrom near import V\r\n",
    ],
)
def test_an_import_written_in_any_way_brings_its_sibling(project: Project, text: str) -> None:
    files: dict[str, str | bytes] = {"near.py": "V = 1\n", "pk/__init__.py": "", "pk/one.py": ""}
    root = project({**files, "t.py": text + "def f():\n    return int(V == 1 or hasattr(V, '__name__'))\n"})
    assert run_tool(load(f"{root}/t.py:f")) == 1


def test_a_file_that_is_none_of_python_is_told_as_a_file(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project({"set.json": "{}"}))
    with pytest.raises(ModuleLoadError, match=r"'set\.json' is a file, but none of Python"):
        load("set.json:f")


def test_a_module_of_a_name_that_no_file_has_is_not_looked_for() -> None:
    assert list(_wanted("m", b"import a.b", is_package=False)) == ["a", "a.b"]
    assert list(_wanted("m", b"import " + b".".join([b"a"] * 5_000), is_package=False)) == []
    assert list(_wanted("m", b"from " + b"a" * 5_000 + b" import b, c", is_package=False)) == []
