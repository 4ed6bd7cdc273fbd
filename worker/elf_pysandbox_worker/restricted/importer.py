"""Imports of tool code: its own modules from the bundle, facades, allowed native packages, and nothing else.

Import statements are compiled into calls of this class, so the `__import__` in a tool's builtins serves only
the interpreter itself: C code such as `datetime.strptime` imports its helpers through the running frame's
builtins (`PyImport_Import` takes the module from `sys.modules` afterwards and ignores what `__import__`
returned).
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import ModuleType, SimpleNamespace
from typing import Any

from elf_pysandbox_worker.restricted import facades, guards, names, published
from elf_pysandbox_worker.restricted.compiler import compile_module, source_text
from elf_pysandbox_worker.restricted.diagnostics import DeniedAttribute, DeniedImport, DeniedModule, finding
from elf_pysandbox_worker.restricted.namespace import module_builtins
from elf_pysandbox_worker.restricted.state import STATE
from elf_pysandbox_worker.restricted.views import ToolModule, namespace_of
from elf_pysandbox_worker.wire.messages import Bundle, SourceFile

_Refusal = tuple[str, str, str]
_NOTED_WHEN_REACHED = ("PSB103", "PSB301", "PSB302")


class Importer:
    """Loads one bundle.

    Parameters
    ----------
    bundle : Bundle
    allowed_imports : sequence of str
        Modules beyond the default allowlist; a package allows its submodules.
    """

    def __init__(self, bundle: Bundle, allowed_imports: Sequence[str]) -> None:
        self._files = {file.name: file for file in bundle.files}
        self._packages = _packages(self._files)
        self._allowed = frozenset(allowed_imports)
        self._modules = STATE.tool_modules = {}
        self._values: dict[str, dict[str, Any]] = {}

    # -- what may be imported --------------------------------------------------------------------------------

    def refusal(self, name: str) -> _Refusal | None:
        """Return why a module is refused as (rule, message, hint), or None when it may be imported."""
        if name in self._files or name in self._packages or name in published.DEFAULT:
            return None
        hint = published.forbidden_hint(name)
        if hint is not None:
            return "PSB301", f"The module `{name}` is not available to tools.", hint
        if self._is_allowed(name) or self._leads_to_allowed(name):
            return None
        return _not_allowed(name)

    def verdict(self) -> Any:
        """Return the compiler's question about import statements."""

        def ask(name: str, level: int) -> _Refusal | None:
            if level:
                return None  # a module of the bundle; whether it exists is seen when it runs
            return self.refusal(name)

        return ask

    def _is_allowed(self, name: str) -> bool:
        while name:
            if name in self._allowed:
                return True
            name = name.rpartition(".")[0]
        return False

    def _leads_to_allowed(self, name: str) -> bool:
        """Whether a module below this package may be imported: then the package may be named, empty otherwise."""
        return any(other.startswith(f"{name}.") for other in (*published.DEFAULT, *self._allowed))

    def _module(self, name: str) -> ModuleType:
        """Return a module by its full name, as tool code may have it."""
        if name in self._files or name in self._packages:
            return self._tool_module(name)
        refusal = self.refusal(name)
        if refusal is not None:
            if not STATE.learn:
                rule, message, hint = refusal
                raise DeniedModule([finding(rule, message, hint)], name)
            STATE.note("imports", name, refusal[1])
            return importlib.import_module(name)
        if name not in published.DEFAULT and self._leads_to_allowed(name) and not self._is_allowed(name):
            return facades.package_facade(name)
        if name.partition(".")[0] in sys.stdlib_module_names:
            return facades.facade(name, files_granted=STATE.files_granted)
        return importlib.import_module(name)

    # -- import statements -----------------------------------------------------------------------------------

    def import_name(self, name: str, leaf: bool) -> ModuleType:
        """Serve `import a.b` (returns `a`) and `import a.b as c` (returns `a.b`)."""
        parent: ModuleType | None
        module: ModuleType | None = None
        top: ModuleType | None = None
        for end in _prefixes(name):
            parent, module = module, self._module(name[:end])
            top = top or module
            if parent is not None and STATE.is_published(parent):
                namespace_of(parent).setdefault(name[:end].rpartition(".")[2], module)
        found = module if leaf else top
        assert found is not None
        return found

    def import_from(
        self, name: str, level: int, wanted: tuple[str, ...], namespace: Mapping[str, Any]
    ) -> tuple[Any, ...]:
        """Serve `from a import b, c`: returns the values, so the interpreter reads nothing by itself."""
        full = _absolute(name, level, namespace) if level else name
        module = self.import_name(full, leaf=True)
        return tuple(self._attribute(module, full, item) for item in wanted)

    def _attribute(self, module: ModuleType, full: str, item: str) -> Any:
        try:
            return guards.guarded_getattr(module, item)
        except AttributeError as error:
            submodule = f"{full}.{item}"
            known = submodule in self._files or submodule in self._packages or submodule in published.DEFAULT
            if known or (self._is_allowed(submodule) and _exists(submodule)):
                return self.import_name(submodule, leaf=True)
            if isinstance(error, DeniedAttribute):
                raise DeniedImport(error.diagnostics) from None
            where = getattr(module, "__file__", None) or "unknown location"
            raise ImportError(f"cannot import name {item!r} from {full!r} ({where})", name=full) from None

    def import_star(self, name: str, level: int, namespace: dict[str, Any]) -> None:
        """Serve `from a import *` at module level: copies the public names."""
        full = _absolute(name, level, namespace) if level else name
        module = self.import_name(full, leaf=True)
        listed = getattr(module, "__all__", None)
        public = listed if listed is not None else [item for item in vars(module) if not item.startswith("_")]
        for item in public:
            if type(item) is str and item not in names.RESERVED_VARIABLES and names.GUARD_OPEN not in item:
                namespace[item] = self._attribute(module, full, item)

    # -- modules of the bundle -------------------------------------------------------------------------------

    def _tool_module(self, name: str) -> ModuleType:
        found = self._modules.get(name)
        if found is not None:
            return found
        file = self._files.get(name) or SourceFile(name, "", b"", is_package=True)
        module = _new_module(file)
        self._modules[name] = module
        STATE.publish(module)
        registered = _register(module)
        try:
            self._run(module, file)
        except BaseException:
            del self._modules[name]
            if registered:
                sys.modules.pop(name, None)
            raise
        parent = self._modules.get(name.rpartition(".")[0])
        if parent is not None:
            setattr(parent, name.rpartition(".")[2], module)
        return module

    def _run(self, module: ModuleType, file: SourceFile) -> None:
        space = namespace_of(module)
        space["__builtins__"] = module_builtins(space, self)
        space.update(self._values.get(module.__name__, {}))
        if not file.source:
            return
        code, findings = compile_module(
            file.source,
            file.path,
            self.verdict(),
            files_granted=STATE.files_granted,
            learn=STATE.learn,
        )
        for found in findings:
            if found.rule not in _NOTED_WHEN_REACHED:
                STATE.note("names", f"{found.path}:{found.line}: {found.rule}", found.message)
        _remember_lines(file)
        exec(code, space)

    def load(self, entry: str, values: Mapping[str, Any] | None = None) -> ModuleType:
        """Load the entry module, with globals to set before its source runs."""
        for end in _prefixes(entry)[:-1]:
            if entry[:end] in self._packages or entry[:end] in self._files:
                self._tool_module(entry[:end])
        if entry not in self._files:
            raise ImportError(f"the bundle has no module {entry!r}", name=entry)
        self._values[entry] = dict(values or {})
        return self._tool_module(entry)


