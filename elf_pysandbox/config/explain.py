"""pydantic's errors, told in a document author's words, each at its line and column."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from elf_pysandbox.config.problems import DocumentError, Problem, listed, nearest
from elf_pysandbox.config.text import Place

_NEEDED = {
    "string_type": "text is needed",
    "int_type": "a whole number is needed",
    "float_type": "a number is needed",
    "bool_type": "true or false is needed",
    "dict_type": "a mapping is needed",
    "list_type": "a list is needed",
    "tuple_type": "a list is needed",
    "model_type": "a mapping is needed",
    "model_attributes_type": "a mapping is needed",
}

ModelT = TypeVar("ModelT", bound=BaseModel)


def validated(model: type[ModelT], place: Place) -> ModelT:
    """Validate a tree against a model.

    Raises
    ------
    DocumentError
        With every problem at its line and column.
    """
    try:
        return model.model_validate(place.plain())
    except ValidationError as error:
        raise DocumentError(
            _problem(model, place, item) for item in error.errors(include_url=False)
        ) from None


def _problem(model: type[BaseModel], place: Place, item: Any) -> Problem:
    path, kind = tuple(item["loc"]), item["type"]
    if kind == "extra_forbidden":
        known = _keys_of(model, path[:-1])
        key = str(path[-1])
        hint = nearest(key, known) or f" There is {listed(known, 30)}."
        return place.at(path[:-1]).key_problem(key, f"unknown key {key!r}.{hint}")
    if kind == "missing":
        return place.at(path[:-1]).problem(f"{_named(path[:-1])}has no {path[-1]!r}; it needs one")
    found = place.at(path)
    return found.problem(f"{_key(path)}: {_message(item, found)}")


def _message(item: Any, found: Place) -> str:
    kind = item["type"]
    if kind in _NEEDED:
        return f"{_NEEDED[kind]}, not {_shown(found.value)}"
    if kind == "value_error":
        return str(item["ctx"]["error"])
    message: str = item["msg"]
    if kind == "literal_error":
        expected = item["ctx"]["expected"]
        choices = [word.strip().strip("'") for word in expected.replace(" or ", ",").split(",")]
        message = f"must be {expected}, not {_shown(found.value)}.{nearest(str(found.value), choices)}"
    return message[0].lower() + message[1:]


def _shown(value: Any) -> str:
    if value is None:
        return "nothing (null)"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = repr(value) if not isinstance(value, bool) else str(value).lower()
    return text if len(text) <= 60 else text[:57] + "…"


def _key(path: tuple[Any, ...]) -> str:
    """Return the last key of a path, with the list position where there is one."""
    names = [step for step in path if isinstance(step, (str, int))]
    if names and isinstance(names[-1], int):
        return f"{_key(tuple(names[:-1]))}[{names[-1]}]"
    return str(names[-1]) if names else "the document"


def _named(path: tuple[Any, ...]) -> str:
    return f"{_key(path)} " if path else "the document "


def _keys_of(model: type[BaseModel], path: tuple[Any, ...]) -> list[str]:
    """Return the keys a mapping at `path` may have."""
    current: type[BaseModel] = model
    for step in path:
        if isinstance(step, str):
            field = current.model_fields.get(step)
            current = next(_models_in(field.annotation), current) if field is not None else current
    return list(current.model_fields)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)
