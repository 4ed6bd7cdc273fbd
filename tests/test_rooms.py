"""The rooms of docs/ARCHITECTURE.md hold: every import of the tree stands in the table below."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
HOST, WORKER = ROOT / "elf_pysandbox", ROOT / "worker" / "elf_pysandbox_worker"

# Room -> rooms it may import (itself always). Rooms of the host package; the face is every `_name.py` beside them.
FACE = {
    "_ahead", "_calls", "_doctor", "_errors", "_hints", "_interpreter", "_limits", "_mirrors", "_outcome", "_policy",
    "_pool", "_records", "_remembered", "_results", "_route", "_security", "_settings", "_statistics",
}  # fmt: skip
MAY_IMPORT = {
    "_records": set(),
    "_remembered": set(),
    "_ahead": FACE - {"_pool", "_calls"} | {"_host"},
    "_errors": {"_outcome", "_hints", "_records"},  # the first as types
    "_hints": {"_records"},
    "_limits": {"_errors", "_records"},
    "_mirrors": {"_errors"},
    "_outcome": {"_errors", "_records"},
    "_policy": {"_errors", "_records"},
    "_statistics": {"_errors"},
    "_host": set(),
    "_results": {"_errors", "_hints", "_mirrors", "_outcome", "_host"},
    "_interpreter": {"_errors", "_records"},
    "_route": {"_interpreter", "_errors", "_host", "_limits", "_policy", "_tools"},
    "_tools": FACE - {"_doctor"},
    "_pool": FACE | {"_host", "_tools"},
    "_calls": FACE - {"_pool"} | {"_host", "_tools"},
    "_security": {"_errors", "_host", "_interpreter", "_policy"},
    "_doctor": FACE | {"_host"},
    "_settings": {"_errors", "_limits", "_policy"},
    "config": FACE | {"_tools"},
    "integrations": FACE | {"_tools", "config"},
}
EDGES = {
    "_cli",
    "__main__",
    "pytest_plugin",
    "_pytest",
    "_profile",
    "_docs",
    "_map",
    "_new",
    "_watch",
    "testing",
}
"""Edges import public names (`from elf_pysandbox import …`), each other, and nothing of the rooms but `_doctor`."""

SHARED_WITH_HOST = (
    "elf_pysandbox_worker.wire",
    "elf_pysandbox_worker.state",
    "elf_pysandbox_worker.restricted",
)
WORKER_MAY_IMPORT = {"msgspec", "RestrictedPython", "elf_pysandbox_worker"}
# Imported inside functions, in a process that holds nothing yet: tools bring these along.
WORKER_LAZY = {"numpy", "pandas", "pydantic", "pydantic_core", "cloudpickle", "pyarrow", "typing_extensions"}


def modules(root: Path) -> list[Path]:
    return sorted(root.rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[str, tuple[str, ...], bool]]:
    """Yield (module, imported names, whether inside a function or TYPE_CHECKING block)."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    lazy: set[ast.AST] = set()
    for node in ast.walk(tree):
        guarded = isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) or guarded:
            lazy.update(ast.walk(node))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, (), node in lazy
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield node.module or "", tuple(alias.name for alias in node.names), node in lazy


def room_of(path: Path) -> str:
    part = path.relative_to(HOST).parts[0]
    return part.removesuffix(".py")


def target_rooms(module: str, names: tuple[str, ...]) -> set[str]:
    if module == "elf_pysandbox":
        return {name for name in names if name in MAY_IMPORT or name in EDGES}
    return {module.split(".")[1]} if module.startswith("elf_pysandbox.") else set()


@pytest.mark.parametrize("path", modules(HOST), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_host_module_imports_only_what_its_room_may(path):
    room = room_of(path)
    if room == "__init__":
        return
    for module, names, _ in imports(path):
        if module.startswith("elf_pysandbox_worker") and module != "elf_pysandbox_worker":
            assert module.startswith(SHARED_WITH_HOST) or room == "_doctor", f"{room} imports {module}"
        for target in target_rooms(module, names) - {room}:
            if room in EDGES:
                allowed = target in EDGES | {"_doctor", "config", "integrations"}
            else:
                assert room in MAY_IMPORT, f"no row for the room {room!r} in the table"
                allowed = target in MAY_IMPORT[room]
            assert allowed, f"{room} must not import {module}"


@pytest.mark.parametrize("path", modules(WORKER), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_worker_module_imports_the_standard_library_msgspec_and_restrictedpython_only(path):
    for module, _, lazy in imports(path):
        top = module.partition(".")[0]
        assert top != "elf_pysandbox", "the confined side never imports the parent package"
        known = top in sys.stdlib_module_names or top in WORKER_MAY_IMPORT
        assert known or (lazy and top in WORKER_LAZY), f"{module} is not for the confined side"


@pytest.mark.parametrize("path", modules(WORKER / "wire"), ids=lambda path: path.name)
def test_the_wire_does_no_input_or_output(path):
    tops = {module.partition(".")[0] for module, _, _ in imports(path)}
    assert not tops & {"socket", "select", "os", "subprocess", "threading", "asyncio"}


def test_the_host_never_unpickles():
    for path in modules(HOST):
        for module, names, _ in imports(path):
            assert module not in {"pickle", "marshal", "shelve", "dill"}, path
            assert not (module == "cloudpickle" and "loads" in names), path


def test_no_module_named_worker_is_installed():
    import importlib.util

    found = importlib.util.find_spec("worker")
    assert found is None or found.origin is None


def test_importing_the_package_imports_nothing_heavy():
    import subprocess

    code = (
        "import sys, elf_pysandbox; from elf_pysandbox import SandboxPool; "
        "print([n for n in ('pydantic', 'asyncio', 'yaml', 'numpy', 'click', 'rich', 'multiprocess', 'cloudpickle',"
        " 'RestrictedPython', 'jmespath', 'tenacity') if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there_without_any_extra() -> None:
    extras = (
        "langgraph",
        "langchain_core",
        "numpy",
        "pandas",
        "pyarrow",
        "pytest",
        "elf0",
        "matplotlib",
        "uv",
    )
    code = f"import sys; sys.modules.update(dict.fromkeys({extras!r})); from elf_pysandbox import *; print(python_node)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert "function python_node" in done.stdout, done.stderr


def test_a_langgraph_node_without_langgraph_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules.update(langgraph=None, langchain_core=None)\n"
        "from elf_pysandbox import python_node\n"
        "python_node('json:dumps')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert "pip install 'elf-pysandbox[langgraph]'" in done.stderr


def test_a_workflow_without_langgraph_says_what_to_install(tmp_path: Path) -> None:
    flow = tmp_path / "flow.yaml"
    flow.write_text("functions: {python_functions: [{name: f, module: json, function: dumps}]}\n")
    code = (
        "import sys; sys.modules.update(langgraph=None, langchain_core=None)\n"
        f"from elf_pysandbox._cli import main; main(['workflow', 'run', {str(flow)!r}, '--profile', 'native'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert "pip install 'elf-pysandbox[langgraph]'" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == 2
