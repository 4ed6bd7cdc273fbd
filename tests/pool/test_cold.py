"""What a program's first call waits for: what a zygote imports, and what of that comes later."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from elf_pysandbox import Limits, Policy, SandboxPool

_ROOTS = [str(Path(__file__).parents[2] / "worker"), str(Path(msgspec.__file__).parents[1])]
# What is left out on purpose: each is some hundredths of a start of an interpreter, most bring others along.
_LEFT_OUT = """argparse ast asyncio concurrent.futures ctypes dataclasses dis email importlib.metadata importlib.util
inspect json logging msgspec._json_schema platform re selectors shutil socket string subprocess tempfile textwrap
tokenize traceback typing_extensions"""
_LEFT_OUT_OF_ZYGOTES = f"array threading weakref {_LEFT_OUT}"


def test_a_zygote_imports_nothing_that_its_first_template_can_do_without() -> None:
    code = (
        "import sys; sys.path.extend(sys.argv[1:]); from elf_pysandbox_worker import boot\n"
        "boot.lean.import_msgspec(boot.lean.LATER); from elf_pysandbox_worker import zygote\n"
        f"print(sorted(set({_LEFT_OUT_OF_ZYGOTES!r}.split()) & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, *_ROOTS], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_program_imports_nothing_that_its_first_result_can_do_without(tmp_path: Path) -> None:
    (tmp_path / "tool.py").write_text("def one(): return 1")
    code = (
        "import sys; sys.path.extend(sys.argv[1:]); from elf_pysandbox import Policy, SandboxPool\n"
        "with SandboxPool(1, policy=Policy(profile='native')) as pool:\n"
        f"    pool.call('{tmp_path}/tool.py:one')\n"
        f"    print(sorted(set({_LEFT_OUT!r}.split()) & set(sys.modules)))"
    )
    command = [sys.executable, "-I", "-S", "-c", code, str(Path(__file__).parents[2]), *_ROOTS]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


_NO_COMPILER = """
import builtins
def compile(*arguments, **options):
    raise AssertionError("the first of a process makes the types of syntax trees")
builtins.compile = compile
"""


def test_a_zygote_compiles_nothing_by_way_of_syntax_trees() -> None:
    code = (
        f"import sys; sys.path.extend(sys.argv[1:])\n{_NO_COMPILER}from elf_pysandbox_worker import boot\n"
        "boot.import_all()\nimport typing\nprint(typing.ForwardRef)"
    )
    # A first time so that nothing need be compiled for the import itself.
    for program in (code.replace(_NO_COMPILER, ""), code):
        command = [
            sys.executable,
            "-I",
            "-S",
            "-c",
            program,
            *_ROOTS,
        ]  # which heeds no variable about bytecode
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        assert told == "<class 'typing.ForwardRef'>\n"


def test_a_template_compiles_the_tools_module_without_them(native_pool: SandboxPool) -> None:
    source = "import gc\ndef names(): return {one.__name__ for one in object.__subclasses__()}"
    assert "AST" not in native_pool.call(native_pool.load_source(source, "names"))


def test_the_host_replaces_nothing_of_typing_that_other_threads_see() -> None:
    code = (
        "import sys; sys.path.extend(sys.argv[1:])\n"
        "import typing\n"
        "from elf_pysandbox_worker.wire import lean\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'msgspec._utils':\n"  # in the midst of it
        "            print(typing.ForwardRef is real)\n"
        "real = typing.ForwardRef\n"
        "sys.meta_path.insert(0, Finder())\n"
        "lean.import_msgspec()\n"
    )
    command = [sys.executable, "-I", "-S", "-c", code, *_ROOTS]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "True\n"


@pytest.mark.parametrize(("profile", "module"), [("native", "native"), ("restricted", "restricted/compiler")])
def test_a_program_that_ends_at_once_leaves_the_byte_code_of_all_that_it_waited_for(
    tmp_path: Path, profile: str, module: str
) -> None:
    root = Path(__file__).parents[2]
    for package, place in (("elf_pysandbox", root), ("elf_pysandbox_worker", root / "worker")):
        shutil.copytree(place / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tool.py").write_text("def one(): return 1")
    code = (
        "import sys; sys.path[:0] = sys.argv[1:]; from elf_pysandbox import Policy, SandboxPool\n"
        f"with SandboxPool(1, policy=Policy(profile={profile!r})) as pool:\n"
        f"    print(pool.call({str(tmp_path / 'tool.py')!r} + ':one'))"
    )
    told = subprocess.run(
        [sys.executable, "-I", "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    ).stdout
    source = tmp_path / "elf_pysandbox_worker" / f"{module}.py"
    assert told == "1\n"
    assert Path(importlib.util.cache_from_source(str(source))).exists(), "only the zygote can write it"


def test_what_another_thread_imports_while_a_stand_in_is_there_is_the_real_thing() -> None:
    code = (
        "import sys; sys.path.extend(sys.argv[1:])\n"
        "from elf_pysandbox_worker.wire import lean\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'msgspec._core':\n"  # in the midst of it
        "            global re, platform\n"
        "            import re, platform\n"
        "            print(re.compile('a+').fullmatch('aa').span(), len(platform.python_version()) > 4)\n"
        "sys.meta_path.insert(0, Finder())\n"
        "lean.import_msgspec()\n"
        "import re as later\n"
        "print(later.compile('b').match('b').span(), re.sub('a', 'b', 'a'), sys.modules['re'] is later)\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, *_ROOTS], capture_output=True, text=True, check=True
    )
    assert done.stdout == "(0, 2) True\n(0, 1) b True\n"


def test_datetime_as_a_zygote_has_it_is_that_of_the_library() -> None:
    look = (
        "import datetime, pickle, sys; from datetime import UTC, datetime as moment, timedelta\n"
        "public = sorted(name for name in dir(datetime) if name[0] != '_' and name != 'sys')\n"
        "print(public, sorted(datetime.__all__), datetime.__file__, datetime.__spec__.name, datetime.__package__)\n"
        "print(pickle.loads(pickle.dumps(moment(2024, 1, 2, tzinfo=UTC))) + timedelta(1), repr(datetime))"
    )
    ours = "import sys; sys.path.extend(sys.argv[1:]); from elf_pysandbox_worker.wire.lean import *; import_msgspec()"
    told = [
        subprocess.run(
            [sys.executable, "-I", "-S", "-c", f"{before}\n{look}", *_ROOTS],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for before in (ours, "")
    ]
    assert told[0] == told[1]


_TOOLS = """
def later():
    import msgspec, msgspec.inspect as inspect
    from msgspec.json import Decoder
    before = type(msgspec.toml).__name__
    names = {"decode", "encode"} <= set(dir(msgspec.toml))
    shape = type(inspect.type_info(int)).__name__
    return before, names, type(msgspec.toml).__name__, Decoder(int).decode(b"1"), shape, msgspec.json.schema(int)

