"""The `native` profile: a bundle loaded as plain CPython, its sibling modules first on the import path.

Nothing is held back here: what holds is the process. Modules are loaded under their own names with
`__package__`, `__file__` and `__spec__` set, as the import system would do from files; linecache finds their
lines through `get_source`.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import os
import struct
import sys
import types
from collections.abc import Sequence
from typing import Any

from elf_pysandbox_worker import cdata
from elf_pysandbox_worker.wire.messages import Bundle, SourceFile

_FILE_INPUT, _SOURCE_IS_UTF8 = 257, 0x100  # Include/compile.h, Include/cpython/compile.h
_compile_string = cdata.pythonapi.Py_CompileStringExFlags
_compile_string.restype = cdata.py_object
_compile_string.argtypes = [cdata.c_char_p, cdata.c_char_p, cdata.c_int, cdata.c_char_p, cdata.c_int]


class BundleImporter:
    """Finds and loads the modules of one bundle (PEP 451).

    Not derived from `importlib.abc`: importing that costs more than all the rest of a template.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._files = {file.name: file for file in bundle.files}
        self._values: dict[str, bytes] = {bundle.entry: bundle.values} if bundle.values else {}
        # A package whose __init__ was not shipped still has to exist for its modules to be found.
        for name in list(self._files):
            parts = name.split(".")
            for count in range(1, len(parts)):
                package = ".".join(parts[:count])
                self._files.setdefault(package, SourceFile(package, "", b"", True))

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the spec of a module of the bundle, None for any other."""
        file = self._files.get(fullname)
        if file is None:
            return None
        spec = importlib.machinery.ModuleSpec(
            fullname,
            self,  # type: ignore[arg-type]
            origin=file.path,
            is_package=file.is_package,
        )
        spec.has_location = bool(file.path)
        return spec

    def get_source(self, fullname: str) -> str:
        """Return the decoded source (PEP 263 cookies and BOM honoured)."""
        from importlib.util import decode_source  # costly, and wanted for tracebacks only

        return decode_source(self._files[fullname].source)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        """Leave the making of the module to the import system."""

    def exec_module(self, module: types.ModuleType) -> None:
        """Compile and run the module in its namespace."""
        file = self._files[module.__name__]
        filename = file.path or f"<{file.name}>"
        code = _compiled(file.source, filename)
        if filename.startswith("<"):
            _remember_lines(filename, self.get_source(module.__name__))
        if module.__name__ in self._values:
            module.__dict__.update(_unpack_globals(self._values[module.__name__]))
        exec(code, module.__dict__)


def _compiled(source: bytes, filename: str) -> types.CodeType:
    """Compile a module; from bytes, so that the compiler sees cookies and reports positions as it does for files.

    By the function beneath `compile`, which first makes the types of syntax trees, 2 to 3 ms, to see whether it has
    been given one (Python/bltinmodule.c).
    """
    try:
        name = os.fsencode(filename)
    except UnicodeEncodeError:
        name = b"\0"
    if b"\0" in source or b"\0" in name:
        return compile(source, filename, "exec", dont_inherit=True)  # or says what is wrong with it
    flags = struct.pack("=ii", _SOURCE_IS_UTF8, sys.version_info.minor)  # PyCompilerFlags, in the same file
    code: types.CodeType = _compile_string(source, name, _FILE_INPUT, flags, -1)
    return code


def _remember_lines(filename: str, text: str) -> None:
    """Give linecache the lines of a source that is in no file: of such names it asks no loader."""
    import linecache

    linecache.cache[filename] = (len(text), None, text.splitlines(True), filename)


def _unpack_globals(packed: bytes) -> dict[str, Any]:
    from elf_pysandbox_worker.wire import bundled

    values = bundled.read(packed)
    if not isinstance(values, dict):
        raise TypeError("the shipped globals are not a dict")
    return values


def load(bundle: Bundle, *, search: Sequence[str]) -> types.ModuleType:
    """Load a bundle and return its entry module; whatever the module raises passes through.

    Parameters
    ----------
    bundle : Bundle
    search : sequence of str
        Folders to put on `sys.path` behind the interpreter's own: installed packages.
    """
    sys.path.extend(path for path in search if path not in sys.path)
    sys.meta_path.insert(0, BundleImporter(bundle))
    if bundle.pickled:
        return _load_pickled(bundle)
    return importlib.import_module(bundle.entry)


def _load_pickled(bundle: Bundle) -> types.ModuleType:
    # Host -> worker only, and only from the interpreter that runs here (the template's key says so).
    import cloudpickle

    module = types.ModuleType(bundle.entry)
    sys.modules[bundle.entry] = module
    module.__dict__["function"] = cloudpickle.loads(bundle.pickled)
    return module
