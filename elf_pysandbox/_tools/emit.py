"""Live objects to a module's source: for callables that are in no file that could travel.

Decided here and nowhere else: how each kind of object is written down so that a fresh process makes its like.

- What an importable module defines is imported by name; the module travels if it is the project's own.
- Functions, lambdas and classes are written as they were, with the globals they use, transitively
  (`emit_code`).
- Data is shipped as a value and appears as a global.
- Other objects are made as their own ``__reduce_ex__`` says, which is what copying them would do
  (`emit_kinds`
  has those that read better otherwise).

Names are given once: two different things under one name are refused rather than mixed up.
"""

from __future__ import annotations

import contextlib
import copyreg
import math
import re
import sys
import types
from collections.abc import Iterator
from typing import Any

from elf_pysandbox._errors import ToolNotFoundError
from elf_pysandbox._tools.origin import importable_path, is_named_module, is_shippable_module, resolve
from elf_pysandbox._tools.plain import plain_copy, why_not_plain
from elf_pysandbox._tools.uses import Uses

_SHORT = 500
_CONTAINERS = (list, tuple, set, frozenset, dict)


class CannotShip(ToolNotFoundError):  # noqa: N818 - it names what cannot be done
    """An object that a fresh process cannot be given, with the way to it.

    Attributes
    ----------
    short : str
        What the object is, without advice.
    only_text : bool
        Whether it is only the source text that is missing: a pickle of the object may do.
    """

    def __init__(self, message: str, short: str = "", *, only_text: bool = False) -> None:
        super().__init__(message)
        self.short = short or message
        self.only_text = only_text


