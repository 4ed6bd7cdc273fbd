"""The pool that tests see: a `SandboxPool` that finds tools beside the test and remembers how calls ended."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from elf_pysandbox import Event, Limits, Outcome, Policy, SandboxError, SandboxPool


class SandboxView(SandboxPool):
    """A pool, or a view on one, for one test.

    Attributes
    ----------
    folders : tuple of Path
        Where the file of a relative target is looked for, after the working directory.
    outcomes : list of (str, Outcome)
        Target and end of each call made with `call`, `outcome`, `stream` and their asynchronous twins.
    """

    folders: tuple[Path, ...] = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.outcomes: list[tuple[str, Outcome]] = []

    def with_options(
        self, *, limits: Limits | None = None, policy: Policy | None = None, python: str | None = None
    ) -> SandboxView:
        """As `SandboxPool.with_options`; calls of the view are remembered in the same list."""
        view = super().with_options(limits=limits, policy=policy, python=python)
        assert isinstance(view, SandboxView)
        view.folders, view.outcomes = self.folders, self.outcomes
        return view

    def for_test(self, limits: Limits, policy: Policy, folders: tuple[Path, ...]) -> SandboxView:
        """Return a view with options and a list of outcomes of its own."""
        view = self.with_options(limits=limits, policy=policy)
        view.folders, view.outcomes = folders, []
        return view

    def load(self, target: Any, **options: Any) -> Any:
        """As `SandboxPool.load`; a relative file is also looked for beside the test."""
        __tracebackhide__ = True
        try:
            return super().load(self._found(target), **options)
        except SandboxError as error:
            # What led there inside the sandbox is not what a test's author has to read.
            raise error.with_traceback(None)  # noqa: B904 - it is the same error

    def call(self, tool: Any, /, *args: Any, **kwargs: Any) -> Any:
        """As `SandboxPool.call`."""
        __tracebackhide__ = True
        outcome = self.outcome(tool, *args, **kwargs)
        if outcome.error is not None:
            raise outcome.error
        return outcome.value

    def outcome(self, tool: Any, /, *args: Any, **kwargs: Any) -> Outcome:
        """As `SandboxPool.outcome`."""
        __tracebackhide__ = True
        try:
            return self._kept(tool, super().outcome(self._found(tool), *args, **kwargs))
        except SandboxError as error:
            raise error.with_traceback(None)  # noqa: B904 - it is the same error

    async def aoutcome(self, tool: Any, /, *args: Any, **kwargs: Any) -> Outcome:
        """As `SandboxPool.aoutcome`."""
        return self._kept(tool, await super().aoutcome(self._found(tool), *args, **kwargs))

    def stream(self, tool: Any, /, *args: Any, **kwargs: Any) -> Iterator[Event]:
        """As `SandboxPool.stream`."""
        for event in super().stream(self._found(tool), *args, **kwargs):
            yield self._kept(tool, event) if isinstance(event, Outcome) else event

    async def astream(self, tool: Any, /, *args: Any, **kwargs: Any) -> AsyncIterator[Event]:
        """As `SandboxPool.astream`."""
        async for event in super().astream(self._found(tool), *args, **kwargs):
            yield self._kept(tool, event) if isinstance(event, Outcome) else event

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """As `SandboxPool.submit`."""
        return super().submit(self._found(fn), *args, **kwargs)

    def submit_outcome(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Outcome]:
        """As `SandboxPool.submit_outcome`."""
        return super().submit_outcome(self._found(fn), *args, **kwargs)

    def _kept(self, tool: Any, outcome: Outcome) -> Outcome:
        self.outcomes.append((_name_of(tool), outcome))
        return outcome

    def _found(self, target: Any) -> Any:
        """Make the file of a relative target absolute: targets are remembered by their text, for all tests."""
        if not isinstance(target, str):
            return target
        place, colon, path = target.rpartition(":")
        if not colon or not (place.endswith(".py") or "/" in place) or Path(place).is_absolute():
            return target
        for folder in (Path.cwd(), *self.folders):
            if (folder / place).exists():
                return f"{folder / place}:{path}"
        return target


def _name_of(tool: Any) -> str:
    if isinstance(tool, str):
        return tool
    context = getattr(tool, "context", None)
    if context is not None:
        return f"{context.name}:{tool.path}"
    return getattr(tool, "__qualname__", repr(tool))
