"""`return_type` names a type and checks values against it."""

from __future__ import annotations

from typing import Any

import pytest

from elf_pysandbox._errors import ConfigurationError
from elf_pysandbox.config.types import checker_of, type_of


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("int", 3),
        ("float", 3),
        ("str | None", None),
        ("Optional[str]", "x"),
        ("dict[str, list[int]]", {"a": [1]}),
        ("tuple[int, ...]", (1, 2)),
        ("Literal['a', 'b', 3]", 3),
        ("Union[int, str]", "x"),
        ("list", [1, "a"]),
        ("string", "x"),
        ("Any", object),
        ("typing.List[int]", [1]),
    ],
)
def test_a_value_of_the_named_type_passes(text: str, value: Any) -> None:
    assert checker_of(text)(value) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("int", "3"),
        ("int", True),
        ("str", None),
        ("dict[str, int]", {"a": "1"}),
        ("Literal['a']", "b"),
        ("DataFrame", []),
    ],
)
def test_a_value_of_another_type_is_refused_and_never_converted(text: str, value: Any) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        checker_of(text)(value)


def test_a_data_frame_is_told_by_the_name_of_its_class() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1]})
    assert checker_of("pd.DataFrame")(frame) is frame


@pytest.mark.parametrize(
    "text",
    [
        "Foo",
        "dict[str",
        "dict[str]",
        "int]",
        "list[int, str]",
        "",
        "x + y",
        "()",
        "int |",
        "Literal",
        "list[" * 60,
    ],
)
def test_text_that_names_no_type_is_an_error(text: str) -> None:
    with pytest.raises(ConfigurationError, match="return_type"):
        type_of(text)
