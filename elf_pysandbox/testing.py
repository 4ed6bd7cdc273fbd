"""Assertions about calls in a sandbox, for the tests of tools.

Each makes one call and fails, with how the call really ended, unless it ended as said. `sandbox` is the
fixture of the pytest plugin, or any `SandboxPool`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from elf_pysandbox import Outcome, SandboxPool

__all__ = ["assert_denied", "assert_memory_limited", "assert_same_as_plain", "assert_times_out"]


def assert_denied(
    sandbox: SandboxPool, target: Any, /, *args: Any, match: str | None = None, **kwargs: Any
) -> Outcome:
    """Assert that the policy or a confinement layer refuses what the tool does.

    Parameters
    ----------
    sandbox : SandboxPool
    target : str, callable or Tool
    match : str, optional
        Regular expression to be found in the message.

    Returns
    -------
    Outcome
        For further looks at the call.
    """
    __tracebackhide__ = True
    return _ends(sandbox, target, args, kwargs, ("denied",), "to be denied", match)


def assert_times_out(sandbox: SandboxPool, target: Any, /, *args: Any, **kwargs: Any) -> Outcome:
    """Assert that a time limit (wall clock or CPU) ends the call."""
    __tracebackhide__ = True
    return _ends(sandbox, target, args, kwargs, ("timeout", "cpu_limit"), "to run into a time limit")


def assert_memory_limited(sandbox: SandboxPool, target: Any, /, *args: Any, **kwargs: Any) -> Outcome:
    """Assert that the memory limit ends the call."""
    __tracebackhide__ = True
    return _ends(sandbox, target, args, kwargs, ("memory_limit",), "to run into the memory limit")


def assert_same_as_plain(sandbox: SandboxPool, target: Any, /, *args: Any, **kwargs: Any) -> Outcome:
    """Assert that the tool does the same in the sandbox as without it.

    The tool runs twice: in the sandbox, and **unconfined in this process**. The same means an equal value of
    the same type, all the way down, or an exception of the same class with the same message.
    """
    from elf_pysandbox._pytest.plain import run_plain, same

    __tracebackhide__ = True
    outcome = sandbox.outcome(target, *args, **kwargs)
    value, error = run_plain(_located(sandbox, target), args, kwargs)
    if error is None:
        if not outcome.ok or not same(outcome.value, value):
            raise AssertionError(f"plain Python returns {value!r}, but in the sandbox {_told(outcome)}")
    else:
        info = getattr(outcome.error, "info", None)
        plain = (type(error).__name__, str(error))
        if info is None or (info.type, info.message) != plain:
            raise AssertionError(f"plain Python raises {error!r}, but in the sandbox {_told(outcome)}")
    return outcome


def _located(sandbox: SandboxPool, target: Any) -> Any:
    """Return a target whose file is found from here too."""
    return sandbox.load(target) if isinstance(target, str) and ".py:" in target else target


def _ends(
    sandbox: SandboxPool,
    target: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    statuses: tuple[str, ...],
    expected: str,
    match: str | None = None,
) -> Outcome:
    __tracebackhide__ = True
    outcome = sandbox.outcome(target, *args, **kwargs)
    if outcome.status not in statuses:
        raise AssertionError(f"expected the call {expected}, but {_told(outcome)}")
    if match is not None and not re.search(match, str(outcome.error)):
        raise AssertionError(f"{match!r} is not found in the message: {outcome.error}")
    return outcome


def _told(outcome: Outcome) -> str:
    if outcome.ok:
        return f"it returned {outcome.value!r}"
    return f"it ended {outcome.status!r}: {outcome.error}"
