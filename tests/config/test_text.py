"""YAML text becomes plain values that know their place."""

from __future__ import annotations

from pathlib import Path

import pytest

from elf_pysandbox.config.problems import DocumentError
from elf_pysandbox.config.text import MAX_BYTES, parse, read_text


def plain(text: str) -> object:
    return parse(text, "f.yaml").plain()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12),
        ("012", 12),
        ("0x1F", 31),
        ("0o17", 15),
        ("-3", -3),
        ("1.5e3", 1500.0),
        (".inf", float("inf")),
        ("~", None),
        ("null", None),
        ("true", True),
        ("yes", "yes"),
        ("on", "on"),
        ("2020-01-01", "2020-01-01"),
        ("12:30:00", "12:30:00"),
        ("1_000", "1_000"),
        ("'12'", "12"),
        ('"true"', "true"),
        ("|\n  12\n", "12\n"),
    ],
)
def test_scalars_follow_the_core_schema_of_yaml_1_2(text: str, value: object) -> None:
    assert plain(f"x: {text}") == {"x": value}


def test_the_key_on_stays_text() -> None:
    assert plain("retry: {on: [timeout]}") == {"retry": {"on": ["timeout"]}}


def test_aliases_and_merge_keys_are_expanded_and_own_keys_win() -> None:
    text = "base: &b {timeout: 3, retry: 2}\nuse:\n  <<: *b\n  retry: 5\nagain: [*b, *b]\n"
    assert plain(text) == {
        "base": {"timeout": 3, "retry": 2},
        "use": {"timeout": 3, "retry": 5},
        "again": [{"timeout": 3, "retry": 2}] * 2,
    }


def test_every_value_knows_its_line_and_column() -> None:
    tree = parse("a:\n  - x\n  - {k: v}\n", "f.yaml")
    found = tree.at(("a", 1, "k"))
    assert (found.value, found.line, found.column) == ("v", 3, 9)
    assert tree.at(("a", 1)).keys["k"] == ("f.yaml", 3, 6)


def test_a_path_that_fits_nothing_gives_the_deepest_place_on_it() -> None:
    assert parse("a: {b: 1}\n", "f.yaml").at(("a", "c", 3)).line == 1


def test_a_byte_order_mark_is_no_part_of_the_document(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(b"\xef\xbb\xbfname: x\n")
    assert plain(read_text(path)) == {"name": "x"}


def test_a_document_over_the_size_limit_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(DocumentError, match=r"f\.yaml:1:1: is longer than"):
        read_text(path)


def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(DocumentError, match=r"nowhere\.yaml:1:1: cannot be read: No such file"):
        read_text(tmp_path / "nowhere.yaml")


def test_an_alias_of_a_deep_value_counts_its_depth() -> None:
    text = "a: &a " + "[" * 10 + "]" * 10 + "\nb: " + "[" * 30 + "*a" + "]" * 30
    assert isinstance(plain(text), dict)
    with pytest.raises(DocumentError, match="nested more than 40"):
        plain(text.replace("b: ", "b: [").rstrip() + "]")
