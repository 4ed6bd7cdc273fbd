"""Namespaces as tool code may see them: without the entries that lead to the interpreter's internals."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from types import MappingProxyType
from typing import Any

from elf_pysandbox_worker.restricted import names
from elf_pysandbox_worker.restricted.diagnostics import DeniedName, finding


def _hidden(key: Any) -> bool:
    return isinstance(key, str) and (key in names.RESERVED_VARIABLES or names.GUARD_OPEN in key)


class ModuleNamespace(MutableMapping[str, Any]):
    """The names of a module, for `globals()` and `vars(module)`: writes go through to the module."""

    # The slot's name is refused by every route of reading, so the dict behind the view stays out of reach.
    __slots__ = ("__globals__",)

    def __init__(self, namespace: dict[str, Any]) -> None:
        self.__globals__ = namespace

    def __getitem__(self, key: str) -> Any:
        if _hidden(key):
            raise KeyError(key)
        return self.__globals__[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self.__globals__[_writable(key)] = value

    def __delitem__(self, key: str) -> None:
        del self.__globals__[_writable(key)]

    def __iter__(self) -> Iterator[str]:
        return iter([key for key in self.__globals__ if not _hidden(key)])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return repr(dict(self))

    def copy(self) -> dict[str, Any]:
        """Return the names as a plain dict."""
        return dict(self)


def _writable(key: str) -> str:
    key = str.__str__(key)
    if _hidden(key):
        raise DeniedName(
            [finding("PSB102", f"`{key}` is read by the interpreter itself and cannot be bound.")]
        )
    return key


def module_namespace(namespace: dict[str, Any]) -> MutableMapping[str, Any]:
    """Return the view of a module's namespace."""
    return ModuleNamespace(namespace)


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
