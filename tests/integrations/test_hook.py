"""`pysandbox.<module>.<function>`: a stand-in with the real signature, and the module is never imported here."""

from __future__ import annotations

import importlib
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

from elf_pysandbox.integrations.elf.tools import ElfToolError

MODULE = """
import os
SEEN = os.getpid()

def where(): return os.getpid()
def add(a, b=2, *, c=3): return a + b + c
async def later(x): return x
def boom(): raise ValueError("first line\\nsecond line")
def crash():
    import ctypes
    ctypes.string_at(0)
constant = 3
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    name = f"hooked_{tmp_path.name.replace('-', '_')}"
    package = tmp_path / name
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported here')\n")
    (package / "tools.py").write_text(MODULE)
    (tmp_path / f"{name}_flat.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYSANDBOX_PROFILE", "native")
    return f"{name}_flat"


def test_a_stand_in_runs_the_function_in_another_process_and_imports_nothing(module: str) -> None:
    where = importlib.import_module(f"pysandbox.{module}").where
    assert where() != os.getpid()
    assert module not in sys.modules


def test_its_signature_is_the_real_one_and_is_enforced(module: str) -> None:
    add = importlib.import_module(f"pysandbox.{module}").add
    assert str(inspect.signature(add)) == "(a, b=2, *, c=3)"
    assert add(1) == 6
    assert add(1, 1, c=0) == 2
    assert add(a=1, b=1) == 5
    with pytest.raises(TypeError, match="missing a required argument: 'a'"):
        add()


def test_async_functions_give_their_value_and_failures_one_line(module: str) -> None:
    stand_in = importlib.import_module(f"pysandbox.{module}")
    assert stand_in.later(x=3) == 3
    with pytest.raises(ElfToolError, match=r"^first line$"):
        stand_in.boom()
    with pytest.raises(ElfToolError, match=r"^crashed: the worker process died of SIGSEGV$"):
        stand_in.crash()


def test_names_that_are_not_there_are_import_and_attribute_errors(module: str) -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        importlib.import_module("pysandbox.no_such_module")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(f"pysandbox.{module}.deeper")
    stand_in = importlib.import_module(f"pysandbox.{module}")
    assert not hasattr(stand_in, "nothing")
    assert not hasattr(stand_in, "__path_hook__")


def test_the_stand_in_works_in_a_process_that_imports_nothing_else(module: str) -> None:
    code = f"import importlib; f = importlib.import_module('pysandbox.{module}').add; print(f(1))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("6\n", "")
