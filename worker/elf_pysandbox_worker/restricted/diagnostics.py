"""What the policy says when it refuses: rules, diagnostics, and the exceptions that carry them.

Decided here and nowhere else: the identity of each rule. `docs/rules.md` has a section for each one; a test
holds the two together. A diagnostic of severity "error" keeps a module from loading; a "warning" loads, and
is refused when the code reaches it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

Severity = Literal["error", "warning"]


class Rule(NamedTuple):
    """One rule: its id, a name of a few words, and the way out where the place has none of its own."""

    id: str
    title: str
    hint: str = ""


_RULES = (
    Rule("PSB001", "syntax error", "Correct the syntax; the interpreter's own message says where."),
    Rule("PSB002", "too deeply nested", "Split the expression or the nested blocks into named parts."),
    Rule("PSB003", "undecodable source", "Save the file as UTF-8, or correct its coding cookie (PEP 263)."),
    Rule("PSB004", "more findings", "Correct those above first, then check again."),
    Rule("PSB101", "refused builtin"),
    Rule("PSB102", "reserved name", "Choose another name; the interpreter itself reads this one."),
    Rule("PSB103", "open without a file grant", "Grant the file or folder."),
    Rule("PSB104", "eval of text", "Use ast.literal_eval for data, or a dict of functions to choose one."),
    Rule("PSB201", "interpreter internals"),
    Rule("PSB202", "protected attribute write"),
    Rule("PSB203", "guarded attribute in place"),
    Rule("PSB204", "internals in a format string", "Pass the value itself: '{}'.format(value.name)."),
    Rule("PSB205", "internal object", "Import the module itself, under the policy's allowlist."),
    Rule("PSB301", "forbidden module"),
    Rule("PSB302", "module not allowed"),
    Rule("PSB303", "name not published", "Use the published names of the module."),
    Rule(
        "PSB401", "except* on this interpreter", "Catch ExceptionGroup with `except` and use its `subgroup`."
    ),
    Rule(
        "PSB403", "internals in a match pattern", "Match the class alone and test the attribute in an `if`."
    ),
    Rule(
        "PSB404", "internals in generated code", "Use plain identifiers for fields and plain types for hints."
    ),
)

RULES: dict[str, Rule] = {rule.id: rule for rule in _RULES}
"""Every rule by id. A number that was given up (PSB402, whose syntax no interpreter had) is not given again."""


MOST_FINDINGS = 500
"""How many findings of one file are listed; nobody reads more, and each takes its time."""

_SETTINGS = {"PSB103": ("read", ""), "PSB302": ("allowed_imports", "")}


class Diagnostic(NamedTuple):
    """One finding, at a place.

    Attributes
    ----------
    rule : str
        Id of the rule, a key of `RULES`.
    severity : {"error", "warning"}
    line, column, end_line, end_column : int
        Place in the source: lines and columns count from 1, columns in characters, the end is exclusive.
        0 where there is no place (a refusal while the code runs).
    message : str
        What was found and why it is refused.
    hint : str
        The way out.
    path : str
        The file, "" where unknown.
    """

    rule: str
    severity: Severity
    line: int
    column: int
    end_line: int
    end_column: int
    message: str
    hint: str
    path: str = ""

    def format(self) -> str:
        """Render as linters do: ``path:line:column: ID message hint``."""
        return f"{self.path}:{self.line}:{self.column}: {self.rule} {self.message} {self.hint}"


class PolicyDenied(Exception):  # noqa: N818 - it names an event
    """The language policy refused something.

    Parameters
    ----------
    diagnostics : sequence of Diagnostic
        All that was found, in source order; one for a refusal while the code runs.
    """

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        self.diagnostics = tuple(diagnostics)
        super().__init__(_summary(self.diagnostics))

    @property
    def hints(self) -> list[tuple[str, str]]:
        """The settings that would allow what was found."""
        each = [_setting(d) for d in self.diagnostics if d.rule != "PSB004"]  # which says nothing of its own
        found = [setting for setting in each if setting]
        return list(dict.fromkeys(found)) if len(found) == len(each) else []

    @property
    def problems(self) -> list[tuple[str, str]]:
        """The findings as pairs of place and text."""
        return [
            (f"{d.path}:{d.line}:{d.column}" if d.line else d.path, f"{d.rule} {d.message} {d.hint}")
            for d in self.diagnostics
        ]


class DeniedAttribute(PolicyDenied, AttributeError):  # noqa: N818
    """An attribute that the policy refuses; `except AttributeError` and `hasattr` see it as absent."""


class DeniedImport(PolicyDenied, ImportError):  # noqa: N818
    """An import that the policy refuses; `except ImportError` sees the module as absent."""


class DeniedModule(DeniedImport, ModuleNotFoundError):  # noqa: N818
    """A module that the policy refuses; `except ModuleNotFoundError` sees it as not installed."""

    def __init__(self, diagnostics: Sequence[Diagnostic], name: str = "") -> None:
        super().__init__(diagnostics)
        self.name = name


class DeniedName(PolicyDenied, NameError):  # noqa: N818
    """A builtin that the policy refuses; `except NameError` sees it as absent.

    Parameters
    ----------
    diagnostics : sequence of Diagnostic
    settings : sequence of (str, str)
        What would allow this very use, where it is known better than from its rule.
    """

    def __init__(self, diagnostics: Sequence[Diagnostic], settings: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(diagnostics)
        self._settings = list(settings)

    @property
    def hints(self) -> list[tuple[str, str]]:
        """The settings that would allow what was found."""
        return self._settings or super().hints


def finding(rule: str, message: str, hint: str = "") -> Diagnostic:
    """Return a diagnostic without a place, for a refusal while the code runs."""
    return Diagnostic(rule, "error", 0, 0, 0, 0, message, hint or RULES[rule].hint)


def _setting(found: Diagnostic) -> tuple[str, str] | None:
    """Return the setting that takes a finding away; none where a module would be there and do nothing."""
    setting = _SETTINGS.get(found.rule)
    return None if found.rule == "PSB302" and "allowed_imports" not in found.hint else setting


def listed(findings: list[Diagnostic]) -> list[Diagnostic]:
    """Return findings in source order: the first `MOST_FINDINGS`, and a note of how many more there are.

    The first of each rule and severity is always among them, so that what is concluded from which rules there are (an
    exit code, whether a module loads) does not depend on the length of the list.
    """
    ordered = sorted(findings, key=lambda found: (found.line, found.column, found.rule))
    if len(ordered) <= MOST_FINDINGS:
        return ordered
    first: dict[tuple[str, str], Diagnostic] = {}
    for found in ordered:
        first.setdefault((found.rule, found.severity), found)
    kept = ordered[:MOST_FINDINGS]
    shown = {id(found) for found in kept}
    kept += [found for found in first.values() if id(found) not in shown]
    shown |= {id(found) for found in kept}
    left = [found for found in ordered if id(found) not in shown]
    if left:
        worst: Severity = "error" if any(found.severity == "error" for found in left) else "warning"
        message = f"The list ends here, with {len(left)} of {len(ordered)} findings left out."
        kept.append(
            left[-1]._replace(rule="PSB004", severity=worst, message=message, hint=RULES["PSB004"].hint)
        )
    return kept


def _summary(diagnostics: tuple[Diagnostic, ...]) -> str:
    if len(diagnostics) == 1 and not diagnostics[0].line:
        only = diagnostics[0]
        return f"{only.message} {only.hint} [{only.rule}]"
    return "\n".join(d.format() for d in diagnostics)
