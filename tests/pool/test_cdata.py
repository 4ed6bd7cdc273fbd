"""What is made of the C half of `ctypes` means what the package of that name means by it."""

from __future__ import annotations

import ast
import ctypes
import errno
from pathlib import Path
from typing import Any

import pytest

from elf_pysandbox import Policy, SandboxPool
from elf_pysandbox_worker import cdata


def _promised() -> list[str]:
    """Return the names that type checkers are told of."""
    tree = ast.parse(Path(cdata.__file__).read_text("utf-8"))
    (told,) = (node for node in tree.body if isinstance(node, ast.If))
    return [alias.name for node in told.body if isinstance(node, ast.ImportFrom) for alias in node.names]


@pytest.mark.parametrize("name", _promised())
def test_each_name_is_there_and_is_of_the_size_that_the_package_gives_it(name: str) -> None:
    ours, theirs = getattr(cdata, name), getattr(ctypes, name)
    sized = isinstance(theirs, type) and hasattr(theirs, "_type_") and name != "Array"
    assert not sized or (ours._type_, cdata.sizeof(ours)) == (theirs._type_, ctypes.sizeof(theirs))


@pytest.mark.parametrize(
    "arguments", [(b"",), (b"one",), (b"o\0e",), (b"one", 3), (b"one", 8), (0,), (5,)], ids=str
)
def test_a_buffer_is_as_long_and_holds_what_the_package_would_put_there(arguments: tuple) -> None:
    assert cdata.create_string_buffer(*arguments).raw == ctypes.create_string_buffer(*arguments).raw


def test_what_does_not_fit_into_a_buffer_is_refused() -> None:
    with pytest.raises(ValueError, match="too long"):
        cdata.create_string_buffer(b"four", 3)


def test_memory_is_copied_filled_and_read() -> None:
    one, other = cdata.create_string_buffer(b"abcd"), cdata.create_string_buffer(5)
    assert cdata.memmove(other, one, 3) == cdata.addressof(other)
    assert cdata.memset(cdata.addressof(other), ord("x"), 1) == cdata.addressof(other)
    assert cdata.string_at(cdata.addressof(other), 5) == b"xbc\0\0"


def test_a_failed_call_leaves_its_errno_where_it_is_asked_for_and_nowhere_else() -> None:
    ctypes.set_errno(0)
    assert cdata.CDLL(None).close(-1) == -1
    assert cdata.get_errno() == 0
    assert cdata.CDLL(None, use_errno=True).close(-1) == -1
    assert cdata.get_errno() == errno.EBADF


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        pytest.param(cdata.memmove, ctypes.memmove, id="memmove"),
        pytest.param(cdata.memset, ctypes.memset, id="memset"),
        pytest.param(cdata.string_at, ctypes._string_at, id="string_at"),
        pytest.param(cdata._cast, ctypes._cast, id="cast"),
        pytest.param(cdata.CDLL(None).labs, ctypes.CDLL(None).labs, id="of a library"),
        pytest.param(
            cdata.CDLL(None, use_errno=True).labs, ctypes.CDLL(None, use_errno=True).labs, id="with errno"
        ),
        pytest.param(cdata.PyDLL(None).labs, ctypes.PyDLL(None).labs, id="with the lock held"),
        pytest.param(cdata.pythonapi.Py_GetVersion, ctypes.pythonapi.Py_GetVersion, id="of the interpreter"),
    ],
)
def test_a_function_is_called_as_that_of_the_package_is(ours: Any, theirs: Any) -> None:
    def prototype(function: Any) -> tuple[int, str, list[str]]:
        arguments = [argument._type_ for argument in function.argtypes or ()]
        return function._flags_, function.restype._type_, arguments

    assert prototype(ours) == prototype(theirs)


def test_what_is_cast_keeps_what_it_was_cast_from() -> None:
    buffer = cdata.create_string_buffer(b"four")
    pointer = cdata.cast(buffer, cdata.c_char_p)
    assert pointer.value == b"four"
    assert any(kept is buffer for kept in pointer._objects.values())


def test_results_and_arguments_are_of_the_types_they_are_given() -> None:
    library = cdata.CDLL(None)
    library.labs.argtypes, library.labs.restype = [cdata.c_long], cdata.c_long
    assert library.labs(-(1 << 40)) == 1 << 40
    library.strlen.restype = cdata.c_ulong
    assert library.strlen(b"four") == 4
    assert cdata.cast(library.labs, cdata.c_void_p).value == ctypes.cast(
        ctypes.CDLL(None).labs, ctypes.c_void_p
    ).value  # fmt: skip


def test_a_function_that_a_library_has_not_is_an_attribute_it_has_not() -> None:
    for name in ("no_such_function", "__no_such_name__"):
        with pytest.raises(AttributeError, match=name):
            getattr(cdata.CDLL(None), name)


def test_an_exception_of_the_interpreters_own_functions_is_raised() -> None:
    read = cdata.PyDLL(None).PyLong_AsLong
    read.argtypes, read.restype = [cdata.py_object], cdata.c_long
    assert read(5) == 5
    with pytest.raises(TypeError):
        read("five")


def test_a_tool_that_imports_the_package_gets_it_whole(native_pool: SandboxPool) -> None:
    tool = native_pool.load_source(
        "import ctypes, ctypes.util\n"
        "class Pair(ctypes.Structure):\n"
        "    _fields_ = [('one', ctypes.c_int8), ('other', ctypes.c_double)]\n"
        "def answer():\n"
        "    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)\n"
        "    def twice(number):\n"
        "        return 2 * number\n"
        "    pair = Pair(1, 0.5)\n"
        "    return twice(21), ctypes.sizeof(pair), ctypes.pointer(pair).contents.other, ctypes.CDLL(None).abs(-3)\n",
        "answer",
    )
    assert native_pool.call(tool) == (42, 16, 0.5, 3)


def test_a_call_of_a_tool_that_has_no_use_for_the_package_finds_it_not_imported() -> None:
    with SandboxPool(1, policy=Policy(profile="native")) as pool:
        tool = pool.load_source("import sys\ndef there(): return 'ctypes' in sys.modules", "there")
        assert pool.call(tool) is False