def one():
    import importlib.util, sys
    from importlib import import_module
    import msgspec.yaml
    found = importlib.util.find_spec("msgspec.yaml")
    before = type(msgspec.yaml).__name__
    msgspec.yaml.encode
    missing = hasattr(msgspec.yaml, "nothing")
    same = msgspec.yaml is sys.modules["msgspec.yaml"] is import_module("msgspec.yaml")
    return before, missing, same, found is msgspec.yaml.__spec__, msgspec.yaml.__file__ == found.origin

def whole():
    import platform, socket, sys, typing_extensions
    return platform.python_version() in sys.version, hasattr(socket, "create_server"), bool(typing_extensions)
"""


@pytest.fixture
def tools(tmp_path: Path) -> str:
    (tmp_path / "looks.py").write_text(_TOOLS)
    return f"{tmp_path}/looks.py"


def test_parts_of_msgspec_that_only_tools_use_are_loaded_when_one_does(
    native_pool: SandboxPool, tools: str
) -> None:
    told = native_pool.call(f"{tools}:later")
    assert told == ("Later", True, "module", 1, "IntType", {"type": "integer"})


def test_a_first_call_that_cannot_have_a_thread_leaves_no_template_that_nobody_watches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def start() -> None:
        raise RuntimeError("can't start new thread")

    hangs = "import time\ntime.sleep(60)\ndef run(): pass"
    with SandboxPool(1, policy=Policy(profile="native"), limits=Limits(load_s=0.5)) as pool:
        tool = pool.load_source(hangs, "run")
        with monkeypatch.context() as patch:
            patch.setattr(pool._calls.engine.supervisor, "start", start)
            assert pool.outcome(tool).status == "fault"
        assert pool.outcome(tool).status == "load_failed"
        assert pool.call(pool.load_source("def run(): return 1", "run")) == 1


def test_a_part_that_is_loaded_later_is_the_same_module_before_and_after(
    native_pool: SandboxPool, tools: str
) -> None:
    assert native_pool.call(f"{tools}:one") == ("Later", False, True, True, True)


def test_a_tool_finds_what_the_zygote_left_out(native_pool: SandboxPool, tools: str) -> None:
    assert native_pool.call(f"{tools}:whole") == (True, True, True)
