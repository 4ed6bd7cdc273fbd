"""Namespaces as tool code may see them: without the entries that lead to the interpreter's internals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from types import MappingProxyType, ModuleType
from typing import Any

from elf_pysandbox_worker.restricted import names
from elf_pysandbox_worker.restricted.diagnostics import DeniedAttribute, DeniedName, finding
from elf_pysandbox_worker.restricted.sealed import seal


def _hidden(key: str) -> bool:
    return key in names.RESERVED_VARIABLES or names.GUARD_OPEN in key


@seal
class ModuleNamespace:
    """The names of a module, for `globals()` and `vars(module)`: writes go through to the module.

    No class that tool code can change is a base of it, nor runs when one is made: it would be handed what this hides.
    """

    # The slot's name is refused by every route of reading, so the dict behind the view stays out of reach.
    __slots__ = ("__globals__",)

    __hash__ = None  # type: ignore[assignment]
    get, items, keys, values = Mapping.get, Mapping.items, Mapping.keys, Mapping.values
    __contains__, __eq__ = Mapping.__contains__, Mapping.__eq__
    pop, popitem, clear = MutableMapping.pop, MutableMapping.popitem, MutableMapping.clear
    update, setdefault = MutableMapping.update, MutableMapping.setdefault

    def __getitem__(self, key: str) -> Any:
        if not issubclass(type(key), str):
            raise KeyError(key)  # an object of the caller's could be equal to any name
        text = str.__str__(key)
        if _hidden(text):
            raise KeyError(text)
        return _behind(self)[text]

    def __setitem__(self, key: str, value: Any) -> None:
        _behind(self)[_writable(key)] = value

    def __delitem__(self, key: str) -> None:
        del _behind(self)[_writable(key)]

    def __iter__(self) -> Iterator[str]:
        return iter([key for key in _behind(self) if not _hidden(key)])

    def __len__(self) -> int:
        return sum(1 for _ in ModuleNamespace.__iter__(self))

    def __repr__(self) -> str:
        return repr(ModuleNamespace.copy(self))

    def __or__(self, other: Any) -> dict[str, Any]:
        return ModuleNamespace.copy(self) | dict(other)

    def copy(self) -> dict[str, Any]:
        """Return the names as a plain dict."""
        return {key: value for key, value in _behind(self).items() if not _hidden(key)}


MutableMapping.register(ModuleNamespace)
_slot: Any = ModuleNamespace.__dict__["__globals__"]
_behind: Callable[[Any], dict[str, Any]] = _slot.__get__

_module_dict: Any = vars(ModuleType)["__dict__"]
namespace_of: Callable[[ModuleType], dict[str, Any]] = _module_dict.__get__
"""Return the namespace of a module itself, whatever its class says."""


@seal
class ToolModule(ModuleType):
    """A module of the tool: its `__dict__` is the view, for the library's code as for the tool's."""

    __slots__ = ()

    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        return module_namespace(namespace_of(self))

    # The next two are the interpreter's own, which want a dict for that.

    def __dir__(self) -> Any:
        own = namespace_of(self).get("__dir__")  # PEP 562
        return ModuleNamespace.copy(self.__dict__) if own is None else own()

    @property
    def __annotations__(self) -> Any:
        return namespace_of(self).setdefault("__annotations__", {})

    @__annotations__.setter
    def __annotations__(self, value: Any) -> None:
        namespace_of(self)["__annotations__"] = value

    def __setattr__(self, name: str, value: Any) -> None:
        check_module_write(name)
        ModuleType.__setattr__(self, name, value)

    def __delattr__(self, name: str) -> None:
        check_module_write(name)
        ModuleType.__delattr__(self, name)


def check_module_write(name: str) -> None:
    """Refuse a name that may not be assigned on a module.

    Raises
    ------
    DeniedAttribute, DeniedName
    """
    if name == "__class__":
        message = "The class of a module decides what is read from it, and cannot be changed."
        raise DeniedAttribute([finding("PSB202", message, "Give the module a `__getattr__` (PEP 562).")])
    _writable(name)


def _writable(key: str) -> str:
    key = str.__str__(key)
    if _hidden(key):
        raise DeniedName(
            [finding("PSB102", f"`{key}` is read by the interpreter itself and cannot be bound.")]
        )
    return key


def module_namespace(namespace: dict[str, Any]) -> ModuleNamespace:
    """Return the view of a module's namespace."""
    view = object.__new__(ModuleNamespace)
    _slot.__set__(view, namespace)
    return view


def real_namespace(space: Any) -> Any:
    """Return the namespace behind a view; anything else as it is."""
    return _behind(space) if type(space) is ModuleNamespace else space


def class_namespace(
    cls: type, namespace: Mapping[str, Any], admit: Callable[[Any, str, Any], Any]
) -> Mapping[str, Any]:
    """Return a class's namespace, read-only as always, with guarded entries as the guard gives them.

    Parameters
    ----------
    cls : type
    namespace : mapping
        The real one.
    admit : callable
        (class, name, value) -> the value as tool code may have it; raises DeniedAttribute.
    """
    admitted: dict[str, Any] = {}
    for key, value in namespace.items():
        verdict = names.decide(key) if type(key) is str else names.PLAIN
        if verdict == names.REFUSED:
            continue
        if verdict == names.GUARDED:
            try:
                admitted[key] = admit(cls, key, value)
            except AttributeError:
                pass
        else:
            admitted[key] = value
    return MappingProxyType(admitted)
