"""Standard output and error of a tool: text streams that send what is written as `Output` frames.

Line buffered, so that a person sees each line when it is written. In the template, before there is a call,
what the module prints is kept (up to a bound) and sent with each call's first output: each call sees the
state right after import.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import Any

Sink = Callable[[int, str], None]

_FLUSH_AT = 8192
_KEPT_AT_LOAD = 65536
is_open = [False]
"""Whether there is a call to send for. In a list, so that a worker that sets it writes to nothing else."""

_sink: Sink | None = None
_busy: Callable[[], bool] | None = None
_installed: list[ToolStream] = []


class ToolStream(io.TextIOBase):
    """A write-only text stream; `number` is 1 or 2, as the descriptor it stands for."""

    encoding = "utf-8"
    errors = "surrogatepass"

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number
        self.name = "<stdout>" if number == 1 else "<stderr>"
        self.mode = "w"
        self.waiting: list[str] = []  # what was written and not sent yet; always the same list
        self._size = 0

    def writable(self) -> bool:
        """Return True."""
        return True

    @property
    def buffer(self) -> io.RawIOBase:
        """Takes bytes, as that of a stream on a descriptor does; what is no UTF-8 arrives escaped."""
        return _Bytes(self)

    def write(self, text: str) -> int:
        """Take text in; sends it at the end of a line or when 8 KiB have come together."""
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        if not is_open[0] and self._size > _KEPT_AT_LOAD:
            return len(text)
        self.waiting.append(text)
        self._size += len(text)
        if "\n" in text or self._size >= _FLUSH_AT:
            self.flush()
        return len(text)

    def flush(self) -> None:
        """Send what has been taken in, if there is a call to send it for; what a signal handler prints may wait."""
        if not is_open[0] or _sink is None or not self.waiting or (_busy is not None and _busy()):
            return
        waiting = self.waiting
        # No call between the two: neither a signal handler nor another thread can come in.
        taken, waiting[:] = waiting[:], ()
        self._size = 0
        _sink(self.number, "".join(taken))


class _Bytes(io.RawIOBase):
    def __init__(self, stream: ToolStream) -> None:
        self._stream = stream

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        raw = bytes(data)
        self._stream.write(raw.decode("utf-8", "backslashreplace"))
        return len(raw)

    def flush(self) -> None:
        self._stream.flush()


def install() -> None:
    """Put tool streams in the place of `sys.stdout` and `sys.stderr`; standard input is at its end."""
    _installed[:] = ToolStream(1), ToolStream(2)
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__ = _installed  # type: ignore[misc,assignment]
    sys.stdin = sys.__stdin__ = io.StringIO("")  # type: ignore[misc,assignment]


def connect(sink: Sink, busy: Callable[[], bool]) -> None:
    """Send through `sink(number, text)` as soon as `is_open`; `busy()` when this thread is in the middle of sending."""
    global _sink, _busy
    _sink, _busy = sink, busy


def streams() -> tuple[ToolStream, ToolStream]:
    """Return the two streams that were installed, whatever the tool has put in their place."""
    out, err = _installed
    return out, err


def flush() -> None:
    """Send what both streams still hold; a tool may have replaced them with objects of its own."""
    for stream in (getattr(sys, "stdout", None), getattr(sys, "stderr", None)):
        if isinstance(stream, ToolStream):
            stream.flush()
        elif stream is not None:
            try:
                stream.flush()
            except Exception:
                pass  # the tool's own stream, the tool's own trouble
