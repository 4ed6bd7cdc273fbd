"""The worker's one life, top to bottom: confine, ready, receive, run, encode, exit.

Every line before `Ready` costs throughput, every line after it latency: what can be prepared is prepared in
the template. The channel is descriptor 3; nothing else is open.
"""

from __future__ import annotations

import _thread
import os
import resource
import signal
import socket
import types
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from elf_pysandbox_worker import loading, operations
from elf_pysandbox_worker.errors import BadArguments, of_a_method
from elf_pysandbox_worker.report import failure, stream
from elf_pysandbox_worker.wire import values
from elf_pysandbox_worker.wire.errors import WireTooLarge
from elf_pysandbox_worker.wire.frames import FrameCaps, FrameReader, frame, parse_single
from elf_pysandbox_worker.wire.messages import (
    EXIT_MEMORY,
    Call,
    Failure,
    Item,
    Output,
    Ready,
    Result,
    UsageData,
    encode,
)

_FD = 3
_CHUNK = 1 << 16
_WARM_UP = 40  # beyond what the specialising interpreter of 3.11 to 3.13 needs before it settles
_READY = b"".join(frame(encode(Ready())))
_decode_call = msgspec.msgpack.Decoder(Call).decode
# The host is trusted; the caps only keep a damaged stream from looking like a huge one.
_CAPS = FrameCaps(payload=1 << 31, total=1 << 33)
_lock = _thread.allocate_lock()
_REHEARSED = frame(
    encode(Call(0, "call", "", msgspec.Raw(values.pack(((), {}), max_bytes=64).data), False, 64, 64))
)[0]


def main(worker_fd: int, tool: loading.LoadedTool, confine_worker: Callable[[int], None], slot: int) -> None:
    """Live; never returns."""
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        if worker_fd != _FD:
            os.dup2(worker_fd, _FD)
        # The template's own channel and the stock of other workers' channels: gone before anything else
        # happens.
        os.closerange(_FD + 1, 1 << 20)
        confine_worker(slot)
        _rehearse(tool, _discard)
        stream.connect(_send_output)
        os.write(_FD, _READY)
        for _ in range(tool.load.calls_per_worker):
            received = _receive()
            if received is None:
                break
            _serve(tool, *received, _send)
        status = 0
    except (BrokenPipeError, ConnectionResetError):
        status = 0  # the host has settled this call already
    except MemoryError:
        status = EXIT_MEMORY  # of the arguments or for the report itself: nothing can be said but this
    finally:
        os._exit(status)


class _Yielded(NamedTuple):
    """What a generator tool comes to: its items are sent already."""

    number: int


def _nothing() -> None:
    return None


_REHEARSAL = loading.Target(_nothing, loading.SYNC, None)


def warm_up(tool: loading.LoadedTool) -> None:
    """Let the interpreter specialise the code of a worker's life in the template, for all workers (PEP 659).

    Code that is still warming up counts its runs in its own pages: done once here, it is neither counted nor copied
    in each worker, which spares it a fifth of its page faults.
    """
    for _ in range(_WARM_UP):
        _rehearse(tool, _drop)


def _rehearse(tool: loading.LoadedTool, send: Callable[[list[Any]], None]) -> None:
    """Serve a call of nothing, unheard, before saying ready.

    What a fresh process costs is page faults: each page of the interpreter it writes to for the first time is copied,
    some 200 of them on the way from a call's bytes to a result's. Here they are copied while nobody waits.
    """
    tool.targets[""] = _REHEARSAL
    payload = parse_single(bytes(_REHEARSED))
    assert payload is not None
    _serve(tool, _decode_call(payload), (), send)


def _drop(pieces: list[Any]) -> None:
    pass


def _discard(pieces: list[Any]) -> None:
    with _lock:
        os.write(_FD, b"")  # nothing is sent: a stream has no empty messages


def _receive() -> tuple[Call, Sequence[bytes | bytearray]] | None:
    data = os.read(_FD, _CHUNK)
    if not data:
        return None
    payload = parse_single(data)
    if payload is not None:
        return _decode_call(payload), ()
    return _receive_large(data)


def _receive_large(data: bytes) -> tuple[Call, Sequence[bytes | bytearray]] | None:
    reader = FrameReader(_CAPS)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=_FD)
    try:
        reader.feed(data)
        while (found := reader.next()) is None:
            # Straight into the object that the tool will be given, in one system call.
            count = reader.fill(lambda room: sock.recv_into(room, 0, socket.MSG_WAITALL))
            if count is None:
                data = sock.recv(max(reader.want(), 1), socket.MSG_WAITALL)
                count = len(data)
                reader.feed(data)
            if not count:
                return None
    except WireTooLarge:
        raise MemoryError from None  # the host keeps to all caps but this one, which only this process knows
    finally:
        sock.detach()
    return _decode_call(found[0]), found[1]


