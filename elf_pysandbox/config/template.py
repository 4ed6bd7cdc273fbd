"""`${…}` in parameters: JMESPath over the workflow's state, never Python.

Decided here and nowhere else: the grammar of templates, and what a missing path means.

- ``"${state.rows[0].name}"``, the whole text: the value itself, whatever its type.
- ``"Dear ${state.name}, you owe ${state.sum}"``: text; other values are written as JSON.
- ``"${state.limit ?? 10}"``: the part after ``??`` is JSON and is taken when the path is missing or null.
- ``"$${not a template}"``: the text ``${not a template}``.
- Any JMESPath (https://jmespath.org) is an expression; ``state`` is the one name in it. A path that is
  missing is an error that says which step is. It may be missing where the expression asks about that: beside
  ``||``, ``&&``, ``!`` or a comparison, in ``not_null(…)``, and everywhere in the condition of an edge.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions

from elf_pysandbox._errors import ConfigurationError
from elf_pysandbox.config.problems import listed, nearest

MAX_EXPRESSION = 2000
"""Characters of one expression; the parser is recursive, and nobody reads longer ones."""

_MISSING = object()
_OPEN = re.compile(r"\$\$\{|\$\{")
_ENCLOSED = re.compile(r"'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`|\"(?:[^\"\\]|\\.)*\"")


class TemplateError(ConfigurationError):
    """A template that is none; the message says what to write."""


class MissingPathError(ConfigurationError):
    """A template's path is not in the state.

    Attributes
    ----------
    path : str
        The path as far as it was followed, with the step that is missing.
    """

    def __init__(self, message: str, path: str) -> None:
        super().__init__(message)
        self.path = path


@dataclass(frozen=True, slots=True)
class Expression:
    """One JMESPath expression, compiled, with its default.

    Attributes
    ----------
    text : str
    steps : tuple of str or int, optional
        The path when the expression is a plain one (``state.rows[0]``), else None.
    required : tuple of paths
        The paths that a larger expression needs.
    default : Any
        What is taken instead of a missing value, when `has_default`.
    """

    text: str
    steps: tuple[str | int, ...] | None
    parsed: Any
    default: Any = None
    has_default: bool = False
    required: tuple[tuple[str | int, ...], ...] = ()

    def evaluate(self, scope: Mapping[str, Any]) -> Any:
        """Return the expression's value in `scope`.

        Raises
        ------
        MissingPathError
            A path is missing and there is no default.
        ConfigurationError
            The expression does not fit the values (JMESPath's own type errors).
        """
        if self.steps is not None:
            value = self._follow(scope, self.steps)
            return self.default if value is _MISSING or (value is None and self.has_default) else value
        for path in self.required:
            if self._follow(scope, path) is _MISSING:
                return self.default
        try:
            value = self.parsed.search(scope)
        except (JMESPathError, ValueError) as error:
            raise ConfigurationError(f"${{{self.text}}}: {_said(error)}") from None
        if value is None and self.has_default:
            return self.default
        return value

    def _follow(self, scope: Any, steps: tuple[str | int, ...]) -> Any:
        value, done = scope, ""
        for step in steps:
            found = _step(value, step)
            if found is _MISSING:
                if self.has_default:
                    return _MISSING
                path = _path(done, step)
                raise MissingPathError(f"${{{self.text}}}: there is no {path}{_instead(value, step)}", path)
            value, done = found, _path(done, step)
        return value


def _path(done: str, step: str | int) -> str:
    if isinstance(step, int):
        return f"{done}[{step}]"
    return f"{done}.{step}" if done else step


def _step(value: Any, step: str | int) -> Any:
    if isinstance(step, int):
        inside = isinstance(value, (list, tuple)) and -len(value) <= step < len(value)
        return value[step] if inside else _MISSING
    if isinstance(value, Mapping):
        return value.get(step, _MISSING)
    return _MISSING


def _instead(value: Any, step: str | int) -> str:
    if isinstance(step, str) and isinstance(value, Mapping):
        names = [str(name) for name in value if not str(name).startswith("_")]
        return f" (there is {listed(names)})." + nearest(step, names) if names else " (it is empty)"
    if isinstance(step, int) and isinstance(value, (list, tuple)):
        return f" (the list has {len(value)} items)"
    return f" (that is a {type(value).__name__})"


def compile_expression(
    text: str, *, roots: tuple[str, ...] = ("state",), lenient: bool = False
) -> Expression:
    """Compile ``expression`` or ``expression ?? default``.

    Parameters
    ----------
    text : str
    roots : tuple of str
        The names an expression may begin with; empty for any.
    lenient : bool
        Take null for whatever is missing, as JMESPath does.

    Raises
    ------
    TemplateError
        It is no JMESPath, begins with another name, or its default is no JSON.
    """
    if len(text) > MAX_EXPRESSION:
        raise TemplateError(f"the expression has more than {MAX_EXPRESSION} characters")
    body, default, has_default = _split_default(text)
    if not body:
        raise TemplateError("the expression is empty; write ${state.name}")
    try:
        parsed = jmespath.compile(body)
    except (JMESPathError, ValueError, RecursionError) as error:
        raise TemplateError(_why(body, error)) from None
    tree: Any = parsed.parsed
    _check_functions(tree, body)
    _check_negations(tree, body)
    steps, plain = _leading(tree)
    required = () if lenient else tuple(_required(tree))
    for root in _outer_fields(tree) if roots else ():
        if root not in roots:
            if root in ("null", "true", "false"):
                raise TemplateError(f"${{{body}}}: JMESPath writes {root} in back quotes: `{root}`")
            known = " or ".join(roots)
            raise TemplateError(f"${{{body}}} begins with {root!r}; expressions begin with {known}: "
                                f"${{{roots[0]}.{body}}}")  # fmt: skip
    return Expression(body, steps if plain and not lenient else None, parsed, default, has_default, required)


def _why(body: str, error: Exception) -> str:
    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    hint = ""
    if re.search(r"[<>=!]=?\s*-?[0-9.]+", body):
        hint = ". JMESPath writes numbers in back quotes: state.score > `3`"
    return f"${{{body}}} is no JMESPath expression: {first}{hint}"


def _split_default(text: str) -> tuple[str, Any, bool]:
    masked = _ENCLOSED.sub(lambda match: "x" * len(match[0]), text)
    at = masked.find("??")
    if at < 0:
        return text.strip(), None, False
    body, written = text[:at].strip(), text[at + 2 :].strip()
    if len(written) > 1 and written[0] == written[-1] == "'":
        return body, written[1:-1], True
    try:
        return body, json.loads(written), True
    except (ValueError, RecursionError):
        message = f"the default {written!r} after '??' is no JSON; write text in quotes: ?? 'text'"
        raise TemplateError(message) from None


def _leading(tree: dict[str, Any]) -> tuple[tuple[str | int, ...], bool]:
    """Return the plain path an expression begins with, and whether that is all of it."""
    kind = tree["type"]
    if kind in ("field", "index"):
        return (tree["value"],), True
    if kind not in _FROM_LEFT:
        return (), False
    if kind not in ("subexpression", "index_expression"):
        return _leading(tree["children"][0])[0], False
    steps: tuple[str | int, ...] = ()
    for child in tree["children"]:
        part, whole = _leading(child)
        steps += part
        if not whole:
            return steps, False
    return steps, True


_ASKING = {"or_expression", "and_expression", "not_expression", "comparator"}


def _required(tree: dict[str, Any]) -> Iterator[tuple[str | int, ...]]:
    """Yield the plain paths into the scope that an expression cannot do without."""
    kind, children = tree["type"], tree.get("children", [])
    steps, _ = _leading(tree)
    if steps:
        if isinstance(steps[0], str):
            yield steps
    elif kind in _ASKING or (kind == "function_expression" and tree["value"] == "not_null"):
        return
    elif kind in _FROM_LEFT:
        yield from _required(children[0])
    elif kind not in _LEAVES:
        for child in children:
            yield from _required(child)


def _check_functions(tree: Any, body: str) -> None:
    if not isinstance(tree, dict):
        return
    if tree["type"] == "function_expression" and tree["value"] not in Functions.FUNCTION_TABLE:
        name = tree["value"]
        raise TemplateError(
            f"${{{body}}}: JMESPath has no function {name!r}." + nearest(name, Functions.FUNCTION_TABLE)
        )
    for child in tree.get("children", []):
        _check_functions(child, body)


def _check_negations(tree: Any, body: str) -> None:
    """Refuse ``!a.b``: jmespath reads it as ``(!a).b``, which is null whatever the state holds."""
    if not isinstance(tree, dict):
        return
    children = tree.get("children", [])
    looks_into = tree["type"] in _FROM_LEFT and tree["type"] != "pipe"
    if looks_into and children[0].get("type") == "not_expression":
        raise TemplateError(
            f"${{{body}}}: JMESPath's '!' takes the one name after it; put what it denies in parentheses: "
            "!(state.done)"
        )
    for child in children:
        _check_negations(child, body)


_FROM_LEFT = {"subexpression", "index_expression", "projection", "value_projection", "pipe", "flatten",
              "filter_projection"}  # fmt: skip
"""Kinds whose right side is looked up in the value of the left."""

_LEAVES = {"literal", "expref", "slice", "index", "identity", "current"}


def _outer_fields(tree: dict[str, Any]) -> Iterator[str]:
    """Yield the names an expression looks up in its scope itself, not in something found there."""
    kind, children = tree["type"], tree.get("children", [])
    if kind == "field":
        yield tree["value"]
    elif kind in _FROM_LEFT:
        yield from _outer_fields(children[0])
    elif kind not in _LEAVES:
        for child in children:
            yield from _outer_fields(child)


class Template:
    """A value with templates in it: text, or dicts and lists with text anywhere inside.

    Parameters
    ----------
    value : Any
        As the document has it.
    roots : tuple of str
        The names its expressions may begin with.

    Raises
    ------
    TemplateError
        A template that does not compile; `TemplateProblem.path` says where in the value.
    """

    __slots__ = ("_build", "expressions")

    def __init__(self, value: Any, *, roots: tuple[str, ...] = ("state",)) -> None:
        self.expressions: list[Expression] = []
        self._build = _compile(value, roots, self.expressions, ())

    def render(self, scope: Mapping[str, Any]) -> Any:
        """Return the value with every template replaced.

        Raises
        ------
        MissingPathError
            As `Expression.evaluate`; its note names the place in the value.
        """
        return _render(self._build, scope, ())


def _compile(value: Any, roots: tuple[str, ...], found: list[Expression], path: tuple[Any, ...]) -> Any:
    if isinstance(value, str) and "${" in value:
        try:
            pieces = list(_pieces(value, roots))
        except TemplateError as error:
            error.path = path  # type: ignore[attr-defined]
            raise
        found += [piece for piece in pieces if isinstance(piece, Expression)]
        if len(pieces) == 1:
            return pieces[0]
        return tuple(pieces)
    if isinstance(value, dict):
        return {key: _compile(item, roots, found, (*path, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [_compile(item, roots, found, (*path, index)) for index, item in enumerate(value)]
    return value


def _pieces(text: str, roots: tuple[str, ...]) -> Iterator[str | Expression]:
    literal, position = "", 0
    while match := _OPEN.search(text, position):
        literal += text[position : match.start()]
        if match[0] == "$${":
            literal, position = literal + "${", match.end()
            continue
        end = _closing(text, match.end())
        if literal:
            yield literal
        yield compile_expression(text[match.end() : end], roots=roots)
        literal, position = "", end + 1
    if literal or position < len(text):
        yield literal + text[position:]


def _closing(text: str, start: int) -> int:
    """Return where the brace that opened before `start` is closed: braces nest, quoted ones do not count."""
    depth, position = 0, start
    while position < len(text):
        quoted = _ENCLOSED.match(text, position)
        if quoted:
            position = quoted.end()
            continue
        if text[position] == "{":
            depth += 1
        elif text[position] == "}":
            if not depth:
                return position
            depth -= 1
        position += 1
    raise TemplateError(
        f"'${{' is never closed in {text[:60]!r}; write '}}' after it, or '$${{' for the text itself"
    )


def _render(build: Any, scope: Mapping[str, Any], path: tuple[Any, ...]) -> Any:
    if isinstance(build, Expression):
        try:
            return build.evaluate(scope)
        except ConfigurationError as error:
            error.place = path  # type: ignore[attr-defined]
            raise
    if isinstance(build, tuple):
        parts = [_as_text(_render(piece, scope, path)) for piece in build]
        return "".join(parts)
    if isinstance(build, dict):
        return {key: _render(item, scope, (*path, key)) for key, item in build.items()}
    if isinstance(build, list):
        return [_render(item, scope, (*path, index)) for index, item in enumerate(build)]
    return build


def _said(error: Exception) -> str:
    """Return what an error says; JMESPath's quote the value, which may be an int that has no decimal form."""
    try:
        return str(error)
    except ValueError as unwritten:
        return str(unwritten)


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, (bool, int, float, list, dict)):
        try:
            return json.dumps(value, ensure_ascii=False)
        except (TypeError, ValueError):
            pass
    try:
        return str(value)
    except ValueError as error:  # of an int that Python does not write in decimal
        raise ConfigurationError(f"a number is too long to stand in a text: {error}") from None
