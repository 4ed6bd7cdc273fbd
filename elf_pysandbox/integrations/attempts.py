"""Calls of a node that may be made again: a document's rule as a `Retry`, for both doors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from elf_pysandbox._outcome import RETRYABLE, Outcome
from elf_pysandbox._tools.retry import Notice, Retry

if TYPE_CHECKING:
    from elf_pysandbox.config.models import RetryConfig

Report = Callable[[int, Outcome], None]
"""Told of each attempt that will be followed by another: its number and outcome."""

_ON_ANY_FAILURE = ("raised", *sorted(RETRYABLE))
"""A document that asks for attempts and does not say after what means whatever may end otherwise next time."""


def _retry_of(config: RetryConfig) -> Retry:
    on = config.on or _ON_ANY_FAILURE
    return Retry(config.attempts, config.backoff, config.max_backoff, config.jitter, on)


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