class Emitter:
    """Writes one module.

    Attributes
    ----------
    lines : list of str
        The module so far.
    values : dict
        Globals to set before the module runs.
    modules : set of str
        Modules that the source imports by name.
    future : bool
        Whether annotations are to stay unevaluated (PEP 563).
    uses : Uses
        What the module was written from.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.values: dict[str, Any] = {}
        self.modules: set[str] = set()
        self.future = False
        self.uses = Uses()
        self._taken: dict[str, int] = {}
        self._done: dict[int, str] = {}
        self._open: set[int] = set()
        self._pending: set[str] = set()  # names that are taken, and bound further down
        self._owed: dict[int, list[str]] = {}  # names to bind once what they mean is written
        self._passing: set[str] = set()  # names that a definition binds for a moment
        self._keep: list[object] = []

    def source(self) -> str:
        """Return the module's text."""
        head = ["from __future__ import annotations", ""] if self.future else []
        return "\n".join([*head, *self.lines, ""])

    def global_name(self, name: str, value: object, where: str) -> None:
        """Make the module's global `name` mean `value`."""
        if self._taken.get(name) == id(value):
            return
        if name in self._taken:
            raise two_things(name, where)
        self.reserve(name, value)
        self._pending.add(name)
        try:
            expression = self.expression(value, where, name)
        except CannotShip:
            del self._taken[name]  # Else the next who asks takes it for written.
            raise
        finally:
            self.settle(name)
        self._bind(name, value, expression)

    def global_name_later(self, name: str, value: object, where: str) -> None:
        """`global_name` for what is needed only when something is called: it may be what is just being written, as the
        decorated function that the function in it calls."""
        if id(value) not in self._open or self.has(name):
            self.global_name(name, value, where)
            return
        self.reserve(name, value)
        self._pending.add(name)
        self._owed.setdefault(id(value), []).append(name)

    def _bind(self, name: str, value: object, expression: str) -> None:
        if expression != name:
            self.lines.append(f"{name} = {expression}")
            if _literal(value) is None:
                self.remember(value, name)  # the expression may make another one

    def expression(self, value: object, where: str, name: str = "") -> str:
        """Return an expression for `value`, after writing what it needs.

        Parameters
        ----------
        value : object
        where : str
            What to call the value in an error.
        name : str
            A global name that is reserved for it already.

        Raises
        ------
        CannotShip
        """
        found = self._done.get(id(value)) or _literal(value) or self._named(value, name)
        if found is None:
            try:
                found = self._written(value, where, name)
            except CannotShip:
                # What can lead back to itself is remembered before it is written.
                self._done.pop(id(value), None)
                for owed in self._owed.pop(id(value), ()):
                    self.settle(owed)
                    del self._taken[owed]
                raise
        self.remember(value, found)
        for owed in self._owed.pop(id(value), ()):
            self.settle(owed)
            self._bind(owed, value, found)
            found = owed
        return found

    # -- names, also for `emit_code` and `emit_kinds` --

    def reserve(self, name: str, value: object) -> bool:
        """Take a global name for `value`; False when something else has it."""
        if self._taken.setdefault(name, id(value)) != id(value):
            return False
        self._keep.append(value)
        return True

    def pass_through(self, name: str) -> bool:
        """Bind a global name for a moment, to what gets another one; False when that would undo what it means."""
        if name in self._taken and name not in self._pending:
            return False
        self._passing.add(name)
        return True

    def settle(self, name: str) -> None:
        """Say that a global name has been bound: from here on nothing passes through it."""
        self._pending.discard(name)

    def has(self, name: str) -> bool:
        """Whether the module binds this global name."""
        return name in self._taken

    def remember(self, value: object, expression: str) -> None:
        """Use `expression` whenever `value` is met again."""
        self._done[id(value)] = expression
        self._keep.append(value)

    def fresh(self, stem: str) -> str:
        """Take a global name that nothing has."""
        stem = re.sub(r"\W", "_", stem) or "value"
        number = 1
        while f"{stem}_{number}" in self._taken or f"{stem}_{number}" in self._passing:
            number += 1
        self._taken[f"{stem}_{number}"] = 0
        return f"{stem}_{number}"

    @contextlib.contextmanager
    def inside(self, value: object, where: str) -> Iterator[None]:
        """While what `value` holds is written; meeting `value` itself again there is refused."""
        if id(value) in self._open:
            raise CannotShip(f"{where} leads back to itself")
        self._open.add(id(value))
        try:
            yield
        finally:
            self._open.discard(id(value))

    # -- by name --

    def _named(self, value: object, name: str) -> str | None:
        """What the confined side finds by name too."""
        if isinstance(value, types.ModuleType):
            return self._module(value, name)
        path = importable_path(value)
        if path is None or path[0] == "builtins":
            return path[1] if path else None
        module, attribute = path
        first, dot, rest = attribute.partition(".")
        if dot:
            return f"{self.expression(resolve(sys.modules[module], first), attribute)}.{rest}"
        alias = name or (first if self.reserve(first, value) else self.fresh(first))
        self.modules.add(module)
        self.lines.append(f"from {module} import {first}" + (f" as {alias}" if alias != first else ""))
        return alias

    def _module(self, module: types.ModuleType, name: str) -> str | None:
        path = module.__name__
        if sys.modules.get(path) is not module or not (
            is_named_module(module) or is_shippable_module(module)
        ):
            return None
        alias = name or self.fresh(path.replace(".", "_"))
        self.modules.add(path)
        self.lines.append(f"import {path}" + (f" as {alias}" if alias != path else ""))
        return alias

    # -- written out --

    def _written(self, value: Any, where: str, name: str) -> str:
        from elf_pysandbox._tools import emit_code, emit_kinds

        if isinstance(value, types.FunctionType):
            return emit_code.write_function(self, value, where, name)
        special = emit_kinds.write(self, value, where)
        if special is not None:
            self.uses.certain &= isinstance(value, re.Pattern)  # which never changes
            return special
        if isinstance(value, type):
            return emit_code.write_class(self, value, where)
        self.uses.data(value)
        if why_not_plain(value) is None:
            # Values are set before the module runs: a definition that passes through the name would undo it.
            target = name if name and name not in self._passing else self.fresh("value")
            self.values[target] = plain_copy(value)
            return target
        with self.inside(value, where):
            if type(value) in _CONTAINERS:
                return self._container(value, where)
            return self._instance(value, where)

    def _container(self, value: Any, where: str) -> str:
        if isinstance(value, dict):
            pairs = []
            for key, item in value.items():
                written = self.expression(key, f"{where} (its key {key!r})")
                pairs.append(f"{written}: {self.expression(item, f'{where}[{key!r}]')}")
            return "{" + ", ".join(pairs) + "}"
        items = [self.expression(item, f"{where}[{index}]") for index, item in enumerate(value)]
        if isinstance(value, list):
            return f"[{', '.join(items)}]"
        if isinstance(value, tuple):
            return f"({''.join(f'{item}, ' for item in items)})"
        return f"{type(value).__name__}([{', '.join(items)}])"

    def _instance(self, value: Any, where: str) -> str:
        try:
            parts = value.__reduce_ex__(2)
        except Exception as error:
            raise unshippable(value, where) from error
        if not isinstance(parts, tuple):
            raise unshippable(value, where)
        make, arguments, state, items, pairs = (*parts, None, None, None)[:5]
        target = self.fresh(type(value).__name__.lower())
        try:
            self.lines.append(f"{target} = {self._construction(make, arguments, where)}")
            self._set_state(value, target, state, where)
        except CannotShip as error:
            raise unshippable(value, where, error) from error
        for item in items or ():
            self.lines.append(f"{target}.append({self.expression(item, f'{where}: an item')})")
        for key, item in pairs or ():
            expression = self.expression(item, f"{where}[{key!r}]")
            self.lines.append(f"{target}[{self.expression(key, where)}] = {expression}")
        return target

    def _construction(self, make: Any, arguments: tuple[Any, ...], where: str) -> str:
        if make is vars(copyreg)["__newobj__"]:
            cls, *rest = arguments
            name = self.expression(cls, f"{where}: its class")
            return f"{name}.__new__({', '.join([name, *(self.expression(item, where) for item in rest)])})"
        name = self.expression(make, f"{where}: what makes it")
        return f"{name}({', '.join(self.expression(item, where) for item in arguments)})"

    def _set_state(self, value: Any, target: str, state: Any, where: str) -> None:
        if state is None:
            return
        if hasattr(type(value), "__setstate__"):
            self.lines.append(f"{target}.__setstate__({self.expression(state, f'{where}: its state')})")
            return
        plain_set = vars(object)["__setattr__"] is type(value).__setattr__
        for part in state if isinstance(state, tuple) else (state,):
            for name, item in (part or {}).items():
                expression = self.expression(item, f"{where}.{name}")
                set_past = f"object.__setattr__({target}, {name!r}, {expression})"
                set_it = f"{target}.{name} = {expression}"
                self.lines.append(set_it if plain_set and name.isidentifier() else set_past)


def unshippable(value: object, where: str, inner: CannotShip | None = None) -> CannotShip:
    """Return the error that says that `value` cannot cross, and what to do instead."""
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    short = f"{where} is a {name}"
    because = f" ({inner.short})" if inner is not None else ""
    advice = "make it inside the function, pass what it holds as an argument, or give the tool its own module"
    message = f"{short}, which cannot be sent to another process{because}: {advice}"
    if inner is None:
        return CannotShip(message, short)
    return CannotShip(message, inner.short, only_text=inner.only_text)


def two_things(name: str, where: str) -> CannotShip:
    """Return the error that says that one global name would have to mean two things."""
    return CannotShip(
        f"{where}: two different things are called {name!r} in what the tool uses; rename one", only_text=True
    )


def _literal(value: Any) -> str | None:
    """Small constants read better in the source than as values beside it."""
    if value is None or value is Ellipsis or isinstance(value, bool):
        return repr(value)
    if type(value) is int and value.bit_length() < 1000:
        return repr(value)
    if type(value) is float and math.isfinite(value):
        return repr(value)
    return repr(value) if type(value) in (str, bytes) and len(value) <= _SHORT else None
