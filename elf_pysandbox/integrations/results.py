"""What an outcome does to the state: the output mapping, the structured error, the rule for errors.

Decided here and nowhere else: the fields of the error in the state, and the reserved keys.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from elf_pysandbox._errors import BadResultError, CallError, ConfigurationError, SandboxError
from elf_pysandbox._outcome import Outcome
from elf_pysandbox.config.spelling import in_yaml
from elf_pysandbox.config.template import Expression, compile_expression

if TYPE_CHECKING:
    from elf_pysandbox.config.models import PythonNodeConfig

ERRORS = "errors"
"""The state key of structured errors: node id -> error."""

PRIVATE = "_workflow"
"""The state key of the runner's own notes; no template sees it."""

MERGE = "*"


class WorkflowError(SandboxError):
    """A workflow that could not go on: two nodes set one key, or a node ran too often."""


@dataclass(frozen=True, slots=True)
class NodeError:
    """How a node failed, as it stands in the state under ``errors.<node id>``.

    Attributes
    ----------
    node : str
    status : str
        One of `elf_pysandbox._outcome.STATUSES`.
    type, message, traceback : str
        Of the tool's exception where it raised, else of the error that stands for the status.
    attempts : int
        Calls that were made; 0 when the parameters could not be bound.
    """

    node: str
    status: str
    type: str
    message: str
    traceback: str
    attempts: int

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as a dict."""
        return asdict(self)


def error_of(node: str, outcome: Outcome, attempts: int) -> NodeError:
    """Describe a failed outcome."""
    error = outcome.error
    info = error.info if isinstance(error, CallError) else None
    if info is not None and outcome.status == "raised":
        return NodeError(node, outcome.status, info.type, info.message, info.format(in_yaml), attempts)
    text = info.format(in_yaml) if info is not None else ""
    message = error.text(in_yaml) if isinstance(error, SandboxError) else str(error)
    return NodeError(node, outcome.status, type(error).__name__, message, text, attempts)


class OutputRule:
    """Where a node's result goes: a key, ``*`` for a dict's own keys, or expressions over the result."""

    def __init__(self, rule: str | Mapping[str, str] | None, key: str) -> None:
        self.key = key if rule is None else rule if isinstance(rule, str) else None
        self._expressions: dict[str, Expression] = (
            {name: compile_expression(text, roots=()) for name, text in rule.items()}
            if isinstance(rule, Mapping)
            else {}
        )

    def changes(self, value: Any) -> dict[str, Any]:
        """Return the state keys a result sets.

        Raises
        ------
        BadResultError
            The result has no such path, or is no dict that could be merged.
        """
        if self.key == MERGE:
            return _mergeable(value)
        if self.key is not None:
            return {self.key: value}
        try:
            return {
                name: value if expression.text == "@" else expression.evaluate(value)
                for name, expression in self._expressions.items()
            }
        except ConfigurationError as error:
            raise BadResultError(f"output: {error} in the result") from None

    def default(self, value: Any) -> dict[str, Any]:
        """Return the state keys that ``on_error: default VALUE`` sets: each expression's key takes it whole."""
        if self.key == MERGE:
            return dict(value) if isinstance(value, Mapping) else {}
        if self.key is not None:
            return {self.key: value}
        if isinstance(value, Mapping) and set(value) == set(self._expressions):
            return dict(value)
        return dict.fromkeys(self._expressions, value)


def _mergeable(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise BadResultError(f"output '*' merges a dict, and the result is {type(value).__name__}")
    for key in value:
        if not isinstance(key, str) or key.startswith("_") or key == ERRORS:
            raise BadResultError(f"output '*': the key {key!r} is reserved or no text; it cannot be set")
    return dict(value)


def type_check(config: PythonNodeConfig) -> Callable[[Any], Any] | None:
    """Return the check of `return_type`, None without one."""
    if config.return_type is None:
        return None
    from pydantic import ValidationError

    from elf_pysandbox.config.types import checker_of

    check, text = checker_of(config.return_type), config.return_type

    def checked(value: Any) -> Any:
        try:
            return check(value)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            path = "".join(f"[{step!r}]" for step in first["loc"] if not _is_branch(step))
            raise BadResultError(f"the result is no {text}: result{path}: {first['msg']}") from None

    return checked


def _is_branch(step: Any) -> bool:
    """Whether a step of pydantic's path names a branch of a union, not a key of the value."""
    return isinstance(step, str) and any(mark in step for mark in "[]-")
