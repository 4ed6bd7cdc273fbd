"""What a call may ask for beyond the ordinary, and all that is told of it: everything off the shortest path.

`life` serves a plain function with small arguments in one flat piece of code. Here is the rest of a call: large
arguments, operations, generators, coroutines, converted and checked values, failures, output. What this sends
goes out under `LOCK`, since threads of the tool may write at the same time.
"""

from __future__ import annotations

import _socket as socket  # `socket` is twice as much to import as all of this package's own wire
import _thread
import os
import resource
import types
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec

from elf_pysandbox_worker import loading, operations
from elf_pysandbox_worker.errors import BY_POSITION_ONLY, BadArguments, of_a_method
from elf_pysandbox_worker.report import failure, stream
from elf_pysandbox_worker.wire import values
from elf_pysandbox_worker.wire.errors import WireTooLarge
from elf_pysandbox_worker.wire.frames import FrameCaps, FrameReader, frame
from elf_pysandbox_worker.wire.messages import Call, Failure, Item, Output, Result, UsageData, encode

CHANNEL = 3
"""The descriptor of a worker's channel; nothing else is open in it."""

LOCK = _thread.RLock()  # knows its owner: a signal handler of the tool may print in the middle of a frame
_channel: list[socket.socket] = []

Buffers = Sequence[bytes | bytearray]
Payload = bytes | bytearray | memoryview

_CHUNK = 1 << 16
_DRIVEN = frozenset({types.GeneratorType, types.CoroutineType, types.AsyncGeneratorType})
# The host is trusted; the caps only keep a damaged stream from looking like a huge one.
_CAPS = FrameCaps(payload=1 << 31, total=1 << 33)


class Yielded(msgspec.Struct):
    """What a generator tool comes to: its items are sent already."""

    number: int


# -- the call in --------------------------------------------------------------------------------------


def receive_rest(start: memoryview) -> tuple[Payload, Buffers] | None:
    """Receive what follows the first bytes of a call; None when the host has closed the channel.

    Raises
    ------
    MemoryError
        There is no memory for it.
    """
    reader = FrameReader(_CAPS)
    (sock,) = _channel
    try:
        reader.feed(start)
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
    return found


