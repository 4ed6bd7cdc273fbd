"""pydantic's errors, told in a document author's words, each at its line and column."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from elf_pysandbox.config.problems import Problem, listed, nearest
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


_ROUNDS = 5  # A key taken out may be a required one: then its mapping goes, and so on up.


@dataclass(frozen=True, slots=True)
class Salvaged(Generic[ModelT]):
    """A tree held against a model.

    Attributes
    ----------
    model : ModelT or None
        What is left of it without its mistakes; None when that is nothing.
    tree : Place
        The same as a tree.
    problems : list of Problem
        Every mistake at its line and column.
    """

    model: ModelT | None
    tree: Place
    problems: list[Problem]


def salvaged(model: type[ModelT], place: Place) -> Salvaged[ModelT]:
    """Validate a tree against a model, and again without what is wrong, so that the rest can be checked further."""
    problems: list[Problem] = []
    for _ in range(_ROUNDS):
        try:
            return Salvaged(model.model_validate(place.plain()), place, problems)
        except ValidationError as error:
            items = error.errors(include_url=False)
        if not problems:
            problems = [_problem(model, place, item) for item in items]
        wrong = {_steps(place, item["loc"]) for item in items}
        if () in wrong:
            break
        # From the end, so that positions in lists stay what they are, and what is within before what it is in.
        for path in sorted(wrong, key=lambda path: list(map(_padded, path)), reverse=True):
            place = _without(place, path)
    return Salvaged(None, place, problems)


def _padded(step: int | str) -> str:
    return f"{step:08}" if isinstance(step, int) else step


def _steps(place: Place, path: tuple[Any, ...]) -> tuple[int | str, ...]:
    """Return the steps of a path that lead to something: what is missing is the mistake of what lacks it."""
    found = []
    for step in path:
        value = place.value
        if (isinstance(value, dict) and step in value) or (
            isinstance(value, list) and isinstance(step, int) and step < len(value)
        ):
            place = value[step]
            found.append(step)
    # Without the key a function would seem to say nowhere where it is.
    return tuple(found[:-1] if found and found[-1] in ("module", "file", "source") else found)


def _without(place: Place, path: tuple[int | str, ...]) -> Place:
    """Return the tree without what is at a path; the tree itself stays, as aliases share parts of it."""
    step, rest = path[0], path[1:]
    value: Any = place.value.copy() if isinstance(place.value, (dict, list)) else None
    if value is None or (step not in value if isinstance(value, dict) else step >= len(value)):  # type: ignore[operator]
        return place
    if rest:
        value[step] = _without(value[step], rest)
    else:
        del value[step]
    return replace(place, value=value)


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
