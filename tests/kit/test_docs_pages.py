"""`pysandbox docs`: a page for each tool, from its source, with its examples run."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from elf_pysandbox._cli import main
from elf_pysandbox._docs import page
from elf_pysandbox._docs.extract import extract
from tests.kit.browser import needs_chromium, open_page
from tests.kit.processes import workers_of

FILE = "fixtures/kit/documented.py"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    ended = CliRunner().invoke(main, ["docs", FILE, "-o", str(folder)])
    assert ended.exit_code == 0, ended.output
    return folder


def test_every_public_function_has_a_page_in_both_forms(written):
    names = {"index", "documented.slug", "documented.mean", "documented.pages"}
    assert {file.name for file in written.iterdir()} == {f"{n}{e}" for n in names for e in (".md", ".html")}


def test_a_page_has_signature_parameters_limits_and_the_examples_as_they_ended(written):
    text = (written / "documented.slug.md").read_text()
    assert "slug(text: str, separator: str='-') -> str" in text
    assert "| `text` | `str` | *required* | Any title; may be long. |" in text
    assert "| `separator` | `str` | `'-'` | What joins the words. |" in text
    assert ">>> slug(\"Hello World\")\n'hello-world'\n```\n\nRun in the sandbox: ok" in text
    assert "Not run: only calls with literal arguments are." in text
    assert "| `memory_mb` | 512 |" in text
    assert '"$schema"' in text


def test_numpy_sections_and_generators_are_read(written):
    assert (
        "| `values` | `list[float]` | *required* | The numbers. |"
        in (written / "documented.mean.md").read_text()
    )
    assert "A async generator" in (written / "documented.pages.md").read_text()
    assert "[0, 1]" in (written / "documented.pages.md").read_text()


def test_markup_in_a_docstring_is_text_on_the_page(written):
    assert "<b>" not in (written / "documented.slug.html").read_text()
    assert "&lt;b&gt;No markup" in (written / "documented.slug.html").read_text()


@needs_chromium
def test_a_page_opens_in_a_browser(written, tmp_path):
    document = open_page(written / "documented.slug.html", tmp_path, screenshot="tool-page.png")
    assert "<h1>slug</h1>" in document


def test_an_example_that_ends_otherwise_is_told(tmp_path):
    (tmp_path / "wrong.py").write_text(
        'def f(n):\n    """Divide.\n\n    >>> f(1)\n    2\n    >>> f(0)\n    1\n    """\n    return 1 / n\n'
    )
    ended = CliRunner().invoke(main, ["docs", str(tmp_path), "-o", str(tmp_path / "out")])
    assert ended.exit_code == 1
    assert "example 'f(0)' ended raised" in ended.output
    text = (tmp_path / "out" / "wrong.f.md").read_text()
    assert "The source promises something else" in text
    assert "raised: division by zero" in text


def test_a_module_that_does_not_parse_is_named_and_the_others_are_written(tmp_path):
    (tmp_path / "broken.py").write_text("def f(:\n")
    (tmp_path / "good.py").write_text("def g():\n    pass\n")
    ended = CliRunner().invoke(main, ["docs", str(tmp_path), "-o", str(tmp_path / "out")])
    assert ended.exit_code == 1
    assert "broken.py: invalid syntax (broken.py, line 1)" in ended.output
    assert (tmp_path / "out" / "good.g.md").exists()


def test_nothing_of_a_source_runs_here_while_it_is_described(tmp_path):
    marker = tmp_path / "ran"
    (tmp_path / "loud.py").write_text(f"open({str(marker)!r}, 'w').close()\ndef f():\n    pass\n")
    CliRunner().invoke(main, ["docs", str(tmp_path / "loud.py"), "-o", str(tmp_path / "out"), "--no-run"])
    assert (tmp_path / "out" / "loud.f.md").exists()
    assert not marker.exists()


def test_the_extractor_honours_all_and_reads_every_kind_of_parameter():
    facts = extract("__all__ = ['_f']\ndef _f(a, /, b=1, *c, d, e=2, **g): pass\ndef h(): pass\n")
    (function,) = facts["functions"]
    assert [p["name"] for p in function["parameters"]] == ["a", "b", "d", "e", "*c", "**g"]
    assert [p["required"] for p in function["parameters"]] == [True, False, True, False, False, False]


def test_the_html_of_a_page_has_no_script_and_escapes_everything():
    shown = page.render(
        "<x>", "# a <script>\n\n`<b>` **bold** [evil](javascript:1.html)\n\n| a |\n|---|\n| <i> |\n"
    )
    assert "<script" not in shown
    assert "href" not in shown
    assert "<code>&lt;b&gt;</code> <strong>bold</strong>" in shown


def docs_of(tmp_path, examples, body="return 1 / n"):
    lines = "\n".join(f"    {line}" for line in examples)
    (tmp_path / "one.py").write_text(f'def f(n):\n    """Divide.\n\n{lines}\n    """\n    {body}\n')
    return CliRunner().invoke(main, ["docs", str(tmp_path / "one.py"), "-o", str(tmp_path / "out")])


def test_an_example_whose_result_is_another_than_the_docstring_says_fails_the_command(tmp_path):
    ended = docs_of(tmp_path, [">>> f(1)", "2"])
    assert ended.exit_code == 1
    assert "one.py:1: example 'f(1)' gave '1.0', not '2'" in ended.output


def test_an_example_that_does_not_raise_what_it_promises_fails_the_command(tmp_path):
    promise = ["Traceback (most recent call last):", "    ...", "ZeroDivisionError: division by zero"]
    assert docs_of(tmp_path, [">>> f(0)", *promise]).exit_code == 0
    ended = docs_of(tmp_path, [">>> f(1)", *promise])
    assert ended.exit_code == 1
    assert "returned, not 'ZeroDivisionError: division by zero'" in ended.output
    assert docs_of(tmp_path, [">>> f(0)", *promise[:2], "KeyError: 'n'"]).exit_code == 1


@pytest.mark.parametrize(
    "examples",
    [[">>> f(3)", "0.33..."], [">>> f(1)"], [">>> f(0)  # doctest: +SKIP", "7"], [">>> f(2)", "  0.5  "]],
    ids=["ellipsis", "no result", "skipped", "blanks"],
)
def test_an_example_keeps_its_promise_by_the_rules_of_doctest(tmp_path, examples):
    ended = docs_of(tmp_path, examples)
    assert ended.exit_code == 0, ended.output


def test_ctrl_c_while_examples_run_ends_with_130(tmp_path):
    body = "print('in', flush=True); import time; time.sleep(60)"
    (tmp_path / "slow.py").write_text(f'def f():\n    """Wait.\n\n    >>> f()\n    """\n    {body}\n')
    command = [sys.executable, "-m", "elf_pysandbox", "docs", "slow.py", "-o", "out"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while not workers_of([process.pid]):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