def connect() -> socket.socket:
    """Return the one socket object of the channel, for a process and all that it forks.

    To make one sets O_NONBLOCK on the channel where the tool's module gave `socket.setdefaulttimeout` a time; taken
    back here, before anything is sent.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fileno=CHANNEL)
    sock.settimeout(None)
    _channel[:] = [sock]
    return sock


# -- the call itself ----------------------------------------------------------------------------------


def run(tool: loading.LoadedTool, call: Call, buffers: Buffers) -> Any:
    """Do what a call asks for, whatever that is, and return its value; raises what the tool raises."""
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
        explain_misfit(error, target.function, args, kwargs)
        raise
    result = _driven(result, call)
    if type(result) is Yielded:
        return result
    if "watch" in call.options:
        from elf_pysandbox_worker import watching

        watching.tell_changes(given, call, buffers)
    return _checked(target, result) if "check_result" in call.options else result


def is_special(options: dict[str, str]) -> bool:
    """Whether options ask for more than another way to read the arguments."""
    return "watch" in options or "check_result" in options


def _checked(target: loading.Target, result: Any) -> Any:
    from elf_pysandbox_worker import binder

    return binder.check_result(target.function, result)


def explain_misfit(error: TypeError, function: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
    """Raise `BadArguments` if the arguments do not fit the signature, and the call itself, not the tool, said so."""
    if error.__traceback__ is None or error.__traceback__.tb_next is not None:
        return
    import inspect

    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return
    first = next(iter(signature.parameters), "")
    more = f"; the signature is {signature}{of_a_method(first)}"
    if misplaced := _by_name(signature, len(args), kwargs):
        raise BadArguments([(name, BY_POSITION_ONLY + more) for name in misplaced]) from None
    try:
        signature.bind(*args, **kwargs)
    except TypeError as misfit:
        raise BadArguments([("", f"{misfit}{more}")]) from None


def _by_name(signature: Any, count: int, kwargs: dict[str, Any]) -> list[str]:
    """Return the positional-only parameters that are given by name; `bind` of 3.13 lets ``**`` take required ones."""
    parameters = list(signature.parameters.values())
    only = [each for each in parameters[count:] if each.kind == each.POSITIONAL_ONLY and each.name in kwargs]
    extra = any(each.kind == each.VAR_KEYWORD for each in parameters)
    return [each.name for each in only if not extra or each.default is each.empty]


def _driven(result: Any, call: Call) -> Any:
    """Run what is still to be run, whatever kind of function returned it: a decorator makes a plain one of each."""
    while type(result) in _DRIVEN:
        result = drive(result, call)
    return result


def drive(result: Any, call: Call) -> Any:
    """Run a generator, a coroutine or an asynchronous generator to its end; anything else is returned as it is."""
    if isinstance(result, types.GeneratorType):
        count = 0
        for item in result:
            _send_item(item, call, count)
            count += 1
        return Yielded(count)
    import asyncio

    if isinstance(result, types.AsyncGeneratorType):
        return asyncio.run(_drain(result, call))
    return asyncio.run(result) if isinstance(result, types.CoroutineType) else result


async def _drain(items: Any, call: Call) -> Yielded:
    count = 0
    async for item in items:
        _send_item(item, call, count)
        count += 1
    return Yielded(count)


# -- what is told of it -------------------------------------------------------------------------------


def pack(call: Call, value: Any) -> bytes | None:
    """Return the value of a call written out; None if it was sent, or that it cannot be.

    Sent here is what does not fit the shortest path: a value with buffers, the end of a generator. What a plain
    function left to be run is run first, and may fail.
    """
    items = -1
    if type(value) in _DRIVEN:
        try:
            value = _driven(value, call)
        except BaseException as error:
            tell_failure(call, error)
            return None
        stream.flush()
    if type(value) is Yielded:
        items, value = value.number, None
    try:
        packed = values.pack(value, max_bytes=call.result_bytes)
        if items < 0 and not packed.buffers and len(packed.data) < _CHUNK:
            return packed.data
        pieces = frame(encode(Result(call.id, msgspec.Raw(packed.data), _usage(), items)), packed.buffers)
    except MemoryError as error:
        _tell(call, "memory_limit", error)
    except BaseException as error:
        _tell(call, "bad_result", error)
    else:
        send(pieces)
    return None


def tell_failure(call: Call, error: BaseException) -> None:
    """Send how a call failed."""
    stream.flush()
    _tell(call, failure.classify(error), error)


def _tell(call: Call, status: str, error: BaseException) -> None:
    send(frame(encode(Failure(call.id, status, failure.describe(error), _usage()))))


def tell_output(number: int, text: str) -> None:
    """Send text that the tool wrote to its standard output (1) or error (2)."""
    clean = text.encode("utf-8", "backslashreplace").decode("utf-8")
    for start in range(0, len(clean), _CHUNK):
        send(frame(encode(Output(number, clean[start : start + _CHUNK]))))


def _send_item(item: Any, call: Call, number: int) -> None:
    stream.flush()
    packed = values.pack(item, max_bytes=call.result_bytes, root=f"items[{number}]")
    send(frame(encode(Item(msgspec.Raw(packed.data))), packed.buffers))


def _usage() -> UsageData:
    """Return what this process has used so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return UsageData(used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def send(pieces: Sequence[Any]) -> None:
    """Send the pieces of a frame, in order and in one go."""
    with LOCK:
        if len(pieces) == 1 and len(pieces[0]) <= _CHUNK:
            data = pieces[0]
            sent = os.write(CHANNEL, data)
            while sent < len(data):
                sent += os.write(CHANNEL, data[sent:])
            return
        _widen()
        views = [memoryview(piece).cast("B") for piece in pieces if len(piece)]
        while views:
            sent = os.writev(CHANNEL, views[:64])
            while views and sent >= len(views[0]):
                sent -= len(views.pop(0))
            if sent:
                views[0] = views[0][sent:]


def _widen() -> None:
    """Let more of a large result be under way at once: fewer switches between the two processes."""
    with suppress(OSError):
        _channel[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
