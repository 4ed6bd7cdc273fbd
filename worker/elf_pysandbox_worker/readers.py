"""One annotation to what reads its values: pydantic, with the kinds it does not know added."""

from __future__ import annotations

import collections.abc
import json
import math
import sys
import types
import typing
import warnings
from typing import Annotated, Any

import msgspec

from elf_pysandbox_worker.signatures import EMPTY
from elf_pysandbox_worker.wire.values import Record

Problems = list[tuple[str, str]]

_NO_INSTANCE = "needs_python_object"
"""What pydantic calls it that JSON holds no instance of a class that it knows nothing of."""

_EXACT = 2**53
"""Whole numbers below are the same as floats."""


class Reader:
    """Reads values of one annotation.

    Attributes
    ----------
    adapter : pydantic.TypeAdapter or None
        None for an annotation that means nothing to pydantic: then every value passes.
    """

    def __init__(self, annotation: Any) -> None:
        self.adapter = adapter_of(annotation)
        self._of_mixed: Any = None

    def read(self, value: Any, path: str, lax: bool, problems: Problems) -> Any:
        """Return `value` as the annotated type; what does not fit is added to `problems`."""
        from pydantic import ValidationError

        if self.adapter is None:
            return value
        data = from_records(value)
        try:
            return self._laxly(data) if lax else self._strictly(data)
        except ValidationError as error:
            problems += _problems_of(error, data, path, self._classes_for(error, data))
        except Exception as error:  # a validator of the tool's own that raised something else
            problems.append(
                (path, str(error) if type(error) is ValueError else f"{type(error).__name__}: {error}")
            )
        return value

    def _laxly(self, value: Any) -> Any:
        """Read as pydantic does; and what the schema admits in any case."""
        try:
            return self.adapter.validate_python(value)
        except ValueError:  # which pydantic's errors are
            try:
                return self._strictly(value)
            except ValueError:
                pass
            raise

    def _strictly(self, value: Any) -> Any:
        from pydantic import ValidationError

        try:
            found = self.adapter.validate_python(value, strict=True)
        except ValidationError:
            # What stands for the type in JSON: text for a date, a list for a tuple; 3.0 is 3 there.
            found = self._as_json(value) if _is_json(value) else self._mixed(value)
        if not _same_kinds(value, found):
            raise ValueError("true and false are not numbers")
        return found

    def _as_json(self, value: Any) -> Any:
        from pydantic import ValidationError

        try:
            return self.adapter.validate_json(json.dumps(_whole_numbers(value, _EXACT)), strict=True)
        except ValidationError:
            # Some releases of pydantic take no large int for a float; others must have one for an int.
            whole = _whole_numbers(value, math.inf)
            return self.adapter.validate_json(json.dumps(whole), strict=True)

    def _classes_for(self, error: Any, value: Any) -> dict[Any, str]:
        """Return by place the names of the classes that an error found no instances of: from JSON, it tells none."""
        from pydantic import ValidationError

        if all(item["type"] != _NO_INSTANCE for item in _items(error)):
            return {}
        try:
            self.adapter.validate_python(value, strict=True)
        except ValidationError as same:
            found = same.errors(include_url=False, include_input=False)
            return {item["loc"]: item["ctx"]["class"] for item in found if item["type"] == "is_instance_of"}
        except Exception:  # a validator of the tool's own
            pass
        return {}

    def _mixed(self, value: Any) -> Any:
        """Read what no JSON holds, a dict with a date as the fields of a dataclass: each part by itself."""
        if self._of_mixed is None:
            from elf_pysandbox_worker.mixed import validator_of

            self._of_mixed = validator_of(self.adapter.core_schema)
        return self._of_mixed.validate_python(value)


def _is_json(value: Any) -> bool:
    if value is None or type(value) in (bool, int, float, str):
        return True
    if type(value) is list:
        return all(map(_is_json, value))
    return type(value) is dict and all(type(key) is str and _is_json(item) for key, item in value.items())


def _same_kinds(value: Any, found: Any) -> bool:
    """Whether no truth value was taken for the number that Python says it equals (``Literal[1]``, IntEnum)."""
    if type(value) is bool:
        return type(found) is bool or not isinstance(found, (int, float))
    if type(value) is list and isinstance(found, (list, tuple)) and len(value) == len(found):
        return all(map(_same_kinds, value, found))
    if type(value) is dict and isinstance(found, dict):
        return all(_same_kinds(item, found.get(key)) for key, item in value.items())
    return True


def adapter_of(annotation: Any) -> Any:
    """Return the pydantic adapter of an annotation, None when it has no meaning for pydantic."""
    from pydantic import ConfigDict, TypeAdapter

    if annotation is EMPTY:
        return None
    annotation = _known(annotation)
    with warnings.catch_warnings():
        # Where an annotation means nothing to pydantic, any value passes: nothing that a tool's user could act on.
        warnings.filterwarnings("ignore", message=".* is not a Python type")
        for config in (ConfigDict(arbitrary_types_allowed=True), None):
            try:
                return TypeAdapter(annotation, config=config)
            except Exception:
                continue
    return None


def from_records(value: Any) -> Any:
    """Turn records into dicts of their fields, for a class to be made of them."""
    if isinstance(value, Record):
        if value.kind == "enum":
            return value.fields["value"]
        return {name: from_records(item) for name, item in value.fields.items()}
    if type(value) is list:
        return [from_records(item) for item in value] if any(map(_may_hold, value)) else value
    if type(value) is tuple:
        return tuple(map(from_records, value))
    if type(value) is dict:
        return (
            {key: from_records(item) for key, item in value.items()}
            if any(map(_may_hold, value.values()))
            else value
        )
    return value


def _may_hold(value: Any) -> bool:
    return type(value) in (Record, list, tuple, dict)