def _send(pieces: list[Any]) -> None:
    with _lock:
        if len(pieces) == 1 and len(pieces[0]) <= _CHUNK:
            data = pieces[0]
            sent = os.write(_FD, data)
            while sent < len(data):
                sent += os.write(_FD, data[sent:])
            return
        _widen()
        views = [memoryview(piece).cast("B") for piece in pieces if len(piece)]
        while views:
            sent = os.writev(_FD, views[:64])
            while views and sent >= len(views[0]):
                sent -= len(views.pop(0))
            if sent:
                views[0] = views[0][sent:]


def _widen() -> None:
    """Let more of a large result be under way at once: fewer switches between the two processes."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=_FD)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
    except OSError:
        pass
    finally:
        sock.detach()


def _send_output(number: int, text: str) -> None:
    clean = text.encode("utf-8", "backslashreplace").decode("utf-8")
    for start in range(0, len(clean), _CHUNK):
        _send(frame(encode(Output(number, clean[start : start + _CHUNK]))))


def _usage() -> UsageData:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return UsageData(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def _serve(
    tool: loading.LoadedTool,
    call: Call,
    buffers: Sequence[bytes | bytearray],
    send: Callable[[list[Any]], None],
) -> None:
    try:
        value = _run(tool, call, buffers)
    except BaseException as error:
        stream.flush()
        send(frame(encode(_failure(call, failure.classify(error), error))))
        return
    stream.flush()
    items = -1
    if type(value) is _Yielded:
        items, value = value.number, None
    try:
        packed = values.pack(value, max_bytes=call.result_bytes)
        pieces = frame(encode(Result(call.id, msgspec.Raw(packed.data), _usage(), items)), packed.buffers)
    except MemoryError as error:
        send(frame(encode(_failure(call, "memory_limit", error))))
    except BaseException as error:
        send(frame(encode(_failure(call, "bad_result", error))))
    else:
        send(pieces)


def _failure(call: Call, status: str, error: BaseException) -> Failure:
    return Failure(call.id, status, failure.describe(error), _usage())


def _run(tool: loading.LoadedTool, call: Call, buffers: Sequence[bytes | bytearray]) -> Any:
    target = tool.target(call.path)
    if call.op != "call":
        return operations.run(call.op, tool, target, call, buffers)
    args, kwargs = values.unpack(call.arguments, buffers, caps=values.TRUSTED_CAPS)
    given = kwargs
    if target.convert is not None:
        args, kwargs = target.convert(args, kwargs, call.options)
    try:
        result = target.function(*args, **kwargs)
    except TypeError as error:
        # Raised by the call itself, not inside the tool: the arguments do not fit its signature.
        if error.__traceback__ is not None and error.__traceback__.tb_next is None:
            _explain_misfit(target.function, args, kwargs)
        raise
    if target.kind in (loading.GENERATOR, loading.ASYNC_GENERATOR) or isinstance(result, types.GeneratorType):
        return _drive(result, target.kind, call)
    if target.kind != loading.SYNC:
        result = _drive(result, target.kind, call)
    if "watch" in call.options:
        from elf_pysandbox_worker import watching

        watching.tell_changes(given, call, buffers)
    return _checked(target, result) if "check_result" in call.options else result


def _checked(target: loading.Target, result: Any) -> Any:
    from elf_pysandbox_worker import binder

    return binder.check_result(target.function, result)


def _explain_misfit(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    import inspect

    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*args, **kwargs)
    except TypeError as misfit:
        first = next(iter(signature.parameters), "")
        raise BadArguments([("", f"{misfit}; the signature is {signature}{of_a_method(first)}")]) from None


def _drive(result: Any, kind: str, call: Call) -> Any:
    if isinstance(result, types.GeneratorType):
        count = 0
        for item in result:
            _send_item(item, call)
            count += 1
        return _Yielded(count)
    import asyncio

    if isinstance(result, types.AsyncGeneratorType):
        return asyncio.run(_drain(result, call))
    return asyncio.run(result) if isinstance(result, types.CoroutineType) else result


async def _drain(items: Any, call: Call) -> _Yielded:
    count = 0
    async for item in items:
        _send_item(item, call)
        count += 1
    return _Yielded(count)


def _send_item(item: Any, call: Call) -> None:
    stream.flush()
    packed = values.pack(item, max_bytes=call.result_bytes)
    _send(frame(encode(Item(msgspec.Raw(packed.data))), packed.buffers))
