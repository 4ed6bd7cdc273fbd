"""A live callable to a `Tool`.

Wherever there is a file, the whole module travels and the callable goes by its attribute path. Otherwise (a
REPL, `__main__`, a notebook, a host program, a function inside a function) the callable is written down with
what it uses (`emit`). What has no source at all travels as cloudpickle makes it, for profile `native` only.
"""

from __future__ import annotations

import functools
import os
import re
import sys
import types
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from elf_pysandbox._errors import ToolNotFoundError
from elf_pysandbox._tools.context import MAX_BUNDLE, ModuleContext
from elf_pysandbox._tools.load import context_by_name, context_of_module_file
from elf_pysandbox._tools.locate import import_roots, own_roots
from elf_pysandbox._tools.origin import (
    file_of_module,
    find_path,
    importable_path,
    is_named_module,
    is_shippable_module,
)
from elf_pysandbox._tools.siblings import find_siblings
from elf_pysandbox._tools.tool import Tool
from elf_pysandbox._tools.uses import Uses

if TYPE_CHECKING:
    from elf_pysandbox._tools.emit import CannotShip


_TRIES = 5  # to write down what another thread changes meanwhile


def capture(
    function: Callable[..., Any], *, python_path: Sequence[str] = (), name: str | None = None
) -> Tool:
    """Make a tool of a live callable.

    Raises
    ------
    ToolNotFoundError
        It is not callable, or something it uses cannot be sent to another process; the message names it.
    """
    if not callable(function):
        raise ToolNotFoundError(
            f"{function!r} cannot be called: pass a function, or a target such as 'file.py:function'"
        )
    called = name or name_of(function)
    for module in _home_modules(function):
        if is_named_module(module):
            path = importable_path(function)
            if path is not None:
                return Tool(called, context_by_name(*path), path[1])
            continue
        path_in_file = find_path(function, module)
        if path_in_file is None or not path_in_file.replace(".", "").isidentifier():
            continue
        if is_shippable_module(module):
            return Tool(
                called,
                context_of_module_file(module.__name__, file_of_module(module), python_path),
                path_in_file,
            )
        source = _source_attribute(module)
        if source is not None:
            context = ModuleContext(module.__name__, source.encode(), f"<module {module.__name__}>")
            return Tool(called, context, path_in_file)
    return _written(function, called, python_path)


def name_of(function: Any) -> str:
    """What to call a tool made of this callable."""
    if isinstance(function, functools.partial):
        return name_of(function.func)
    name = getattr(function, "__name__", None) or type(function).__name__
    return name if name.isidentifier() else re.sub(r"\W", "", name) or "tool"


def _home_modules(function: Any) -> list[types.ModuleType]:
    """Modules that may hold the callable: its own, that of what it is bound to, that of its class."""
    inner = function.func if isinstance(function, functools.partial) else function
    bound = getattr(inner, "__self__", None)
    owner = getattr(inner, "__objclass__", None)
    kinds = [inner, bound, type(bound), owner, type(inner)]
    names = [
        kind.__name__ if isinstance(kind, types.ModuleType) else getattr(kind, "__module__", None)
        for kind in kinds
    ]
    return [
        sys.modules[name] for name in dict.fromkeys(names) if isinstance(name, str) and name in sys.modules
    ]


def _source_attribute(module: types.ModuleType) -> str | None:
    """The text of a module made at run time that carries it along."""
    for key in ("__source__", "source"):
        text = vars(module).get(key)
        if isinstance(text, str) and file_of_module(module) is None:
            return text
    return None


def _written(function: Any, called: str, python_path: Sequence[str]) -> Tool:
    from elf_pysandbox._tools.emit import CannotShip

    for _ in range(_TRIES):
        try:
            return _written_at_once(function, called, python_path)
        except RecursionError:
            raise
        except RuntimeError as error:  # "dictionary changed size during iteration"
            changed = error
    raise CannotShip(f"{called} uses something that another thread changes all the time: {changed}")


def _written_at_once(function: Any, called: str, python_path: Sequence[str]) -> Tool:
    from elf_pysandbox._tools.emit import CannotShip, Emitter

    emitter = Emitter()
    try:
        expression = emitter.expression(function, called)
        path = expression
        parts = expression.split(".")
        if not all(part.isidentifier() for part in parts) or not emitter.has(parts[0]):
            path = emitter.fresh("tool")
            emitter.lines.append(f"{path} = {expression}")
        values = _pack(emitter.values, called)
    except CannotShip as error:
        if not error.only_text:
            raise
        return _pickled(function, called, error)
    roots = _roots_of(emitter.modules, python_path)
    source = emitter.source().encode("utf-8", "surrogatepass")
    module_name = f"captured_{called}"
    siblings = find_siblings(module_name, source, is_package=False, roots=roots)
    context = ModuleContext(module_name, source, f"<captured {called}>", siblings, values=values)
    return Tool(called, context, path).written_from(emitter.uses)


def _pack(values: dict[str, Any], called: str) -> bytes:
    if not values:
        return b""
    from elf_pysandbox._tools.emit import CannotShip
    from elf_pysandbox_worker.wire import bundled
    from elf_pysandbox_worker.wire.values import UnsupportedValue, ValueTooLarge, pack

    try:
        packed = pack(values, max_bytes=MAX_BUNDLE, root="")
    except ValueTooLarge:
        raise CannotShip(
            f"{called} uses data of more than {MAX_BUNDLE >> 20} MiB: pass it as an argument, or let the tool read it "
            "from a file"
        ) from None
    except UnsupportedValue as error:
        raise CannotShip(f"{called} uses a value that cannot be sent: {error}") from error
    return bundled.join(packed)


def _roots_of(modules: set[str], python_path: Sequence[str]) -> tuple[str, ...]:
    """Folders that the named modules' own names count from, and the project's."""
    roots = [os.path.abspath(entry) for entry in python_path]
    for name in sorted(modules):
        module = sys.modules.get(name)
        file = file_of_module(module)
        if module is not None and file is not None and not is_named_module(module):
            folder = os.path.dirname(file)
            for _ in range(name.count(".") + (os.path.basename(file) == "__init__.py")):
                folder = os.path.dirname(folder)
            roots.append(folder)
    return tuple(dict.fromkeys((*roots, *own_roots(import_roots()))))


def _pickled(function: Any, called: str, reason: CannotShip) -> Tool:
    """Fall back to cloudpickle where only the source is missing; what it refuses is told as it says it."""
    from elf_pysandbox._tools.pickling import dumps

    data = dumps(function, called, reason)
    text = "".join(f"import {name}\n" for name in _modules_in_pickle(data)).encode()
    siblings = find_siblings(f"pickled_{called}", text, is_package=False, roots=_roots_of(set(), ()))
    refusal = (
        f"{called} has no source that could be checked, it runs in profile 'native' only ({reason}): "
        "put it into a file"
    )
    source = f"raise ImportError({refusal!a})\n".encode()
    context = ModuleContext(f"pickled_{called}", source, f"<pickled {called}>", siblings, pickled=data)
    uses = Uses()
    uses.certain = False
    return Tool(called, context, "function").written_from(uses)


def _modules_in_pickle(data: bytes) -> list[str]:
    """Names in the pickle of modules that have a file of the project's own."""
    import pickletools

    found = set()
    for _, argument, _ in pickletools.genops(data):
        if isinstance(argument, str) and argument.split(" ")[0] in sys.modules:
            name = argument.split(" ")[0]
            if file_of_module(sys.modules[name]) and not is_named_module(sys.modules[name]):
                found.add(name)
    return sorted(found)
