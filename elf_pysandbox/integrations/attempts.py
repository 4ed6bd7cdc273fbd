"""Calls of a node that may be made again: a document's rule as a `Retry`, for both doors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from elf_pysandbox._outcome import RETRYABLE, STATUSES, Outcome
from elf_pysandbox._tools.retry import Notice, Retry

if TYPE_CHECKING:
    from elf_pysandbox.config.models import RetryConfig

Report = Callable[[int, Outcome], None]
"""Told of each attempt that will be followed by another: its number and outcome."""


def wants_retry(outcome: Outcome, on: tuple[str, ...]) -> bool:
    """Whether an outcome is one to try again after.

    Parameters
    ----------
    outcome : Outcome
    on : tuple of str
        Statuses and names of exception types, with or without their module; empty for whatever the tool
        raised, and the ends that say of themselves that a retry makes sense.
    """
    if outcome.ok:
        return False
    if not on:
        return outcome.status == "raised" or outcome.status in RETRYABLE
    return outcome.status in on or not names_of(outcome).isdisjoint(on)


def names_of(outcome: Outcome) -> set[str]:
    """Return the names of an outcome's exception: its type with and without module, and its builtin bases."""
    info = getattr(outcome.error, "info", None)
    if info is None:
        return set()
    names = {info.type, f"{info.module}.{info.type}"}
    if outcome.status == "raised":
        # The error raised here is also an instance of the builtin class the tool raised.
        names.update(cls.__name__ for cls in type(outcome.error).__mro__ if cls.__module__ == "builtins")
    return names - {"object", "BaseException"}


def unknown_names(on: tuple[str, ...]) -> list[str]:
    """Return the entries of `on` that are neither a status nor look like the name of a class."""
    return [name for name in on if name not in STATUSES and not name.rpartition(".")[2][:1].isupper()]


class NodeRetry(Retry):
    """A node's `Retry`: it also knows the builtin bases of what the tool raised, as ``except`` does."""

    def wants(self, outcome: Outcome) -> bool:
        """Whether a call that ended so is worth another attempt."""
        return wants_retry(outcome, self.on)


def _retry_of(config: RetryConfig) -> NodeRetry:
    return NodeRetry(config.attempts, config.backoff, config.max_backoff, config.jitter, config.on)


def _notice_of(report: Report | None) -> Notice | None:
    return None if report is None else lambda number, outcome, _: report(number, outcome)


def attempt(
    call: Callable[[], Outcome], retry: RetryConfig | None, report: Report | None
) -> tuple[Outcome, int]:
    """Call until it ended well or the attempts are used; return the last outcome and the number of calls."""
    if retry is None or retry.attempts == 1:
        return call(), 1
    outcome = _retry_of(retry).run(lambda _: call(), _notice_of(report))
    return outcome, len(outcome.attempts) + 1


async def aattempt(
    call: Callable[[], Awaitable[Outcome]], retry: RetryConfig | None, report: Report | None
) -> tuple[Outcome, int]:
    """`attempt` for a running event loop."""
    if retry is None or retry.attempts == 1:
        return await call(), 1
    outcome = await _retry_of(retry).arun(lambda _: call(), _notice_of(report))
    return outcome, len(outcome.attempts) + 1
