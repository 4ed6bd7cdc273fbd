"""Plain modules are compiled as `compile` does it, to the last word of what is wrong with them."""

from __future__ import annotations

import pytest

from elf_pysandbox_worker.native import _compiled


@pytest.mark.parametrize(
    "source",
    [
        pytest.param("text = 'é'".encode(), id="UTF-8"),
        pytest.param(b"# -*- coding: latin-1 -*-\ntext = '\xe9'", id="a coding cookie"),
        pytest.param(b"\xef\xbb\xbftext = 1", id="a byte order mark"),
        pytest.param(b"\xef\xbb\xbf# coding: latin-1\ntext = 1", id="a mark and a cookie of another mind"),
        pytest.param(b"text = '\xe9'", id="no UTF-8"),
        pytest.param(b"# coding: nonsense\n", id="an unknown coding"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"one = 1\r\ntwo = 2\r\n", id="other line ends"),
        pytest.param(b"from __future__ import annotations\none: int", id="annotations that stay text"),
        pytest.param(b"match 1:\n  case 1: assert True", id="the grammar of today"),
        pytest.param(b"type Number = int", id="the grammar of tomorrow"),
        pytest.param(b"def one(:\n", id="a syntax error"),
        pytest.param(b"if 1:\n  one\n two", id="an indentation error"),
        pytest.param(b"print(1", id="a bracket left open"),
        pytest.param(b"one = 1\0", id="a null byte"),
        pytest.param(b"(" * 300 + b")" * 300, id="too many brackets"),
    ],
)
@pytest.mark.parametrize(
    "filename", ["<text>", "/tmp/ü.py", f"/tmp/{chr(0xDCFF)}.py", f"/tmp/{chr(0xD800)}.py", "a\0b.py"]
)
def test_it_gives_the_same_code_or_the_same_error_as_compile(source: bytes, filename: str) -> None:
    ours = _outcome(lambda: _compiled(source, filename))
    assert ours == _outcome(lambda: compile(source, filename, "exec", dont_inherit=True))


def _outcome(make: object) -> list[object]:
    try:
        code = make()  # type: ignore[operator]
    except Exception as error:
        places = ("filename", "lineno", "offset", "end_lineno", "end_offset", "text")
        return [type(error), str(error), *(getattr(error, place, None) for place in places)]
    return [code, code.co_filename, code.co_flags, list(code.co_positions())]
