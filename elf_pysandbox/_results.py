"""From a sealed ending to an outcome: decoding the value, choosing the exception."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from elf_pysandbox._errors import (
    ERROR_OF_STATUS,
    CallError,
    ErrorInfo,
    InvalidArgumentsError,
    LayerUnavailableError,
    SandboxFaultError,
    TracebackFrame,
)
from elf_pysandbox._hints import Hint, advice
from elf_pysandbox._outcome import RETRYABLE, LayerState, Outcome, Usage
from elf_pysandbox_worker.wire.errors import WireError, WireTooLarge
from elf_pysandbox_worker.wire.values import unpack

if TYPE_CHECKING:
    from elf_pysandbox._host.endings import Ending, Packed
    from elf_pysandbox_worker.wire.messages import ErrorData

_MOST = 1e12  # CPU seconds, MiB
_HINTS = 10  # as many as an honest worker tells

_layer_states: dict[int, tuple[Any, tuple[LayerState, ...]]] = {}


def outcome_of(ending: Ending, call_id: int) -> Outcome:
    """Return the outcome of an ended flight; a value that does not decode makes it `crashed`."""
    status, value = ending.status, None
    error: Exception | None = None
    if status == "ok":
        try:
            value = _value_of(ending)
        except WireTooLarge as large:
            status = "bad_result"
            error = ERROR_OF_STATUS["bad_result"](f"the result is too large: {large}")
        except WireError as broken:
            status = "crashed"
            error = ERROR_OF_STATUS["crashed"](f"the worker's result does not decode: {broken}")
    if status != "ok" and error is None:
        error = error_of(ending)
    outcome = Outcome(
        status=status,  # type: ignore[arg-type]
        value=value,
        error=error,
        stdout="".join(ending.output.get(1, ())) if ending.output else "",
        stderr="".join(ending.output.get(2, ())) if ending.output else "",
        usage=Usage(
            ending.wall_s,
            _figure(ending.usage.cpu_s),
            _figure(ending.usage.peak_memory_mb),
            ending.queue_s,
            ending.load_s,
        ),
        layers=_layers_of(ending.layers),
        retryable=status in RETRYABLE and ending.refused is None,
        call_id=str(call_id),
    )
    if isinstance(error, CallError):
        error.outcome = outcome
    return outcome


def _figure(told: float) -> float:
    """Return a figure of the worker's own, 0.0 for one that no process can have: NaN is no JSON."""
    return told if 0.0 <= told < _MOST else 0.0


def unpack_item(packed: Packed) -> Any:
    """Decode one item of a generator."""
    return unpack(packed[0], packed[1])


def _value_of(ending: Ending) -> Any:
    assert ending.value is not None
    data, buffers = ending.value
    value = unpack(data, buffers)
    if ending.generator:
        return [unpack(*item) for item in ending.items]
    return value


def _layers_of(reports: Any) -> tuple[LayerState, ...]:
    # The reports of one template are one object: translated once, not per call.
    found = _layer_states.get(id(reports))
    if found is None or found[0] is not reports:
        if len(_layer_states) > 256:
            _layer_states.clear()
        states = tuple(LayerState(report.name, report.held, report.detail) for report in reports)
        found = _layer_states[id(reports)] = (reports, states)
    return found[1]


def error_of(ending: Ending) -> Exception:
    """Return the exception that stands for an ending other than `ok`."""
    if ending.refused is not None:
        refused = ending.refused
        return LayerUnavailableError(refused.layer, refused.reason, refused.remedy)
    info = _info_of(ending.error) if ending.error is not None else None
    hints = _hints_of(ending, info)
    if info is None:
        return ERROR_OF_STATUS.get(ending.status, SandboxFaultError)(ending.message).with_hints(*hints)
    if ending.status == "raised":
        from elf_pysandbox._mirrors import raised as raised_here

        raised = raised_here(info).with_hints(*info.hints)
        for note in (*info.notes, advice(info.hints)):
            if note:
                raised.add_note(note)
        return raised
    own = info.module.startswith("elf_pysandbox_worker")  # its type is ours: the message alone tells the user
    text = (
        ending.message
        or _message_of(ending.status, info)
        or (info.message if own else f"{info.type}: {info.message}")
    )
    if info.notes:
        text = "\n".join((text, *info.notes))
    error = ERROR_OF_STATUS[ending.status](text, info).with_hints(*hints)
    if isinstance(error, InvalidArgumentsError) and ending.error is not None:
        error.problems = tuple((path, message) for path, message in ending.error.problems)
    return error


def _hints_of(ending: Ending, info: ErrorInfo | None) -> tuple[Hint, ...]:
    if ending.settings:
        return tuple(map(Hint, ending.settings))
    if info is not None and (info.hints or info.type == "ValueTooLarge"):
        return info.hints or (Hint("result_bytes"),)
    return _HINTS_OF_STATUS.get(ending.status, ())


def _message_of(status: str, info: ErrorInfo) -> str:
    """Return what CPython leaves out: its own `MemoryError` says nothing."""
    if status == "memory_limit" and not info.message:
        return "the call needed more memory than memory_mb allows"
    return ""


_HINTS_OF_STATUS = {
    "timeout": (Hint("wall_s"),),
    "cpu_limit": (Hint("cpu_s"),),
    "memory_limit": (Hint("memory_mb"),),
    "output_limit": (Hint("output_bytes"),),
}


def _info_of(data: ErrorData) -> ErrorInfo:
    frames = tuple(
        TracebackFrame(item.file, item.line, item.function, item.source) for item in data.traceback
    )
    cause = _info_of(data.cause) if data.cause is not None else None
    hints = tuple(dict.fromkeys(Hint(name, value).granting() for name, value in data.hints[:_HINTS]))
    return ErrorInfo(data.type, data.module, data.message, tuple(data.notes), frames, cause, hints)
