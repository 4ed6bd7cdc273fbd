"""`return_type`: the name of a type as people write it, read without evaluating anything.

Decided here and nowhere else: which names there are. ``dict[str, list[int]]``, ``str | None``,
``Literal['a', 'b']`` and ``DataFrame`` are types here; everything else is an error that lists the names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

from elf_pysandbox._errors import ConfigurationError
from elf_pysandbox.config.problems import nearest

_TYPES: dict[str, Any] = {
    cls.__name__: cls
    for cls in (
        bool,
        int,
        float,
        complex,
        str,
        bytes,
        list,
        dict,
        tuple,
        set,
        frozenset,
        date,
        datetime,
        time,
    )
} | {"timedelta": timedelta, "Decimal": Decimal, "UUID": UUID, "Path": Path, "Any": Any, "None": type(None)}
_ALIASES = {
    "any": "Any", "null": "None", "string": "str", "integer": "int", "number": "float", "boolean": "bool",
    "object": "dict", "array": "list", "List": "list", "Dict": "dict", "Set": "set", "Tuple": "tuple",
}  # fmt: skip
_BY_NAME = ("DataFrame", "Series", "ndarray")
"""Types of packages that need not be installed here: checked by the name of the value's class."""

_TOKEN = re.compile(r"\s*([A-Za-z_][A-Za-z_0-9.]*|\.\.\.|'[^']*'|\"[^\"]*\"|-?[0-9]+|[\[\],|])")


def type_of(text: str) -> Any:
    """Return the type a text names.

    Raises
    ------
    ConfigurationError
        A name that is none of the accepted types, or brackets that do not fit.
    """
    tokens = list(_tokens(text))
    if len(tokens) > 100:
        raise ConfigurationError("return_type is longer than 100 words")
    reader = _Types(tokens, text)
    found = reader.union()
    if reader.tokens:
        raise ConfigurationError(f"return_type {text!r}: {reader.tokens[0]!r} does not belong there")
    return found


def checker_of(text: str) -> Callable[[Any], Any]:
    """Return a function that validates a value against the type a text names and returns it converted.

    Ints are taken for floats and nothing else is converted: a tool that promises ``int`` and returns ``"3"``
    is wrong.
    """
    from pydantic import ConfigDict, TypeAdapter

    adapter: TypeAdapter[Any] = TypeAdapter(
        type_of(text), config=ConfigDict(strict=True, arbitrary_types_allowed=True)
    )
    return adapter.validate_python


def _tokens(text: str) -> Iterator[str]:
    position = 0
    text = text.strip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ConfigurationError(f"return_type {text!r}: {text[position]!r} does not belong there")
        yield match[1]
        position = match.end()


def _by_name(name: str) -> Any:
    from typing import Annotated

    from pydantic import BeforeValidator

    def check(value: Any) -> Any:
        if not any(cls.__name__ == name for cls in type(value).__mro__):
            raise ValueError(f"a {name} is needed, not {type(value).__name__}")
        return value

    return Annotated[Any, BeforeValidator(check)]


class _Types:
    def __init__(self, tokens: list[str], text: str) -> None:
        self.tokens, self._text = tokens, text

    def _take(self) -> str:
        if not self.tokens:
            raise ConfigurationError(f"return_type {self._text!r} is not complete")
        return self.tokens.pop(0)

    def union(self) -> Any:
        found = self._one()
        while self.tokens[:1] == ["|"]:
            self._take()
            found = found | self._one() if not isinstance(found, str) else found
        return found

    def _one(self) -> Any:
        name = self._take().rpartition(".")[2] or "..."
        name = _ALIASES.get(name, name)
        if name in _BY_NAME:
            return _by_name(name)
        if name in ("Literal", "Optional", "Union"):
            return self._typing(name)
        if name not in _TYPES:
            known = [*_TYPES, *_BY_NAME, "Literal", "Optional", "Union"]
            raise ConfigurationError(
                f"return_type {self._text!r}: there is no type {name!r}.{nearest(name, known)} "
                f"There are {', '.join(known)}"
            )
        arguments = self._arguments() if self.tokens[:1] == ["["] else ()
        if not arguments:
            return _TYPES[name]
        counts = {"list": (1,), "set": (1,), "frozenset": (1,), "dict": (2,), "tuple": range(1, 100)}
        if len(arguments) not in counts.get(name, ()):
            raise ConfigurationError(
                f"return_type {self._text!r}: {name} does not take {len(arguments)} types"
            )
        return _TYPES[name][arguments if len(arguments) > 1 else arguments[0]]

    def _typing(self, name: str) -> Any:
        import typing

        if self.tokens[:1] != ["["]:
            raise ConfigurationError(f"return_type {self._text!r}: write {name}[…]")
        if name == "Literal":
            return Literal[self._literals()]
        arguments = self._arguments()
        return typing.Optional[arguments[0]] if name == "Optional" else typing.Union[arguments]  # noqa: UP007, UP045

    def _arguments(self) -> tuple[Any, ...]:
        self._take()
        found: list[Any] = []
        while True:
            if self.tokens[:1] == ["..."]:
                self._take()
                found.append(...)
            else:
                found.append(self.union())
            if self._separator():
                return tuple(found)

    def _literals(self) -> tuple[Any, ...]:
        self._take()
        found: list[Any] = []
        while True:
            token = self._take()
            found.append(
                token[1:-1] if token[0] in "'\"" else int(token) if token.lstrip("-").isdigit() else token
            )
            if self._separator():
                return tuple(found)

    def _separator(self) -> bool:
        """Take ``,`` or ``]``; True for the latter."""
        token = self._take()
        if token not in (",", "]"):
            raise ConfigurationError(f"return_type {self._text!r}: ',' or ']' is missing before {token!r}")
        return token == "]"
