import pytest

from elf_pysandbox._tools.imports import Import, decode_source, scan_imports


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        (b"import os, sys as s", [Import("os"), Import("sys")]),
        (b"import a . b", [Import("a.b")]),
        (b"if x: import q; import r", [Import("q"), Import("r")]),
        (b"from . import u, v as w", [Import("", 1, ("u", "v"))]),
        (b"from ..p.m import (z, # hi (note)\n y as yy,\n)", [Import("p.m", 2, ("z", "y"))]),
        (b"from \\\r\n  foo import bar", [Import("foo", 0, ("bar",))]),
        (b"def f():\n\tfrom x.y import *", [Import("x.y", 0, ("*",))]),
        ("import café".encode(), [Import("café")]),
        ("# coding: latin-1\nimport café".encode("latin-1"), [Import("café")]),
        (b"importlib.import_module('a.b'); __import__(\"c\")", [Import("a.b"), Import("c")]),
        (b"type X = int\nimport a\n)(", [Import("a")]),
        (b'"""import the data"""', []),
        (b"\xff\xfe\x00", []),
        (b"", []),
    ],
)
def test_every_form_of_import_is_found(source: bytes, expected: list[Import]) -> None:
    assert list(scan_imports(source)) == sorted(expected)


@pytest.mark.parametrize(
    "piece",
    [b"from ", b"import ", b"from a ", b"from a import (", b". ", b"a. ", b"import_module(", b"((((("],
)
def test_a_hostile_source_is_scanned_in_linear_time(piece: bytes) -> None:
    # Quadratic work would take minutes here, and the whole suite with it.
    scan_imports(piece * 40_000 + b"import")


def test_an_unknown_cookie_is_read_as_utf8() -> None:
    assert decode_source(b"# coding: klingon\nimport a") == "# coding: klingon\nimport a"
