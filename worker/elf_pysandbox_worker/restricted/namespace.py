"""The builtins of tool code.

Each tool module has its own dict: `globals()` and the importer's functions belong to one module. Guards are
in it under names that no identifier can spell, so no source can shadow them.
"""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable
from typing import Any

from elf_pysandbox_worker.restricted import guards
from elf_pysandbox_worker.restricted.builtin_names import (
    PUBLISHED_BUILTINS,
    REFUSED_BUILTINS,
    builtin_refusal,
)
from elf_pysandbox_worker.restricted.diagnostics import DeniedName, PolicyDenied, finding
from elf_pysandbox_worker.restricted.names import guard_name
from elf_pysandbox_worker.restricted.state import STATE
from elf_pysandbox_worker.restricted.views import module_namespace

_exceptions = {
    name: value
    for name, value in vars(builtins).items()
    if isinstance(value, type) and issubclass(value, BaseException)
}


def module_builtins(namespace: dict[str, Any], importer: Any, *, files_granted: bool) -> dict[str, Any]:
    """Return the builtins for a module with this namespace.

    Parameters
    ----------
    namespace : dict
        The module's globals.
    importer : Importer
        Serves the module's import statements.
    files_granted : bool
        Whether `open` opens, or explains.
    """
    table = _common(files_granted)
    table["globals"] = table[guard_name("globals")] = lambda: module_namespace(namespace)
    table[guard_name("import")] = importer.import_name
    table[guard_name("from")] = lambda name, level, wanted: importer.import_from(
        name, level, wanted, namespace
    )
    table[guard_name("star")] = lambda name, level: importer.import_star(name, level, namespace)
    table["__import__"] = importer.interpreter_import
    table["eval"] = _evaluator(table)
    return table


def annotation_builtins() -> dict[str, Any]:
    """Return the builtins for annotations that a library evaluates from text: types only."""
    return {name: value for name, value in _common(False).items() if isinstance(value, type) or value is None}


def _common(files_granted: bool) -> dict[str, Any]:
    real = vars(builtins)
    table: dict[str, Any] = {name: real[name] for name in PUBLISHED_BUILTINS if name in real}
    table.update(_exceptions)
    for name in REFUSED_BUILTINS:
        table[name] = _refused(name)
    table["getattr"] = table[guard_name("getattr")] = guards.guarded_getattr
    table["hasattr"] = guards.guarded_hasattr
    table["setattr"] = guards.guarded_setattr
    table["delattr"] = guards.guarded_delattr
    table["vars"] = guards.guarded_vars
    table["locals"] = _locals
    table["open"] = guarded_open if files_granted else _open_refused
    table[guard_name("locals")] = locals
    table[guard_name("pattern")] = guards.guarded_pattern_class
    return table


def _refused(name: str) -> Callable[..., Any]:
    def refused(*args: Any, **kwargs: Any) -> Any:
        message, hint = builtin_refusal(name)
        if STATE.permits(name, message, hint):
            return getattr(builtins, name)(*args, **kwargs)
        raise DeniedName([finding("PSB101", message, hint)])

    refused.__name__ = refused.__qualname__ = name
    return refused


def _evaluator(table: dict[str, Any]) -> Callable[..., Any]:
    """Return `eval` for one module: an expression, checked and compiled as the module is, in its caller's
    scope.
    """

    def checked_eval(source: Any, globals: Any = None, locals: Any = None, /) -> Any:
        from elf_pysandbox_worker.restricted.compiler import compile_expression

        code = compile_expression(source)
        if globals is None:
            frame = sys._getframe(1)
            space: dict[str, Any] = frame.f_globals
            scope = frame.f_locals if locals is None else locals
        else:
            # A copy: eval() would put the real builtins into a dict that has none.
            space, scope = dict(globals), locals
        if space.get("__builtins__") is not table:
            space = {**space, "__builtins__": table}
        return eval(code, space, scope)

    checked_eval.__name__ = checked_eval.__qualname__ = "eval"
    return checked_eval


def _locals() -> Any:
    raise TypeError("locals() must be called by that name")


def guarded_open(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
    """`open` by path: which paths exist is the kernel's decision, descriptors are the sandbox's own."""
    opener = kwargs.get("opener") or (args[5] if len(args) > 5 else None)
    if isinstance(file, int) or hasattr(file, "__index__") or opener is not None:
        message = "`open` takes a path here: descriptors and openers are not available."
        if not STATE.permits("open", message, ""):
            raise PolicyDenied([finding("PSB103", message, "Open the file by its path.")])
    STATE.note("files", str(file), mode)
    return open(file, mode, *args, **kwargs)


def _open_refused(file: Any, *args: Any, **kwargs: Any) -> Any:
    if STATE.learn:
        return guarded_open(file, *args, **kwargs)
    raise DeniedName([finding("PSB103", f"`open({file!r})` needs a file grant, and there is none.")])
