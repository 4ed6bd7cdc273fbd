"""The builtins of tool code.

Each tool module has its own dict: `globals()` and the importer's functions belong to one module. Guards are
in it under names that no identifier can spell, so no source can shadow them.
"""

from __future__ import annotations

import builtins
import os
import sys
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

from elf_pysandbox_worker.restricted import guards
from elf_pysandbox_worker.restricted.builtin_names import (
    PUBLISHED_BUILTINS,
    REFUSED_BUILTINS,
    builtin_refusal,
)
from elf_pysandbox_worker.restricted.diagnostics import DeniedName, PolicyDenied, finding
from elf_pysandbox_worker.restricted.names import GUARD_OPEN, guard_name
from elf_pysandbox_worker.restricted.patterns import guarded_pattern_class
from elf_pysandbox_worker.restricted.state import STATE
from elf_pysandbox_worker.restricted.views import module_namespace

_exceptions = {
    name: value
    for name, value in vars(builtins).items()
    if isinstance(value, type) and issubclass(value, BaseException)
}


_CONSTANTS = ("None", "True", "False", "NotImplemented", "Ellipsis", "__debug__")


def module_builtins(namespace: dict[str, Any], importer: Any) -> dict[str, Any]:
    """Return the builtins for a module with this namespace.

    Parameters
    ----------
    namespace : dict
        The module's globals.
    importer : Importer
        Serves the module's import statements.
    """
    table = _common()
    table["globals"] = table[guard_name("globals")] = lambda: module_namespace(namespace)

    def import_name(name: str, leaf: bool) -> Any:
        # No bound method: its `__self__` is the importer.
        return importer.import_name(name, leaf)

    table[guard_name("import")] = import_name
    table[guard_name("from")] = lambda name, level, wanted: importer.import_from(
        name, level, wanted, namespace
    )
    table[guard_name("star")] = lambda name, level: importer.import_star(name, level, namespace)
    table["__import__"] = _interpreter_import()
    table["eval"] = _evaluator(table, namespace)
    return table


def annotation_builtins() -> dict[str, Any]:
    """Return the builtins for annotations that a library evaluates from text: types, as far as text can name them."""
    table = _common()
    types = {name: table[name] for name in table if isinstance(table[name], type) or name in _CONSTANTS}
    # The C code of `typing` imports by the builtins of its caller.
    return {**types, "__import__": _interpreter_import()}


def _interpreter_import() -> Any:
    from elf_pysandbox_worker.restricted.importer import interpreter_import

    return interpreter_import


def plain_globals(allowed_imports: Sequence[str]) -> dict[str, Any]:
    """Return globals for code that was not compiled under the policy: import statements call `__import__`."""
    from elf_pysandbox_worker.restricted.importer import Importer
    from elf_pysandbox_worker.wire.messages import Bundle

    importer = Importer(Bundle("", []), allowed_imports)
    space: dict[str, Any] = {"__name__": "restricted", "__package__": ""}
    table = module_builtins(space, importer)

    def import_(
        name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0
    ) -> Any:
        if level:
            raise ImportError("attempted relative import with no known parent package")
        module = importer.import_name(name, bool(fromlist))
        if fromlist and "*" not in fromlist:
            values = importer.import_from(name, 0, tuple(fromlist), space)
            return SimpleNamespace(**dict(zip(fromlist, values, strict=True)))
        return module

    table["__import__"] = import_
    space["__builtins__"] = {key: value for key, value in table.items() if GUARD_OPEN not in key}
    return space


def _common() -> dict[str, Any]:
    real = vars(builtins)
    table: dict[str, Any] = {name: real[name] for name in PUBLISHED_BUILTINS if name in real}
    table.update(_exceptions)
    for name in REFUSED_BUILTINS:
        table[name] = _refused(name)
    table["getattr"] = table[guard_name("getattr")] = guards.guarded_getattr
    table[guard_name("format")] = guards.guarded_format
    table[guard_name("formatter")] = guards.Formatted
    table[guard_name("type")], table[guard_name("str")] = type, str
    table[guard_name("visible")] = guards.visible
    table["hasattr"] = guards.guarded_hasattr
    table["setattr"] = guards.guarded_setattr
    table["delattr"] = guards.guarded_delattr
    table["vars"] = guards.guarded_vars
    table["locals"] = _locals
    table["open"] = tool_open
    table[guard_name("locals")] = locals
    table[guard_name("pattern")] = guarded_pattern_class
    return table


def _refused(name: str) -> Callable[..., Any]:
    def refused(*args: Any, **kwargs: Any) -> Any:
        message, hint = builtin_refusal(name)
        if STATE.permits(name, message, hint):
            return getattr(builtins, name)(*args, **kwargs)
        raise DeniedName([finding("PSB101", message, hint)])

    refused.__name__ = refused.__qualname__ = name
    return refused


def _evaluator(table: dict[str, Any], namespace: dict[str, Any]) -> Callable[..., Any]:
    """Return `eval` for one module: an expression, checked and compiled as the module is, in its caller's
    scope; in the module's, where the caller is library code (`asyncio.to_thread(eval, text)`).
    """

    def checked_eval(source: Any, globals: Any = None, locals: Any = None, /) -> Any:
        from elf_pysandbox_worker.restricted.compiler import compile_expression

        code = compile_expression(source)
        if globals is None:
            frame = sys._getframe(1)
            space: dict[str, Any] = frame.f_globals
            scope = frame.f_locals if locals is None else locals
            builtins_there = space.get("__builtins__")
            if type(builtins_there) is not dict or guard_name("getattr") not in builtins_there:
                space, scope = namespace, locals
        else:
            # A copy: eval() would put the real builtins into a dict that has none. The names of guards are not
            # the caller's to choose.
            space, scope = guards.only_text(globals), locals
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


def tool_open(file: Any, *args: Any, **kwargs: Any) -> Any:
    """`open` with a file grant; without one it says so."""
    if STATE.learn or STATE.files_granted:
        return guarded_open(file, *args, **kwargs)
    from elf_pysandbox_worker.intent import is_writing

    message = f"`open({file!r})` needs a file grant, and there is none."
    mode = args[0] if args else kwargs.get("mode", "r")
    raise DeniedName([finding("PSB103", message)], _grants_for(file, writing=is_writing(mode)))


def _grants_for(file: Any, *, writing: bool) -> list[tuple[str, str]]:
    """Return the settings with which a path can be opened."""
    path = str(file) if isinstance(file, (str, os.PathLike)) else ""
    if not writing:
        return [("read", path if os.path.isabs(path) else "")]
    return [("write", path)] if os.path.isabs(path) else [("scratch_mb", ""), ("write", "")]
