"""`pysandbox run`: what a person reads when a call does not end well."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from click.testing import CliRunner

from elf_pysandbox._cli import main
from elf_pysandbox_worker.restricted import RULES


def run(*words):
    return CliRunner().invoke(main, ["run", *words])


@pytest.mark.parametrize("profile", ["restricted", "native"])
def test_a_syntax_error_is_told_by_the_tools_own_file_line_and_column_with_a_caret(tmp_path, profile):
    file = tmp_path / "tool.py"
    file.write_text("def f(a):\n    return (a + * 2)\n")
    done = run(f"{file}:f", "--profile", profile)
    assert done.exit_code == 5
    assert done.stderr.splitlines() == [
        "Traceback (most recent call last):",
        f'  File "{file}", line 2',
        "    return (a + * 2)",
        "                ^",
        "load_failed: SyntaxError: invalid syntax (tool.py, line 2, column 17)",
    ]


@pytest.mark.parametrize("profile", ["restricted", "native"])
def test_a_syntax_error_of_an_imported_module_is_told_below_the_import(tmp_path, profile):
    (tmp_path / "tool.py").write_text("import helper\n\ndef f():\n    return helper.g()\n")
    (tmp_path / "helper.py").write_text("def g(:\n    pass\n")
    lines = run(f"{tmp_path / 'tool.py'}:f", "--profile", profile).stderr.splitlines()
    files = [line.strip() for line in lines if line.startswith("  File")]
    assert files == [
        f'File "{tmp_path / "tool.py"}", line 1, in <module>',
        f'File "{tmp_path / "helper.py"}", line 1',
    ]


@pytest.mark.parametrize("profile", ["restricted", "native"])
def test_a_file_with_nul_bytes_is_named_and_none_of_ours(tmp_path, profile):
    file = tmp_path / "tool.py"
    file.write_bytes(b"def f():\n    return 1\n\0")
    done = run(f"{file}:f", "--profile", profile)
    assert done.exit_code == 5
    assert re.fullmatch(
        r"load_failed: \w+: source code string cannot contain null bytes \(tool.py\)\n", done.stderr
    )


UNDECODABLE = [
    b"def f(:\xff\xfe",
    b"def f():\n    return 'caf\xe9'\n",
    b"# coding: nope\ndef f():\n    pass\n",
]


@pytest.mark.parametrize("profile", ["restricted", "native"])
@pytest.mark.parametrize("source", UNDECODABLE, ids=["no syntax either", "text", "cookie"])
def test_a_file_that_does_not_decode_is_named_with_what_to_do(tmp_path, profile, source):
    (tmp_path / "tool.py").write_bytes(source)
    (tmp_path / "user.py").write_text("import tool\n\ndef f():\n    pass\n")
    for name in ("tool", "user"):
        done = run(f"{tmp_path / name}.py:f", "--profile", profile)
        assert done.exit_code == 5
        *before, last = done.stderr.splitlines()
        assert "(tool.py" in before[-1]
        assert last == RULES["PSB003"].hint
        files = re.findall('File "(.*?)"', done.stderr)
        assert [file for file in files if not file.startswith(str(tmp_path))] == []
        assert name == "tool" or files[0].endswith("user.py")


def test_a_decoding_error_of_a_modules_own_is_told_as_it_is(tmp_path):
    (tmp_path / "tool.py").write_text("HEAD = b'\\xff'.decode()\n\ndef f():\n    pass\n")
    done = run(f"{tmp_path / 'tool.py'}:f")
    assert "line 1, in <module>" in done.stderr
    assert "PEP 263" not in done.stderr


def test_a_working_folder_that_was_removed_matters_to_relative_paths_only(tmp_path, monkeypatch):
    file = tmp_path / "tool.py"
    file.write_text("def f():\n    return 1\n")
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert run(f"{file}:f").stdout == "1\n"
    done = run("tool.py:f")
    assert (done.exit_code, done.stderr) == (2, "error: the working folder was removed; go to another one\n")


@pytest.mark.parametrize("profile", ["restricted", "native"])
def test_an_argument_that_was_taken_for_json_is_told_how_to_be_text(tmp_path, profile):
    file = tmp_path / "tool.py"
    file.write_text("def greet(name: str, times: int = 1) -> str:\n    return name * times\n")
    done = run(f"{file}:greet", "--arg", "name=123", "--profile", profile)
    assert done.exit_code == 4
    assert done.stderr.splitlines()[1:] == ["""123 is JSON; as text it is --arg name='"123"'"""]
    assert run(f"{file}:greet", "--arg", 'name="123"', "--profile", profile).stdout == "123\n"
    done = run(f"{file}:greet", "--arg", "name=bob", "--arg", "times=x", "--profile", profile)
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("profile", ["restricted", "native"])
def test_an_argument_that_no_value_would_make_fit_gets_no_advice_on_its_value(tmp_path, profile):
    file = tmp_path / "tool.py"
    file.write_text("def greet(name: str) -> str:\n    return name\n")
    words = (f"{file}:greet", "--profile", profile, "--arg")
    absent = run(*words, "name=bob", "--arg", "nam=1")
    twice = run(*words, "name=5", "--args", '["bob"]')
    both = run(*words, "name=5", "--arg", "nam=1")
    assert [done.exit_code for done in (absent, twice, both)] == [4, 4, 4]
    assert "is JSON" not in absent.stderr + twice.stderr
    assert both.stderr.splitlines()[1:] == ["""5 is JSON; as text it is --arg name='"5"'"""]


def test_a_value_stands_on_a_line_of_its_own(tmp_path):
    file = tmp_path / "tool.py"
    file.write_text(
        "def whole(end):\n    print('said', end=end)\n    return 5\n\n"
        "def items():\n    print('a', end='')\n    yield 1\n    yield 2\n"
    )
    for end in ("", "\n"):
        assert run(f"{file}:whole", "--arg", f"end={end}").stdout == "said\n5\n"
    assert run(f"{file}:items").stdout == "a\n1\n2\n"


def test_a_method_named_on_its_class_is_told_to_be_named_on_an_object(tmp_path):
    file = tmp_path / "shop.py"
    file.write_text(
        "class Cart:\n    def plain(self, x): return x\n    def typed(self, x: int): return x\n\ncart = Cart()\n"
    )
    for name in ("plain", "typed"):
        done = run(f"{file}:Cart.{name}", "--args", "[4]")
        assert done.exit_code == 4
        assert "it is a method: name it on an object that the module makes, not on its class" in done.stderr
        assert run(f"{file}:cart.{name}", "--args", "[4]").stdout == "4\n"


def test_a_time_that_no_clock_counts_to_is_as_good_as_any(tmp_path):
    """A wait of epoll_wait(2) is at most 2**31 milliseconds."""
    (tmp_path / "tool.py").write_text("def run(): return 1")
    code = "import sys; from elf_pysandbox._cli import main; main(sys.argv[1:])"
    words = ("run", f"{tmp_path / 'tool.py'}:run", "--timeout", "1e9")
    ended = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False, timeout=60
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "1\n", "")


@pytest.mark.parametrize(("levels", "code"), [(98, 0), (99, 4)])
def test_an_argument_nested_a_level_too_deep_does_not_fit_and_is_no_error_of_the_tool(tmp_path, levels, code):
    (tmp_path / "tool.py").write_text("def f(x):\n    return None\n")
    done = run(f"{tmp_path / 'tool.py'}:f", "--args", f"[{'[' * levels}{']' * levels}]")
    assert done.exit_code == code
    assert code == 0 or done.stderr.startswith("invalid_arguments: the arguments cannot be sent: args[0][0]")


@pytest.mark.parametrize("parameters", ["a, /, **kw", "a: int, /, **kw", "a, /", "a=1, /"])
def test_a_positional_only_parameter_by_name_does_not_fit_and_the_way_to_pass_it_is_told(
    tmp_path, parameters
):
    (tmp_path / "tool.py").write_text(f"def f({parameters}):\n    return a\n")
    done = run(f"{tmp_path / 'tool.py'}:f", "--arg", "a=1")
    assert done.exit_code == 4
    first, *more = done.stderr.splitlines()
    assert first.startswith("invalid_arguments: a: is positional-only: pass it by position, not by name")
    assert more == ["arguments by position are a JSON array: --args '[...]'"]
    assert run(f"{tmp_path / 'tool.py'}:f", "--args", "[1]").stdout == "1\n"