def _whole_numbers(value: Any, below: float) -> Any:
    """Write floats without a fraction as ints: JSON Schema makes no difference."""
    if type(value) is float and value.is_integer() and abs(value) < below:
        return int(value)
    if type(value) in (list, tuple):
        return [_whole_numbers(item, below) for item in value]
    if type(value) is dict:
        return {key: _whole_numbers(item, below) for key, item in value.items()}
    return value


def _known(annotation: Any) -> Any:
    """Put kinds that pydantic reads, or reads from JSON, in place of those it does not, inside of others too."""
    origin = typing.get_origin(annotation)
    if origin is Annotated:
        inner = _known(annotation.__origin__)
        return Annotated[(inner, *annotation.__metadata__)]
    arguments = typing.get_args(annotation)
    if not arguments or origin in (typing.Literal, collections.abc.Callable):
        return _known_leaf(annotation)
    known = tuple(_known(argument) for argument in arguments)
    if all(new is old for new, old in zip(known, arguments, strict=True)):
        return _known_leaf(annotation)
    if isinstance(annotation, types.UnionType) or origin is typing.Union:
        return typing.Union[known]  # noqa: UP007 - made at run time
    return (
        types.GenericAlias(origin, known)
        if isinstance(annotation, types.GenericAlias)
        else annotation.copy_with(known)
    )


def _known_leaf(annotation: Any) -> Any:
    """Add how a table, an array or a msgspec struct is read from what JSON can say."""
    from pydantic import BeforeValidator, WithJsonSchema

    kind = typing.get_origin(annotation) or annotation
    module, name = getattr(kind, "__module__", ""), getattr(kind, "__name__", "")
    if name == "ndarray" and module == "numpy":
        return Annotated[kind, BeforeValidator(_to_array), WithJsonSchema({"type": "array", "items": {}})]
    if module.partition(".")[0] == "pandas" and name in ("DataFrame", "Series"):
        items: dict[str, Any] = {"type": "object"} if name == "DataFrame" else {}
        return Annotated[
            kind, BeforeValidator(_to_table(name)), WithJsonSchema({"type": "array", "items": items})
        ]
    if sys.version_info < (3, 12) and typing.is_typeddict(kind) and module != "typing_extensions":
        return _typed_dict(kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        schema, defs = msgspec.json.schema_components([kind], ref_template="#/$defs/{name}")
        inline = next(iter(defs.values())) if len(defs) == 1 else schema[0]
        return Annotated[kind, BeforeValidator(_to_struct(kind)), WithJsonSchema(dict(inline))]
    return annotation


def _typed_dict(kind: Any) -> Any:
    """Before 3.12, pydantic reads the TypedDict of typing_extensions only."""
    import typing_extensions

    hints = typing.get_type_hints(kind, include_extras=True)
    fields = {
        name: typing_extensions.Required[_known(hint)]
        if name in kind.__required_keys__
        else typing_extensions.NotRequired[_known(hint)]
        for name, hint in hints.items()
    }
    made: Any = typing_extensions.TypedDict(kind.__name__, fields)  # type: ignore[misc]
    made.__doc__, made.__module__ = kind.__doc__, kind.__module__
    return made


def _to_array(value: Any) -> Any:
    return sys.modules["numpy"].asarray(value) if isinstance(value, (list, tuple)) else value


def _to_table(name: str) -> Any:
    def convert(value: Any) -> Any:
        return getattr(sys.modules["pandas"], name)(value) if isinstance(value, (list, dict)) else value

    return convert


def _to_struct(kind: type) -> Any:
    def convert(value: Any) -> Any:
        if isinstance(value, kind):
            return value
        try:
            return msgspec.convert(value, kind)
        except msgspec.ValidationError as error:
            raise ValueError(str(error)) from error

    return convert


def _problems_of(error: Any, value: Any, path: str, classes: dict[Any, str]) -> Problems:
    """Pydantic's list as (path, message), one line for each path."""
    found: dict[str, list[str]] = {}
    for item in _items(error)[:200]:
        place = path + spell_place(item["loc"], value, item["type"])
        texts = found.setdefault(place, [])
        text = item["msg"]
        if item["type"] == _NO_INSTANCE:
            text = _no_instance(text, classes.get(item["loc"], ""))
        if text not in texts:
            texts.append(text)
    return [(place, " or ".join(texts)) for place, texts in found.items()]


def _items(error: Any) -> list[Any]:
    found: list[Any] = error.errors(include_url=False, include_context=False, include_input=False)
    return found


def _no_instance(told: str, name: str) -> str:
    """Say what pydantic tells the authors of schemas of in the words of a tool's author."""
    if "issubclass" in told:
        return "a class cannot be made from an argument: take its name instead"
    what = f"an instance of {name}" if name else "an instance of its class"
    return (
        f"{what} cannot be made from such an argument: take a dataclass, a pydantic model or a dict instead"
    )


def spell_place(loc: tuple[int | str, ...], value: Any, kind: str) -> str:
    """Spell the place of a problem inside `value`; names of union members in `loc` are left out."""
    text = ""
    for index, step in enumerate(loc):
        missing = kind in ("missing", "missing_argument") and index == len(loc) - 1
        if isinstance(step, int) and isinstance(value, (list, tuple)) and step < len(value):
            text, value = f"{text}[{step}]", value[step]
        elif isinstance(value, dict) and step in value:
            plain = isinstance(step, str) and step.isidentifier()
            text, value = (f"{text}.{step}" if plain else f"{text}[{step!r}]"), value[step]
        elif missing:
            text = f"{text}.{step}" if isinstance(step, str) else f"{text}[{step}]"
        elif isinstance(step, int) and isinstance(value, (set, frozenset)):
            text, value = f"{text} (its member {step})", None
    return text
