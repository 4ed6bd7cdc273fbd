"""`${…}` takes values out of the state, keeps their type, and says what is missing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elf_pysandbox import ConfigurationError
from elf_pysandbox.config.template import MissingPathError, Template, TemplateError, compile_expression

STATE = {
    "a": {"b": [1, 2]},
    "name": "Ann",
    "rows": [{"n": 1, "k": "x"}, {"n": 5, "k": "y"}],
    "none": None,
    "t": (7, 8),
}


def render(value: Any) -> Any:
    return Template(value).render({"state": STATE})


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("${state.a.b[0]}", 1),
        ("${state.a.b[-1]}", 2),
        ("${ state.a.b }", [1, 2]),
        ("${state}", STATE),
        ("${state.t[1]}", 8),
        ("${state.none}", None),
        ("${state.rows[?n > `2`].k | [0]}", "y"),
        ("${length(state.rows)}", 2),
        ("${sum(state.rows[*].n)}", 6),
        ('${ {n: state.name, m: `{"}": 1}`} }', {"n": "Ann", "m": {"}": 1}}),
        ("Hi ${state.name}!", "Hi Ann!"),
        ("${state.name}${state.name}", "AnnAnn"),
        ("n=${state.a.b} ${state.none}", "n=[1, 2] null"),
        ("$${state.name}", "${state.name}"),
        ("$${${state.name}}", "${Ann}"),
        ("costs $5 {x}", "costs $5 {x}"),
        ("${state.zz ?? 10}", 10),
        ("${state.none ?? [1]}", [1]),
        ("${state.zz.y[0] ?? 'a ?? b'}", "a ?? b"),
        ('${state.zz ?? {"a": {}}}', {"a": {}}),
        ("${length(state.zz) ?? 0}", 0),
        ("${state.zz || state.name}", "Ann"),
        ("${not_null(state.zz, `3`)}", 3),
        ("x${state.zz ?? ''}y", "xy"),
    ],
)
def test_a_template_gives_the_value_with_its_type(template: str, value: object) -> None:
    assert render(template) == value


def test_templates_nest_in_mappings_and_lists_and_everything_else_stays() -> None:
    assert render({"k": ["${state.a.b[1]}", "plain", {"x": "${state.name}"}], "n": 3, "t": True}) == {
        "k": [2, "plain", {"x": "Ann"}],
        "n": 3,
        "t": True,
    }


def test_values_taken_from_the_state_are_never_expanded_again() -> None:
    assert Template("${state.x} ${state.x}").render({"state": {"x": "${state.y}"}}) == "${state.y} ${state.y}"
    assert Template("${state.x}").render({"state": {"x": "${state.y}"}}) == "${state.y}"


@pytest.mark.parametrize(
    ("template", "path", "says"),
    [
        ("${state.nme}", "state.nme", r"there is no state\.nme .*Did you mean 'name'\?"),
        ("${state.a.c.d}", "state.a.c", r"there is no state\.a\.c \(there is b\)"),
        ("${state.a.b[7]}", "state.a.b[7]", r"the list has 2 items"),
        ("${state.name.first}", "state.name.first", r"that is a str"),
        ("${length(state.zz)}", "state.zz", r"there is no state\.zz"),
        ("${state.zz[*].k}", "state.zz", r"there is no state\.zz"),
    ],
)
def test_a_missing_path_is_an_error_that_names_the_missing_step(template: str, path: str, says: str) -> None:
    with pytest.raises(MissingPathError, match=says) as caught:
        render(template)
    assert caught.value.path == path


@pytest.mark.parametrize(
    "attempt", ["${state.__class__}", "${state.name.__len__}", "${state.a.b.__init__.__globals__}"]
)
def test_attributes_of_python_objects_cannot_be_reached(attempt: str) -> None:
    with pytest.raises((MissingPathError, TemplateError)):
        render(attempt)


def test_a_condition_takes_null_for_what_is_missing() -> None:
    assert compile_expression("state.zz > `3`", lenient=True).evaluate({"state": STATE}) is None
    assert compile_expression("state.zz", lenient=True).evaluate({"state": STATE}) is None
    assert compile_expression("state.rows[0].n == `1`", lenient=True).evaluate({"state": STATE}) is True


@pytest.mark.parametrize("text", ["!state.done", "state.n == `0` && !state.rows[0]", "state.rows[?!a.b]"])
def test_a_negation_that_jmespath_would_read_otherwise_is_refused(text: str) -> None:
    """It takes ``!a.b`` for ``(!a).b``: null, whatever the state holds."""
    with pytest.raises(TemplateError, match=r"in parentheses: !\(state\.done\)"):
        compile_expression(text, lenient=True)


def test_a_negation_in_parentheses_says_what_it_means() -> None:
    for text in ("!(state.zz)", "!(state.a.zz) && !contains(state.name, 'z')", "state.rows[?!zz]"):
        assert compile_expression(text, lenient=True).evaluate({"state": STATE})


def test_null_without_back_quotes_is_refused_with_how_to_write_it() -> None:
    with pytest.raises(TemplateError, match="JMESPath writes null in back quotes: `null`"):
        compile_expression("state.name == null", lenient=True)


def test_an_expression_of_absurd_length_or_depth_is_refused() -> None:
    with pytest.raises(TemplateError, match="more than 2000 characters"):
        Template("${state" + ".a" * 2000 + "}")
    with pytest.raises(TemplateError):
        Template("${" + "[" * 1500 + "}")


@given(st.text())
def test_text_without_an_opening_brace_is_itself(text: str) -> None:
    if "${" not in text:
        assert Template(text).render({"state": {}}) == text


@given(st.text())
def test_any_text_compiles_or_is_a_template_error(text: str) -> None:
    try:
        Template("${" + text)
    except TemplateError:
        pass


@pytest.mark.parametrize("text", ["to_string(a)", "length(a)", "sort(a)", "to_string(@)"])
def test_an_int_without_a_decimal_form_is_an_error_of_the_expression(text: str) -> None:
    with pytest.raises(ConfigurationError, match="digits"):
        compile_expression(text, roots=()).evaluate({"a": 10**6000})
