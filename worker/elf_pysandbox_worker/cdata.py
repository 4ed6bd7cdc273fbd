"""C data and C functions: what the confined side needs of `ctypes`, made of its C half alone.

The package around that half makes types and functions for every platform, 3 ms before the first call of a program, and
a hundred objects that each fork copies. A tool that imports `ctypes` gets the package, with types of its own. What is
here has the names and the meaning of the package (`Modules/_ctypes` and `Lib/ctypes/__init__.py` of CPython 3.11 to
3.13), and not one thing more than is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ctypes import CDLL as CDLL
    from ctypes import Array as Array
    from ctypes import PyDLL as PyDLL
    from ctypes import Structure as Structure
    from ctypes import addressof as addressof
    from ctypes import byref as byref
    from ctypes import c_char as c_char
    from ctypes import c_char_p as c_char_p
    from ctypes import c_int as c_int
    from ctypes import c_int32 as c_int32
    from ctypes import c_long as c_long
    from ctypes import c_size_t as c_size_t
    from ctypes import c_uint32 as c_uint32
    from ctypes import c_ulong as c_ulong
    from ctypes import c_void_p as c_void_p
    from ctypes import cast as cast
    from ctypes import create_string_buffer as create_string_buffer
    from ctypes import get_errno as get_errno
    from ctypes import memmove as memmove
    from ctypes import memset as memset
    from ctypes import py_object as py_object
    from ctypes import pythonapi as pythonapi
    from ctypes import sizeof as sizeof
    from ctypes import string_at as string_at
else:
    import _ctypes
    from _ctypes import Array, Structure, addressof, byref, get_errno, sizeof  # noqa: F401

    def _simple(name: str, code: str) -> type:
        return type(name, (_ctypes._SimpleCData,), {"_type_": code})

    c_char, c_char_p, py_object = _simple("c_char", "c"), _simple("c_char_p", "z"), _simple("py_object", "O")
    c_int, c_uint32 = _simple("c_int", "i"), _simple("c_uint32", "I")
    c_long, c_ulong, c_void_p = _simple("c_long", "l"), _simple("c_ulong", "L"), _simple("c_void_p", "P")
    c_int32, c_size_t = c_int, c_ulong  # as they are wherever Linux is

    class CDLL:
        _flags = _ctypes.FUNCFLAG_CDECL

        def __init__(self, name: str | None, *, use_errno: bool = False) -> None:
            flags = self._flags | (_ctypes.FUNCFLAG_USE_ERRNO if use_errno else 0)
            self._handle = _ctypes.dlopen(name, _ctypes.RTLD_LOCAL)  # read by name when a function is made
            self._kind = type("Function", (_ctypes.CFuncPtr,), {"_flags_": flags, "_restype_": c_int})

        def __getattr__(self, name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)
            function = self._kind((name, self))
            setattr(self, name, function)
            return function

    class PyDLL(CDLL):
        _flags = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_PYTHONAPI

    pythonapi = PyDLL(None)

    def _function(address: int, result: type, *arguments: type, flags: int = CDLL._flags) -> Any:
        space = {"_flags_": flags, "_restype_": result, "_argtypes_": arguments}
        return type("Function", (_ctypes.CFuncPtr,), space)(address)

    memmove = _function(_ctypes._memmove_addr, c_void_p, c_void_p, c_void_p, c_size_t)
    memset = _function(_ctypes._memset_addr, c_void_p, c_void_p, c_int, c_size_t)
    string_at = _function(_ctypes._string_at_addr, py_object, c_void_p, c_int, flags=PyDLL._flags)
    _cast = _function(_ctypes._cast_addr, py_object, c_void_p, py_object, py_object, flags=PyDLL._flags)

    def cast(value: Any, kind: type) -> Any:
        return _cast(value, value, kind)

    def create_string_buffer(content: bytes | int, size: int | None = None) -> Any:
        if isinstance(content, int):
            return (c_char * content)()
        buffer = (c_char * (len(content) + 1 if size is None else size))()
        buffer.value = content
        return buffer
