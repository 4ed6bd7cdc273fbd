"""What is listed of many findings, and what may be concluded from the list."""

from __future__ import annotations

import pytest

from elf_pysandbox import PythonSecurityValidator
from elf_pysandbox_worker.restricted import PolicyDenied, published
from elf_pysandbox_worker.restricted.checking import check
from elf_pysandbox_worker.restricted.diagnostics import MOST_FINDINGS, Diagnostic, listed

TRY = "try:\n    import os\nexcept ImportError:\n    pass\n"


def found(rule: str, line: int, severity: str = "error") -> Diagnostic:
    return Diagnostic(rule, severity, line, 1, line, 2, "", "")  # type: ignore[arg-type]


def test_findings_come_in_source_order_and_as_many_as_are_listed_come_whole():
    many = [found("PSB201", line) for line in range(MOST_FINDINGS, 0, -1)]
    assert listed(many) == many[::-1]


def test_of_more_the_first_are_listed_and_a_note_closes_the_list():
    *kept, note = listed([found("PSB201", line) for line in range(1, 1001)])
    assert [one.line for one in kept] == list(range(1, MOST_FINDINGS + 1))
    assert (note.rule, note.severity, note.line) == ("PSB004", "error", 1000)
    assert note.message == "The list ends here, with 500 of 1000 findings left out."


def test_the_first_of_each_rule_and_severity_is_listed_wherever_it_stands():
    source = TRY * 600 + "import os\nx.__code__\ny.__code__\n"
    rules = [(one.rule, one.severity) for one in check(source.encode())]
    assert rules[:500] == [("PSB301", "warning")] * 500
    assert rules[500:] == [("PSB301", "error"), ("PSB201", "error"), ("PSB004", "error")]


def test_what_an_import_verdict_says_does_not_depend_on_the_length_of_the_list():
    validator = PythonSecurityValidator()
    assert validator.validate_imports([], "x.__code__\n" * 600)
    assert not validator.validate_imports([], "x.__code__\n" * 600 + "import sqlite3\n")


def test_the_setting_that_allows_all_of_many_imports_is_told_all_the_same():
    many = check(b"import sqlite3\n" * 600)
    assert [one.rule for one in many[-2:]] == ["PSB302", "PSB004"]
    assert PolicyDenied(many).hints == [("allowed_imports", "")]
    assert PolicyDenied([*many, found("PSB201", 1)]).hints == []


def test_two_hundred_thousand_findings_on_one_line_are_checked_and_placed():
    source = "a = ['é', " + "x.__globals__, " * 200_000 + "]\n"
    many = PythonSecurityValidator().check(source)
    assert len(many) == MOST_FINDINGS + 1
    assert {(one.column, one.end_column) for one in many[:2]} == {(11, 24), (26, 39)}
    assert (many[-1].rule, many[-1].column) == ("PSB004", 11 + 199_999 * 15)


@pytest.mark.parametrize("name", ["socket", "urllib.request", "requests.adapters", "getpass", "curses.ascii"])
def test_a_module_that_could_do_nothing_is_not_offered_as_a_setting(name):
    (one,) = check(f"import {name}\n".encode())
    assert (one.rule, one.hint) == ("PSB302", published.useless_hint(name))
    assert PolicyDenied([one]).hints == []
    assert check(f"import {name}\n".encode(), allowed_imports=[name.partition(".")[0]]) == []
