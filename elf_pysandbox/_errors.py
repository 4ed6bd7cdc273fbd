"""The one error tree.

Decided here and nowhere else: which exception class stands for which status. Every exception of
this package derives from `SandboxError`; the ones that end a call derive from `CallError` and carry
the whole `outcome`.
"""

from __future__ import annotations

import itertools

from elf_pysandbox._hints import Hint, advice, in_python
from elf_pysandbox._records import record

TYPE_CHECKING = False  # see `_records`
if TYPE_CHECKING:
    from typing import Any, Self

    from elf_pysandbox._hints import Spelling
    from elf_pysandbox._outcome import Outcome, Status

_OF_OS_ERRORS = ("errno", "strerror", "filename", "filename2")
_SHOWN_ALIKE = 3  # frames of a recursion shown before they are counted, as the traceback module has it


class SandboxError(Exception):
    """Base of everything this package raises on purpose.

    Attributes
    ----------
    hints : tuple of Hint
        What would have ended otherwise; `str` of the error has them in Python's spelling.
    """

    hints: tuple[Hint, ...] = ()

    def with_hints(self, *hints: Hint) -> Self:
        """Set the hints; returns the error itself."""
        self.hints = hints
        return self

    def text(self, spelling: Spelling | None = in_python) -> str:
        """Return the message with its hints in the words of a front, or without them."""
        message = self._told()
        told = advice(self.hints, spelling) if spelling else ""
        return f"{message}\n{told}" if told else message

    def __str__(self) -> str:
        return self.text()

    def _told(self) -> str:
        return super().__str__()

    def __reduce__(self) -> tuple[Any, ...]:
        # Without a constructor: those here make a message of what they are given, those of builtins read it their way.
        state = dict(self.__dict__)
        if isinstance(self, OSError):
            held = {name: getattr(self, name) for name in _OF_OS_ERRORS}
            state |= {name: value for name, value in held.items() if value is not None}
        return _bare, (type(self), self.args), state


def _bare(kind: type[SandboxError], args: tuple[Any, ...]) -> SandboxError:
    """Return an error as it is before its attributes are set; how pickle and copy make one."""
    # As the layouts of the builtins ask.
    new = OSError.__new__ if issubclass(kind, OSError) else BaseException.__new__
    error: SandboxError = new(kind)
    error.args = args
    return error


class ConfigurationError(SandboxError, ValueError):
    """A limit, policy, option or document that cannot be used; the message says what to write.

    Attributes
    ----------
    setting, problem, origin : str
        Which setting, what is wrong with it, and where it was written (see `Setting.origin`); "" where the error is
        about something else.
    """

    setting = problem = origin = ""

    @classmethod
    def about(cls, owner: str, setting: str, problem: str) -> Self:
        """Make the error about one attribute of `owner`."""
        error = cls(f"{owner}.{setting} {problem}")
        error.setting, error.problem = setting, problem
        return error


class PoolClosedError(SandboxError, RuntimeError):
    """The pool was shut down; make a new one."""


class LayerUnavailableError(SandboxError):
    """A required confinement layer cannot be had on this host, so nothing was run.

    Attributes
    ----------
    layer, reason, remedy : str
        Which layer, why it is missing, and what to do about it.
    """

    def __init__(self, layer: str, reason: str, remedy: str) -> None:
        super().__init__(f"layer {layer!r} is required but not available: {reason}. {remedy}")
        self.layer, self.reason, self.remedy = layer, reason, remedy


class ToolHandlerError(SandboxError):
    """Base of the errors about tools: registering, finding, loading and saving them."""


@record(frozen=True, slots=True)
class TracebackFrame:
    """One frame of the tool's own traceback, as text.

    Where a module does not compile, the last frame is the place in it: `function` is "", and below the source line
    stand carets.
    """

    file: str
    line: int
    function: str
    source: str = ""

    def lines(self) -> list[str]:
        """Render as in a traceback."""
        function = f", in {self.function}" if self.function else ""
        return [f'  File "{self.file}", line {self.line}{function}'] + [
            f"    {line}" for line in self.source.splitlines()
        ]


