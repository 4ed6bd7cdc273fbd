"""A callable's parameters with their annotations resolved: what binding and describing both need.

Resolving runs tool code (an annotation is an expression), so it belongs to the confined side. An annotation
that cannot be resolved counts as none.
"""

from __future__ import annotations

import functools
import inspect
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

POSITIONAL_ONLY = inspect.Parameter.POSITIONAL_ONLY
VAR_POSITIONAL = inspect.Parameter.VAR_POSITIONAL
KEYWORD_ONLY = inspect.Parameter.KEYWORD_ONLY
VAR_KEYWORD = inspect.Parameter.VAR_KEYWORD
EMPTY = inspect.Parameter.empty


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter.

    Attributes
    ----------
    name : str
    kind : inspect._ParameterKind
    annotation : object
        Resolved, with the constraints of a pydantic ``Field`` default folded in; `EMPTY` for none.
    default : object
        `EMPTY` for a required one; a ``Field`` default is the value it stands for.
    factory : callable or None
        Makes the default anew for each call (``Field(default_factory=…)``).
    """

    name: str
    kind: Any
    annotation: Any = EMPTY
    default: Any = EMPTY
    factory: Callable[[], Any] | None = None

    @property
    def required(self) -> bool:
        """Whether a call must give it."""
        loose = self.kind in (VAR_POSITIONAL, VAR_KEYWORD)
        return not loose and self.default is EMPTY and self.factory is None


@dataclass(frozen=True, slots=True)
class Signature:
    """What a call of a tool may look like.

    Attributes
    ----------
    parameters : tuple of Parameter
    returns : object
        Resolved return annotation; `EMPTY` for none.
    text : str
        As Python would write it.
    fields : bool
        Whether a default is a pydantic ``Field``, which the call itself must never see.
    """

    parameters: tuple[Parameter, ...]
    returns: Any
    text: str
    fields: bool = False


def signature_of(function: Callable[..., Any]) -> Signature | None:
    """Return the signature of any callable; None for one that tells none (some C functions)."""
    try:
        raw = inspect.signature(function)
    except (TypeError, ValueError):
        return None
    hints = _hints(function)
    parameters, fields = [], False
    for parameter in raw.parameters.values():
        annotation = hints.get(parameter.name, EMPTY)
        made, is_field = _parameter(parameter, annotation)
        parameters.append(made)
        fields |= is_field
    return Signature(tuple(parameters), hints.get("return", EMPTY), _text(raw), fields)


def _parameter(raw: inspect.Parameter, annotation: Any) -> tuple[Parameter, bool]:
    default = raw.default
    info = sys.modules.get("pydantic.fields")
    if info is None or not isinstance(default, info.FieldInfo):
        return Parameter(raw.name, raw.kind, annotation, default), False
    # def f(x: int = Field(3, gt=0)): the constraints belong to the type, the value is the default.
    from typing import Annotated

    value = EMPTY if default.is_required() or default.default_factory is not None else default.default
    inner = Any if annotation is EMPTY else annotation
    bare = info.FieldInfo.merge_field_infos(default, default=info.PydanticUndefined, default_factory=None)
    return Parameter(raw.name, raw.kind, Annotated[inner, bare], value, default.default_factory), True


class _Shown:
    """An annotation shown as it was written, without the quotes of one that is text."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def _text(signature: inspect.Signature) -> str:
    try:
        shown = [
            parameter.replace(annotation=_Shown(parameter.annotation))
            if isinstance(parameter.annotation, str)
            else parameter
            for parameter in signature.parameters.values()
        ]
        returns = signature.return_annotation
        returns = _Shown(returns) if isinstance(returns, str) else returns
        return str(signature.replace(parameters=shown, return_annotation=returns))
    except Exception:  # the repr of a default is the tool's own code
        return "(…)"


def _hints(function: Any) -> dict[str, Any]:
    """Annotations by name, each resolved on its own, so that one that fails costs only itself."""
    holder = _annotated(function)
    raw = dict(getattr(holder, "__annotations__", None) or {})
    namespace = _namespace(holder)
    hints = {}
    for name, annotation in raw.items():
        resolved = _resolve(annotation, namespace)
        if resolved is not EMPTY:
            hints[name] = resolved
    if inspect.isclass(function):
        hints["return"] = function
    return hints


def _resolve(annotation: Any, namespace: dict[str, Any]) -> Any:
    """Evaluate a string annotation, and the strings inside one (``list["Point"]``)."""
    import typing

    def carrier() -> None: ...

    carrier.__annotations__ = {"it": annotation}
    try:
        return typing.get_type_hints(carrier, namespace, include_extras=True)["it"]
    except Exception:
        return EMPTY


def _annotated(function: Any) -> Any:
    """The function object that carries the annotations of a callable."""
    for _ in range(50):
        if isinstance(function, functools.partial):
            function = function.func
        elif isinstance(function, types.MethodType):
            function = function.__func__
        elif hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        elif inspect.isclass(function):
            init = vars(function).get("__init__") or getattr(function, "__init__", None)
            return init if isinstance(init, types.FunctionType) else function
        else:
            call = type(function).__call__
            if isinstance(function, types.FunctionType) or not isinstance(call, types.FunctionType):
                return function
            function = call
    return function


def _namespace(holder: Any) -> dict[str, Any]:
    namespace = dict(getattr(holder, "__globals__", None) or {})
    # A function inside another: names of the enclosing one, as far as it captured them.
    code = getattr(holder, "__code__", None)
    for name, cell in zip(
        getattr(code, "co_freevars", ()), getattr(holder, "__closure__", None) or (), strict=False
    ):
        try:
            namespace[name] = cell.cell_contents
        except ValueError:
            pass
    for parameter in getattr(holder, "__type_params__", ()):
        namespace[parameter.__name__] = parameter
    return namespace
