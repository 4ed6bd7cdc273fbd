import contextlib

import pytest

from elf_pysandbox._errors import ModuleLoadError
from elf_pysandbox._tools.context import ModuleContext
from elf_pysandbox._tools.imports import Import, decode_source, parses_slowly, scan_imports
from elf_pysandbox._tools.listing import public_functions
from elf_pysandbox._tools.static import look_at


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


@pytest.mark.parametrize(
    "source",
    [b"__import__('" + b"." * 400_000, b"import a" + b" \x0b" * 200_000 + b"b"],
    ids=["a call of dots", "a name of blanks"],
)
def test_no_piece_of_a_hostile_source_is_looked_at_again_and_again(source: bytes) -> None:
    scan_imports(source)


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
@pytest.mark.parametrize("codec", [b"punycode", b"IDNA"])
def test_a_source_is_not_decoded_by_a_codec_that_takes_hours(codec: bytes, end: bytes) -> None:
    for before in (b"", end):
        source = before + b"# coding: " + codec + end + b"import os" + end + b"#.xn--x-" + b"a" * 2_000_000
        assert parses_slowly(source)
        assert decode_source(source) == source.decode()
        for look in (public_functions, lambda context: look_at(context, "f")):
            with contextlib.suppress(ModuleLoadError):
                assert look(ModuleContext("m", source, "m.py")) is None
    assert not parses_slowly(b"# one" + end + b"# two" + end + b"# coding: punycode" + end)
    assert not parses_slowly(b"\xef\xbb\xbf# coding: punycode" + end)
    assert not parses_slowly(b"# coding: latin-1" + end)


@pytest.mark.parametrize("dot", [b".", b" . ", b" \\\n.", b"+AC4-"])
def test_a_name_of_very_many_parts_is_not_parsed(dot: bytes) -> None:
    cookie = b"# coding: utf-7\n" if dot == b"+AC4-" else b""
    for parts, slow in ((50, False), (1_000, True)):
        source = cookie + b"import " + dot.join([b"a"] * parts) + b"\ndef f(): pass\n"
        assert parses_slowly(source) is slow
        assert (look_at(ModuleContext("m", source, "m.py"), "f") is None) is slow
    scan_imports(b"import os\n" + b"a" * 4_000_000)
    assert not parses_slowly(b"a" * 4_000_000 + b" " * 1_000_000 + b"a." * 50)


def test_an_unknown_cookie_is_read_as_utf8() -> None:
    assert decode_source(b"# coding: klingon\nimport a") == "# coding: klingon\nimport a"
