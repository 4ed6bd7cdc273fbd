"""The `native` profile: a bundle loaded as plain CPython, its sibling modules first on the import path.

Nothing is held back here: what holds is the process. Modules are loaded under their own names with `__package__`,
`__file__`, `__spec__` and linecache set, as the import system would do from files.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import linecache
import sys
import types
from collections.abc import Sequence
from typing import Any

from elf_pysandbox_worker.wire.messages import Bundle, SourceFile


class BundleImporter(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Finds and loads the modules of one bundle (PEP 451)."""

    def __init__(self, bundle: Bundle) -> None:
        self._files = {file.name: file for file in bundle.files}
        self._values: dict[str, bytes] = {bundle.entry: bundle.values} if bundle.values else {}
        # A package whose __init__ was not shipped still has to exist for its modules to be found.
        for name in list(self._files):
            while "." in name:
                name = name.rpartition(".")[0]
                self._files.setdefault(name, SourceFile(name, "", b"", True))

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the spec of a module of the bundle, None for any other."""
        file = self._files.get(fullname)
        if file is None:
            return None
        spec = importlib.machinery.ModuleSpec(fullname, self, origin=file.path, is_package=file.is_package)
        spec.has_location = bool(file.path)
        return spec

    def get_source(self, fullname: str) -> str:
        """Return the decoded source (PEP 263 cookies and BOM honoured)."""
        return importlib.util.decode_source(self._files[fullname].source)

    def exec_module(self, module: types.ModuleType) -> None:
        """Compile and run the module in its namespace."""
        file = self._files[module.__name__]
        filename = file.path or f"<{file.name}>"
        # From bytes, so that the compiler sees cookies and reports positions as it does for files.
        code = compile(file.source, filename, "exec", dont_inherit=True)
        text = self.get_source(module.__name__)
        linecache.cache[filename] = (len(text), None, text.splitlines(True), filename)
        if module.__name__ in self._values:
            module.__dict__.update(_unpack_globals(self._values[module.__name__]))
        exec(code, module.__dict__)


def _unpack_globals(packed: bytes) -> dict[str, Any]:
    from elf_pysandbox_worker.wire.values import unpack

    values = unpack(packed)
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
