"""Classes that tool code can get hold of, and not change: the policy's own, and the library's machinery.

Whoever holds an instance holds its class, and whoever holds a class that Python code made may give it another
`__init__`, which the next instance is then handed to with all it is made from; or another `__subclasshook__`, which is
asked about every class that derives from it.
"""

from __future__ import annotations

from typing import Any, Final, TypeVar

from elf_pysandbox_worker import cdata

_Class = TypeVar("_Class", bound=type)

# PyTypeObject.tp_flags comes after three words of PyVarObject and eighteen pointers and sizes (CPython 3.11 to 3.13).
_FLAGS_AT: Final = 21 * cdata.sizeof(cdata.c_void_p)
_IMMUTABLE: Final = 1 << 8  # Py_TPFLAGS_IMMUTABLETYPE, which the interpreter's own classes have


def seal(cls: _Class) -> _Class:
    """Make a class as immutable as a built-in one; for use as a decorator.

    Raises
    ------
    RuntimeError
        When the class is not laid out as expected: an interpreter that this was not written for.
    """
    flags = cdata.c_ulong.from_address(id(cls) + _FLAGS_AT)
    if flags.value != cls.__flags__:
        raise RuntimeError("this interpreter lays classes out differently")
    flags.value |= _IMMUTABLE
    return cls


def seal_module(name: str, space: dict[str, Any]) -> None:
    """Seal the classes that a module defines."""
    for value in space.values():
        if (
            isinstance(value, type)
            and not value.__flags__ & _IMMUTABLE
            and value.__module__ in (name, f"_{name}")
        ):
            seal(value)