def interpreter_import(
    name: str,
    globals: Mapping[str, Any] | None = None,
    locals: Any = None,
    fromlist: Sequence[str] = (),
    level: int = 0,
) -> Any:
    """Serve the interpreter's own imports: the module is loaded, an empty one is returned.

    A function and not a method, which would hand out the importer by its `__self__`.
    """
    if name == "__future__":
        return facades.facade(name)
    root = name.partition(".")[0]
    if not level and (root in sys.stdlib_module_names or root in STATE.native_roots or STATE.learn):
        importlib.import_module(name)
        return ModuleType(name)
    raise DeniedModule([finding(*_not_allowed(name))], name)


def _not_allowed(name: str) -> _Refusal:
    root = name.partition(".")[0]
    missing = name if root in sys.stdlib_module_names else root
    added = f"Add {missing!r} to allowed_imports, if the operator's policy permits it."
    hint = published.useless_hint(name) or added
    return "PSB302", f"The module `{name}` is not allowed.", hint


def _prefixes(name: str) -> list[int]:
    """Return the ends of `a`, `a.b` and `a.b.c` in `a.b.c`."""
    return [index for index, char in enumerate(name) if char == "."] + [len(name)]


def _packages(files: Mapping[str, SourceFile]) -> frozenset[str]:
    """Return the packages that have no file of their own (PEP 420)."""
    found = set()
    for name in files:
        parent = name.rpartition(".")[0]
        while parent:
            found.add(parent)
            parent = parent.rpartition(".")[0]
    return frozenset(found - files.keys())


