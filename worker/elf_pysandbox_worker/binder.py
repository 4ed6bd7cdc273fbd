"""Arguments to parameters, and each to its annotated type: the whole of it, for calls that need more than a look.

Loads `inspect`, and pydantic for annotations that need it; `binding` keeps both away from tools that do not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from elf_pysandbox_worker.binding import exact_types
from elf_pysandbox_worker.errors import BY_POSITION_ONLY, BadArguments, BadResult, of_a_method
from elf_pysandbox_worker.signatures import (
    EMPTY,
    KEYWORD_ONLY,
    POSITIONAL_ONLY,
    VAR_KEYWORD,
    VAR_POSITIONAL,
    Parameter,
    Signature,
    signature_of,
)

Arguments = tuple[tuple[Any, ...], dict[str, Any]]
Problems = list[tuple[str, str]]

_NO_OPTIONS: Mapping[str, str] = {}


def binder_of(function: Callable[..., Any]) -> Binder | None:
    """Return the binder of any callable, with what its annotations need loaded; None when there is nothing to do."""
    signature = signature_of(function)
    if signature is None:
        return None
    kinds = [exact_types(parameter.annotation) for parameter in signature.parameters]
    unusual = any(p.kind in (POSITIONAL_ONLY, VAR_POSITIONAL) for p in signature.parameters)
    if not signature.fields and not unusual and all(kind is None for kind in kinds):
        return None
    binder = Binder(signature)
    if signature.fields or frozenset() in kinds:
        binder.load()
    return binder


class Binder:
    """Binds and converts the arguments of one signature; loads pydantic when it is first needed."""

    def __init__(self, signature: Signature) -> None:
        self._signature = signature
        self._parameters = {parameter.name: parameter for parameter in signature.parameters}
        self._positional = [p for p in signature.parameters if p.kind <= 1]
        self._rest = next((p for p in signature.parameters if p.kind == VAR_POSITIONAL), None)
        self._extra = next((p for p in signature.parameters if p.kind == VAR_KEYWORD), None)
        self._readers: dict[str, Any] | None = None

    def load(self) -> None:
        """Build what reads each parameter, once."""
        if self._readers is None:
            from elf_pysandbox_worker.readers import Reader

            self._readers = {
                name: Reader(parameter.annotation)
                for name, parameter in self._parameters.items()
                if exact_types(parameter.annotation) is not None
            }

    def bind(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], options: Mapping[str, str] = _NO_OPTIONS
    ) -> Arguments:
        """Return arguments of the annotated types.

        Raises
        ------
        BadArguments
        """
        problems: Problems = []
        named = bool(options.get("named")) and not args
        if named:
            args, kwargs = self._by_position(kwargs)
        given, rest, extra = self._distribute(args, kwargs, named, problems)
        lax = bool(options.get("lax"))
        for name, value in given.items():
            given[name] = self._read(self._parameters[name], value, name, lax, problems)
        if self._rest is not None:
            rest = [
                self._read(self._rest, v, f"{self._rest.name}[{i}]", lax, problems)
                for i, v in enumerate(rest)
            ]
        if self._extra is not None:
            extra = {key: self._read(self._extra, value, key, lax, problems) for key, value in extra.items()}
        if problems:
            raise BadArguments(problems)
        return self._arrange(given, len(args), rest, extra)

    def _by_position(self, named: dict[str, Any]) -> Arguments:
        """Take out of `named` what Python accepts by position only."""
        kwargs = dict(named)
        args: list[Any] = []
        only = [p for p in self._positional if p.kind == POSITIONAL_ONLY]
        rest = kwargs.get(self._rest.name) if self._rest is not None else None
        if isinstance(rest, (list, tuple)) and rest:
            only = self._positional
        for parameter in only:
            if parameter.name in kwargs:
                args.append(kwargs.pop(parameter.name))
            elif parameter.required:
                return (), named  # told as missing by the distribution below
            else:
                args.append(_default(parameter))
        if self._rest is not None and isinstance(rest, (list, tuple)):
            args += kwargs.pop(self._rest.name)
        return tuple(args), kwargs

    def _distribute(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], named: bool, problems: Problems
    ) -> tuple[dict[str, Any], list[Any], dict[str, Any]]:
        """Give every argument its parameter; what has none, and what lacks one, is a problem."""
        given = {parameter.name: value for parameter, value in zip(self._positional, args, strict=False)}
        rest = list(args[len(self._positional) :])
        if rest and self._rest is None:
            problems.append(("", f"{len(args)} arguments by position, but it takes {len(self._positional)}"))
        extra = {}
        misplaced = () if named else self._misplaced(given, kwargs)
        problems += [(name, BY_POSITION_ONLY) for name in misplaced]
        kinds = (POSITIONAL_ONLY, 1, KEYWORD_ONLY) if named else (1, KEYWORD_ONLY)
        for name, value in kwargs.items():
            if name in misplaced:
                continue
            parameter = self._parameters.get(name)
            takes = parameter is not None and parameter.kind in kinds
            if takes and name in given:
                problems.append((name, "given twice: by position and by name"))
            elif takes:
                given[name] = value
            elif self._extra is not None:
                extra[name] = value
            else:
                problems.append((name, self._unexpected(name)))
        for parameter in self._parameters.values():
            if parameter.required and parameter.name not in given and parameter.name not in misplaced:
                first = self._positional[0].name if self._positional else ""
                problems.append((parameter.name, f"is required{of_a_method(first)}"))
        return given, rest, extra

    def _misplaced(self, given: dict[str, Any], kwargs: dict[str, Any]) -> list[str]:
        """Return the positional-only parameters that are given by name, where no ``**`` parameter takes that name."""
        only = [p for p in self._positional if p.kind == POSITIONAL_ONLY and p.name in kwargs]
        return [p.name for p in only if self._extra is None or (p.required and p.name not in given)]

    def _unexpected(self, name: str) -> str:
        from difflib import get_close_matches

        names = [p.name for p in self._parameters.values() if p.kind in (1, KEYWORD_ONLY)]
        close = get_close_matches(name, names, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"it takes {', '.join(names) or 'none'}"
        return f"there is no such parameter; {hint}"

    def _read(self, parameter: Parameter, value: Any, path: str, lax: bool, problems: Problems) -> Any:
        kinds = exact_types(parameter.annotation)
        if kinds is None or type(value) in kinds:
            return value
        if kinds == {float} and type(value) is int and abs(value) < 1 << 53:
            return float(value)
        self.load()
        assert self._readers is not None
        return self._readers[parameter.name].read(value, path, lax, problems)

    def _arrange(
        self, given: dict[str, Any], count: int, rest: list[Any], extra: dict[str, Any]
    ) -> Arguments:
        """What came by position goes by position: a wrapper may take its arguments in no other way."""
        for parameter in self._parameters.values():
            has_default = parameter.default is not EMPTY or parameter.factory is not None
            if self._signature.fields and has_default and parameter.name not in given:
                given[parameter.name] = _default(parameter)
        args: list[Any] = []
        for parameter in self._positional:
            by_position = len(args) < count or parameter.kind == POSITIONAL_ONLY
            if not by_position or parameter.name not in given:
                break
            args.append(given.pop(parameter.name))
        return (*args, *rest), given | extra


def _default(parameter: Parameter) -> Any:
    return parameter.factory() if parameter.factory is not None else parameter.default


def check_result(function: Callable[..., Any], value: Any) -> Any:
    """Hold a result against the return annotation; returns it converted.

    Raises
    ------
    BadResult
        With every place that does not fit.
    """
    from elf_pysandbox_worker.readers import Reader

    signature = signature_of(function)
    if signature is None or signature.returns is EMPTY or exact_types(signature.returns) is None:
        return value
    if type(value) in (exact_types(signature.returns) or ()):
        return value
    problems: Problems = []
    checked = Reader(signature.returns).read(value, "result", False, problems)
    if problems:
        raise BadResult(problems)
    return checked