@record(frozen=True, slots=True)
class ErrorInfo:
    """An exception of the confined side, as data: nothing in it is live.

    Attributes
    ----------
    type, module : str
        The class name and the module that defines it.
    message : str
    notes : tuple of str
        `__notes__` (PEP 678).
    traceback : tuple of TracebackFrame
        Outermost call first, the sandbox's own frames left out.
    cause : ErrorInfo or None
        `__cause__`, or `__context__` unless suppressed.
    hints : tuple of Hint
        Where the sandbox refused something: what would let it through.
    """

    type: str
    module: str
    message: str
    notes: tuple[str, ...] = ()
    traceback: tuple[TracebackFrame, ...] = ()
    cause: ErrorInfo | None = None
    hints: tuple[Hint, ...] = ()

    def format(self, spelling: Spelling | None = in_python) -> str:
        """Render as Python prints an uncaught exception; hints in the words of a front, or without them.

        Of an exception of the sandbox's own (a refused name, arguments that do not fit) only the message is told: its
        class is of no use to anybody.
        """
        lines: list[str] = []
        if self.cause is not None:
            lines += [self.cause.format(spelling), "", "The above exception led to this one:", ""]
        if self.traceback:
            lines.append("Traceback (most recent call last):")
        for frame, alike in itertools.groupby(self.traceback):
            count = len(list(alike))
            lines += frame.lines() * min(count, _SHOWN_ALIKE)
            if (more := count - _SHOWN_ALIKE) > 0:
                lines.append(f"  [Previous line repeated {more} more time{'s' * (more > 1)}]")
        name = self.type if self.module in ("builtins", "") else f"{self.module}.{self.type}"
        if self.message and self.module.startswith("elf_pysandbox_worker."):
            lines.append(self.message)
        else:
            lines.append(f"{name}: {self.message}" if self.message else name)
        lines += self.notes
        if self.hints and spelling:
            lines.append(advice(self.hints, spelling))
        return "\n".join(lines)


class CallError(SandboxError):
    """A call that did not return a value.

    Attributes
    ----------
    status : Status
    info : ErrorInfo or None
        The tool's own exception, where there was one.
    outcome : Outcome or None
        The whole outcome; None only while it is being built.
    """

    status: Status = "fault"

    def __init__(self, message: str, info: ErrorInfo | None = None) -> None:
        super().__init__(message)
        self.info = info
        self.outcome: Outcome | None = None


class ToolRaised(CallError):  # noqa: N818 - it names an event, as concurrent.futures.BrokenExecutor does
    """The tool raised an exception.

    When the tool's exception is a builtin one, the error raised at the host is also an instance of that
    builtin class, so ``except ZeroDivisionError`` works as if the tool had run here (of `UnicodeError` where it is one
    of the three below that, of `Exception` alone where it is an exception group or ends an iteration). Its text is the
    tool's own; what the sandbox has to say beside it (see `hints`) stands in its notes.
    """

    status = "raised"

    def __str__(self) -> str:
        return self.text(None)


class CallDeniedError(CallError, PermissionError):
    """The policy or a confinement layer refused something the tool tried."""

    status = "denied"


class InvalidArgumentsError(CallError, TypeError):
    """The arguments do not fit the tool's signature or types; lists every bad one.

    Attributes
    ----------
    problems : tuple of (path, message)
    """

    status = "invalid_arguments"
    problems: tuple[tuple[str, str], ...] = ()


class ToolNotFoundError(CallError, ToolHandlerError):
    """There is no such tool: the name is not registered or not in the module."""

    status = "not_found"


class ModuleLoadError(CallError, ToolHandlerError):
    """The tool's module could not be decoded, compiled or imported."""

    status = "load_failed"


class BadResultError(CallError):
    """The tool returned something that cannot cross, names the path to it."""

    status = "bad_result"


class CallTimeoutError(CallError, TimeoutError):
    """A time limit passed; the worker was killed."""

    status = "timeout"


class CpuLimitError(CallError):
    """The call used more CPU time than `Limits.cpu_s`."""

    status = "cpu_limit"


class MemoryLimitError(CallError, MemoryError):
    """The call needed more memory than `Limits.memory_mb`."""

    status = "memory_limit"


class OutputLimitError(CallError):
    """The call wrote more than `Limits.output_bytes`."""

    status = "output_limit"


class WorkerCrashedError(CallError):
    """The worker process died on its own: a signal, `os._exit`, a broken protocol."""

    status = "crashed"


class WorkerKilledError(CallError):
    """The worker process was killed from outside."""

    status = "killed"


class CallCancelledError(CallError):
    """The call was cancelled; its worker was killed."""

    status = "cancelled"


class CallRejectedError(CallError):
    """The call was not admitted: the queue is full or the pool is closing."""

    status = "rejected"


class SandboxFaultError(CallError):
    """The sandbox itself failed. Never the tool's doing; please report it."""

    status = "fault"


ERROR_OF_STATUS: dict[str, type[CallError]] = {
    cls.status: cls
    for cls in (
        ToolRaised,
        CallDeniedError,
        InvalidArgumentsError,
        ToolNotFoundError,
        ModuleLoadError,
        BadResultError,
        CallTimeoutError,
        CpuLimitError,
        MemoryLimitError,
        OutputLimitError,
        WorkerCrashedError,
        WorkerKilledError,
        CallCancelledError,
        CallRejectedError,
        SandboxFaultError,
    )
}