def _exists(name: str) -> bool:
    import importlib.util

    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, AttributeError, ValueError):
        return False


def _absolute(name: str, level: int, namespace: Mapping[str, Any]) -> str:
    """Resolve a relative import (PEP 328)."""
    package = namespace.get("__package__") or ""
    if not isinstance(package, str):
        raise TypeError("__package__ not set to a string")
    package = str.__str__(package)  # a subclass could be another name each time it is asked
    if not package:
        raise ImportError("attempted relative import with no known parent package")
    parts = package.rsplit(".", level - 1)
    if len(parts) < level:
        raise ImportError("attempted relative import beyond top-level package")
    return f"{parts[0]}.{name}" if name else parts[0]


def _new_module(file: SourceFile) -> ModuleType:
    module = ToolModule(file.name)
    package = file.name if file.is_package else file.name.rpartition(".")[0]
    folders = [file.path.rpartition("/")[0]] if file.path else []
    # Not the import system's class: who holds that may change it, and is then given the loaders of what is imported.
    namespace_of(module)["__spec__"] = SimpleNamespace(
        name=file.name,
        loader=None,
        origin=file.path or None,
        submodule_search_locations=[] if file.is_package else None,
        loader_state=None,
        cached=None,
        parent=package,
        has_location=bool(file.path),
    )
    module.__package__ = package
    if file.path:
        module.__file__ = file.path
    if file.is_package:
        module.__path__ = folders
    return module


def _register(module: ModuleType) -> bool:
    """Put a tool module into `sys.modules`, where dataclasses and typing look; never over the interpreter's
    own.
    """
    name = module.__name__
    root = name.partition(".")[0]
    if root in sys.stdlib_module_names:
        # The library's own must be found under the name; what looks there for the tool's is served by `shadows`.
        with suppress(ImportError):
            importlib.import_module(root)
        return False
    if root in ("elf_pysandbox_worker", "elf_pysandbox", "msgspec"):
        return False
    sys.modules[name] = module
    return True


def _remember_lines(file: SourceFile) -> None:
    """Let `linecache` know the source; the text is made when a traceback asks for it."""
    import linecache

    source = file.source
    if file.path.startswith("<"):  # `linecache` makes no text later for what is no file
        lines = source_text(source).splitlines(keepends=True)
        linecache.cache[file.path] = (len(source), None, lines, file.path)
    else:
        linecache.cache[file.path] = (lambda: source_text(source),)
