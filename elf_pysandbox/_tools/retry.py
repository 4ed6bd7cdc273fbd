"""Making a call again: how often, when, and for which ends. The waiting is tenacity's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from elf_pysandbox._errors import CallError, ConfigurationError
from elf_pysandbox._outcome import RETRYABLE, STATUSES, Outcome

if TYPE_CHECKING:
    from tenacity import RetryCallState

Notice = Callable[[int, Outcome, float], None]
"""Told before each wait: attempts made, how the last one ended, seconds to wait."""


@dataclass(frozen=True)
class Retry:
    """When a call is made again.

    Attributes
    ----------
    attempts : int
        Calls in all, the first one included.
    backoff : float
        Seconds before the second attempt; doubled for each further one.
    max_backoff : float
        The longest wait, in seconds.
    jitter : float
        Up to so many seconds are added to each wait, at random, so that many callers do not come back at once.
    on : tuple of str
        Statuses ("timeout"), and types of exceptions, as ``except`` takes them: "ConnectionError" stands also for its
        builtin subclasses; a tool's own are named as "Busy" or "mymodule.Busy".
        `RETRYABLE` by default: what the load or an accident decided.
    deadline_s : float or None
        Seconds for all attempts and waits together.
    """

    attempts: int = 3
    backoff: float = 0.1
    max_backoff: float = 5.0
    jitter: float = 0.1
    on: tuple[str, ...] = tuple(sorted(RETRYABLE))
    deadline_s: float | None = None

    def __post_init__(self) -> None:
        if isinstance(self.attempts, bool) or not isinstance(self.attempts, int) or self.attempts < 1:
            raise ConfigurationError(f"Retry.attempts must be 1 or more, not {self.attempts!r}")
        for name in ("backoff", "max_backoff", "jitter"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1 << 31:
                raise ConfigurationError(f"Retry.{name} must be 0 or more seconds, not {value!r}")
        deadline = self.deadline_s
        if deadline is not None and (not isinstance(deadline, (int, float)) or not 0 < deadline < 1 << 31):
            raise ConfigurationError(
                f"Retry.deadline_s must be more than 0 seconds or None, not {deadline!r}"
            )
        on: Any = self.on
        if isinstance(on, str) or not all(isinstance(item, str) and item for item in on):
            raise ConfigurationError(
                f"Retry.on must be a tuple of statuses and exception types, not {self.on!r}"
            )
        object.__setattr__(self, "on", tuple(self.on))
        for item in self.on:
            if not is_ending(item):
                raise ConfigurationError(f"Retry.on: {item!r} is neither a status nor an exception type")

    def wants(self, outcome: Outcome) -> bool:
        """Whether a call that ended so is worth another attempt."""
        return not outcome.ok and (outcome.status in self.on or not _names_of(outcome).isdisjoint(self.on))

    def run(self, call: Callable[[float | None], Outcome], notice: Notice | None = None) -> Outcome:
        """Make a call until it ends well, or no attempt or time is left.

        Parameters
        ----------
        call : callable
            Makes one attempt; gets the seconds left of the deadline, None without one.
        notice : callable, optional
        """
        import tenacity

        earlier: list[Outcome] = []
        retrying = tenacity.Retrying(**self._options(earlier, notice))
        started = _clock()
        outcome: Outcome = retrying(lambda: call(self._left(started)))
        return replace(outcome, attempts=tuple(earlier)) if earlier else outcome

    async def arun(
        self, call: Callable[[float | None], Awaitable[Outcome]], notice: Notice | None = None
    ) -> Outcome:
        """`run` for an event loop."""
        import tenacity

        earlier: list[Outcome] = []
        started = _clock()

        async def attempt() -> Outcome:
            return await call(self._left(started))

        outcome: Outcome = await tenacity.AsyncRetrying(**self._options(earlier, notice))(attempt)
        return replace(outcome, attempts=tuple(earlier)) if earlier else outcome

    def _left(self, started: float) -> float | None:
        return None if self.deadline_s is None else max(self.deadline_s - (_clock() - started), 0.001)

    def _options(self, earlier: list[Outcome], notice: Notice | None) -> dict[str, Any]:
        import tenacity

        def out_of_time(state: RetryCallState) -> bool:
            spent = (state.seconds_since_start or 0.0) + state.upcoming_sleep
            return self.deadline_s is not None and spent >= self.deadline_s

        def before_sleep(state: RetryCallState) -> None:
            assert state.outcome is not None
            last: Outcome = state.outcome.result()
            earlier.append(last)
            if notice is not None:
                notice(state.attempt_number, last, state.upcoming_sleep)

        wait = tenacity.wait_exponential(multiplier=self.backoff, max=self.max_backoff)
        return {
            "stop": lambda state: state.attempt_number >= self.attempts or out_of_time(state),
            "wait": wait + tenacity.wait_random(0, self.jitter) if self.jitter else wait,
            "retry": tenacity.retry_if_result(self.wants),
            "before_sleep": before_sleep,
            "retry_error_callback": lambda state: state.outcome.result(),
        }


def is_ending(name: str) -> bool:
    """Whether a name is a status, or looks like an exception type: in capitals, or with its module."""
    return name in STATUSES or "." in name or not name.islower()


def _names_of(outcome: Outcome) -> set[str]:
    """Return the names of an outcome's exception: its type with and without module, and its builtin bases."""
    info = outcome.error.info if isinstance(outcome.error, CallError) else None
    if info is None:
        return set()
    names = {info.type, f"{info.module}.{info.type}"}
    if outcome.status == "raised":
        # The error raised here is also an instance of the builtin class the tool raised.
        names.update(cls.__name__ for cls in type(outcome.error).__mro__ if cls.__module__ == "builtins")
    return names - {"object", "BaseException"}


def _clock() -> float:
    import time

    return time.monotonic()
