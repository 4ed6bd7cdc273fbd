"""Calls that may be made again, through tenacity: one rule for the blocking and the asynchronous door."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from elf_pysandbox._outcome import RETRYABLE, STATUSES, Outcome

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


def attempt(
    call: Callable[[], Outcome], retry: RetryConfig | None, report: Report | None
) -> tuple[Outcome, int]:
    """Call until it ended well or the attempts are used; return the last outcome and the number of calls."""
    if retry is None or retry.attempts == 1:
        return call(), 1
    from tenacity import Retrying

    runner = Retrying(**_options(retry, report))
    outcome: Outcome = runner(call)
    return outcome, runner.statistics["attempt_number"]


async def aattempt(
    call: Callable[[], Awaitable[Outcome]], retry: RetryConfig | None, report: Report | None
) -> tuple[Outcome, int]:
    """`attempt` for a running event loop."""
    if retry is None or retry.attempts == 1:
        return await call(), 1
    from tenacity import AsyncRetrying

    async def once() -> Outcome:  # tenacity awaits only what it can see is asynchronous
        return await call()

    runner = AsyncRetrying(**_options(retry, report))
    outcome: Outcome = await runner(once)
    return outcome, runner.statistics["attempt_number"]


def _options(retry: RetryConfig, report: Report | None) -> dict[str, Any]:
    from tenacity import RetryCallState, retry_if_result, stop_after_attempt, wait_exponential, wait_random

    def last(state: RetryCallState) -> Any:
        return state.outcome.result() if state.outcome is not None else None

    def tell(state: RetryCallState) -> None:
        if report is not None:
            report(state.attempt_number, last(state))

    wait = wait_exponential(multiplier=retry.backoff, max=retry.max_backoff) + wait_random(0, retry.jitter)
    return {
        "stop": stop_after_attempt(retry.attempts),
        "wait": wait,
        "retry": retry_if_result(lambda outcome: wants_retry(outcome, retry.on)),
        "retry_error_callback": last,
        "before_sleep": tell,
    }
