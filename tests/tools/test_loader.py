from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from elf_pysandbox import ModuleLoadError, Policy, PythonFunctionLoader, SandboxPool, ToolNotFoundError
from tests.tools.conftest import Project


@pytest.fixture
def root(project: Project) -> Any:
    return project(
        {
            "my_tools/__init__.py": "import sys\nsys.my_tools_ran = True\n",
            "my_tools/text.py": "from . import helper\ndef count(text: str) -> int:\n    return helper.size(text)\n"
            "async def later(x):\n    return x\n",
            "my_tools/helper.py": "def size(text):\n    return len(text.split())\n",
            "others.py": "def f(): return 1\n",
            "bad.py": "import os\ndef f(): return os.getcwd()\n",
        }
    )


@pytest.fixture
def loader(pool: SandboxPool, root: Any) -> Iterator[PythonFunctionLoader]:
    with PythonFunctionLoader(["my_tools"], python_path=[str(root)], pool=pool) as made:
        yield made


def test_a_function_of_a_module_runs_confined_and_nothing_is_imported_here(
    loader: PythonFunctionLoader,
) -> None:
    count = loader.load_function("my_tools.text", "count")
    assert count("a b c") == 3
    assert asyncio.run(loader.load_function("my_tools.text", "later").acall(4)) == 4
    assert not hasattr(sys, "my_tools_ran")
    assert list(loader.loaded_functions) == ["my_tools.text:count", "my_tools.text:later"]


def test_modules_that_are_not_allowed_are_refused(loader: PythonFunctionLoader, root: Any) -> None:
    with pytest.raises(ModuleLoadError, match="allowed_modules"):
        loader.load_function("others", "f")
    with pytest.raises(ModuleLoadError, match="allowed_modules"):
        loader.load_function("my_tools_too", "f")
    with pytest.raises(ModuleLoadError, match="allowed_modules"):
        loader.load_from_file(root / "others.py", "f")
    assert loader.load_from_file(root / "my_tools" / "text.py", "count")("a") == 1


def test_functions_are_loaded_once(loader: PythonFunctionLoader) -> None:
    assert loader.load_function("my_tools.text", "count") is loader.load_function("my_tools.text", "count")


def test_the_schema_is_kept_by_name(loader: PythonFunctionLoader) -> None:
    count = loader.load_function("my_tools.text", "count")
    schema = loader.get_function_schema(count)
    assert schema["parameters"]["properties"] == {"text": {"type": "string"}}
    assert loader.function_schemas["my_tools.text:count"] == schema


def test_validation_tells_what_the_policy_refuses(pool: SandboxPool, root: Any) -> None:
    view = pool.with_options(policy=Policy(profile="restricted"))
    loader = PythonFunctionLoader(python_path=[str(root)], pool=view)
    assert loader.validate_function(loader.load_function("others", "f"))
    bad = loader.load_function("bad", "f")
    assert not loader.validate_function(bad)
    assert "os" in (loader.explain_function(bad) or "")
    assert not loader.validate_function(loader.load_function("others", "missing"))
    assert "no_such_file" in (loader.explain_function("no_such_file.py:f") or "")


def edit(path: Any, text: str) -> None:
    path.write_text(text)
    status = os.stat(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1_000_000))


def test_reload_takes_changes_of_siblings_too(loader: PythonFunctionLoader, root: Any) -> None:
    count = loader.load_function("my_tools.text", "count")
    assert loader.reload() == []
    edit(root / "my_tools" / "helper.py", "def size(text):\n    return 'new'\n")
    assert count("a") == 1
    assert loader.reload() == ["my_tools.text:count"]
    assert count("a") == "new"


def test_development_mode_reloads_by_itself(pool: SandboxPool, root: Any) -> None:
    loader = PythonFunctionLoader(python_path=[str(root)], pool=pool, development=True)
    count = loader.load_function("my_tools.text", "count")
    assert count("a") == 1
    edit(root / "my_tools" / "helper.py", "def size(text):\n    return 'new'\n")
    assert count("a") == "new"


def test_missing_modules_and_functions_are_errors(loader: PythonFunctionLoader) -> None:
    with pytest.raises(ModuleLoadError, match=r"no module 'my_tools\.nope'"):
        loader.load_function("my_tools.nope", "f")
    with pytest.raises(ToolNotFoundError, match="did you mean 'count'"):
        loader.load_function("my_tools.text", "cuont")("a")
