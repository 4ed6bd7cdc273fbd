"""The worker's one life, top to bottom: confine, rehearse, ready, receive, run, encode, exit.

Why this is one long function
-----------------------------
What a fresh process costs is page faults: each page of the interpreter that it writes to for the first time is
copied, and reading an object writes to it (its reference count). A call through a dozen small functions of several
modules touches 250 pages; the same steps in one function, whose few objects were made one after the other when all
else existed, 150: a third of a worker's whole time. So `_live` holds everything in locals, `prepare` makes what they
hold last of all, and whatever a plain function with small arguments does not need is in `serving`.

Every line before `ready` costs throughput, every line after it latency. The channel is descriptor 3; nothing else
is open.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # see `boot`
import os
import resource
import struct
import sys
import types
from collections.abc import Callable
from typing import Any

import msgspec

from elf_pysandbox_worker import loading, serving
from elf_pysandbox_worker.report import stream
from elf_pysandbox_worker.wire import tags, values
from elf_pysandbox_worker.wire.frames import frame
from elf_pysandbox_worker.wire.messages import EXIT_MEMORY, Call, Ready, encode
from elf_pysandbox_worker.wire.reader import decode_call

_ROOM = 1 << 14
"""Bytes of a call that are received at once; what is longer goes through `serving.receive_rest`."""

_WARM_UP = 40  # beyond what the specialising interpreter of 3.11 to 3.13 needs before it settles
_decoder = msgspec.msgpack.Decoder(Call)  # made while annotations may still be evaluated
_READY = b"".join(frame(encode(Ready())))
# Of the interpreter's allocator (Objects/obmalloc.c), in bytes.
_SIZE_CLASSES = range(48, 513, 16)
_POOL, _POOL_HEAD = 1 << 14, 48


def _nothing() -> None:
    return None


Life = tuple[list[Any], Callable[..., None], tuple[Any, ...]]


def prepare(tool: loading.LoadedTool, confine: Callable[[int], None]) -> Life:
    """Make the life of the workers of a tool, its code warm; for the template, before it forks the first.

    Parameters
    ----------
    tool : LoadedTool
    confine : callable
        `isolation.prepare_worker`'s.

    Returns
    -------
    birth : list
        The slot of the next worker's scratch directory, -1 for none; True; and what is to be called first, a tuple of
        functions without parameters. To be set before the fork.
    live : callable
        To be called in a fresh worker, whose channel is `serving.CHANNEL` by then, as ``live(*kit)``; never returns.
    kit : tuple
    """
    _fill_free_slots()
    # A copy of what is rehearsed: it lies with the rest.
    nothing = types.FunctionType(_nothing.__code__.replace(), {})
    tool.ordinary[""] = nothing, None
    birth: list[Any] = [-1, False, ()]
    stream.connect(serving.tell_output, serving.LOCK._is_owned)  # type: ignore[attr-defined]
    kit = _kit(tool, confine, birth)
    for _ in range(_WARM_UP):
        # Code that is still warming up counts its runs in its own pages (PEP 659): done here, once for all workers.
        _live(*kit)
    birth[1] = True
    return birth, _live, kit


_filling: list[bytes] = []


def _fill_free_slots() -> None:
    """Take up the free places between older objects for good: what is made from now on lies together.

    The allocator hands out the places of one size class from one pool of 16 KiB until that is full, and from a fresh
    one then (Objects/obmalloc.c).
    """
    for size in _SIZE_CLASSES:
        length = size - b"".__sizeof__()
        pools: set[int] = set()
        for _ in range(2 * _POOL // size):
            _filling.append(bytes(length))
            pools.add(id(_filling[-1]) // _POOL)
            if len(pools) > 1 and id(_filling[-1]) % _POOL < 2 * size + _POOL_HEAD:
                break  # the first place of a fresh one


def _channel() -> tuple[Callable[..., int], Callable[..., None]]:
    """Return what receives from and what sends to a worker's channel."""
    sock = serving.connect()
    return sock.recv_into, sock.sendall


def _kit(tool: loading.LoadedTool, confine: Callable[[int], None], birth: list[Any]) -> tuple[Any, ...]:
    """Make what `_live` works with, one right after the other, in the order of its parameters."""
    room = bytearray(_ROOM)
    nothing = msgspec.Raw(values.pack(((), {}), max_bytes=64).data)
    rehearsal = b"".join(frame(encode(Call(0, "call", "", nothing, False, 64, 64))))
    room[: len(rehearsal)] = rehearsal
    receive, send = _channel()
    out, err = stream.streams()
    parts = {
        "birth": birth,
        "forget_signals": signal.set_wakeup_fd,
        "confine": confine,
        "room": memoryview(room),
        "count": len(rehearsal),
        "size_of": struct.Struct("<Q").unpack_from,
        "receive": receive,
        "send": send,
        "ready": bytes(bytearray(_READY)),  # a copy, which lies here
        "tool": tool,
        "calls": tool.load.calls_per_worker,
        "find": tool.ordinary.get,
        "decode": _decoder.decode,
        "head_of": dict(values.CALL_HEADS).get,
        "plain_call": tags.CALL,
        "decode_arguments": decode_call,
        "generator": types.GeneratorType,
        "attribute": sys.__dict__.get,
        "out": out,
        "err": err,
        "out_waiting": out.waiting,
        "err_waiting": err.waiting,
        "is_open": stream.is_open,
        "usage": resource.getrusage,
        "raw": msgspec.Raw,
        "write": msgspec.msgpack.Encoder().encode,
        "head": struct.Struct("<Q").pack,
        "acquire": serving.LOCK.acquire,
        "release": serving.LOCK.release,
        "leave": os._exit,
    }
    code = _live.__code__
    return tuple(parts[name] for name in code.co_varnames[: code.co_argcount])


def _live(
    birth: Any, forget_signals: Any, confine: Any, room: Any, count: Any, size_of: Any, receive: Any,
    send: Any, ready: Any, tool: Any, calls: Any, find: Any, decode: Any, head_of: Any, plain_call: Any,
    decode_arguments: Any, generator: Any, attribute: Any, out: Any, err: Any, out_waiting: Any,
    err_waiting: Any, is_open: Any,
    usage: Any, raw: Any, write: Any, head: Any, acquire: Any, release: Any, leave: Any,
) -> None:  # fmt: skip
    """Rehearse a call of nothing; in a worker that was just born also live, and never return.

    The rehearsal touches, while nobody waits, what every call touches.
    """
    status, serving_calls = 1, False
    slot, born, hooks = birth
    call: Any
    found: Any
    packed: Any
    payload: Any
    buffers: Any
    try:
        if born:
            forget_signals(-1)
            for call in hooks:
                call()
            confine(slot)
        while True:
            # Read as one u64, header and length agree only if all of it is here, and no buffers are.
            if count >= 8 and size_of(room)[0] == count - 8:
                payload, buffers = room[8:count], ()
            else:
                found = serving.receive_rest(room[:count])
                if found is None:
                    break
                payload, buffers = found
                found = None
            call = decode(payload)
            ordinary = find(call.path)
            packed = memoryview(call.arguments)
            at = head_of(packed[0])
            try:
                if (
                    ordinary is None or buffers or call.op != "call"
                    or at is None or packed[at - 1] != plain_call
                    or (call.options and serving.is_special(call.options))
                ):  # fmt: skip
                    value = serving.run(tool, call, buffers)
                else:
                    function, convert = ordinary
                    try:
                        args, kwargs = decode_arguments(packed[at:])
                    except msgspec.ValidationError:  # kinds of values that have tags
                        args, kwargs = values.unpack(call.arguments, caps=values.TRUSTED_CAPS)
                    if convert is not None:
                        args, kwargs = convert(tuple(args), kwargs, call.options)
                    try:
                        value = function(*args, **kwargs)
                    except TypeError as error:
                        serving.explain_misfit(error, function, args, kwargs)
                        raise
                    if value is not None and type(value) is generator:
                        value = serving.drive(value, call)
            except BaseException as error:
                serving.tell_failure(call, error)
            else:
                if (
                    out_waiting or err_waiting
                    or attribute("stdout") is not out or attribute("stderr") is not err
                ):  # fmt: skip
                    stream.flush()
                # Anything else has been sent when it comes back as None.
                data = b"\xc0" if value is None else serving.pack(call, value)
                if data is not None:
                    used = usage(0)
                    # As `Result` is written, without the types that make one.
                    data = write(("result", call.id, raw(data), (used[0] + used[1], used[2] / 1024), -1))
                    if serving_calls:
                        acquire()
                        send(head(len(data)) + data)
                        release()
            if serving_calls:
                calls -= 1
                if calls <= 0:
                    break
            elif born:
                is_open[0] = True
                acquire()  # as for a result: its pages, too, are copied while nobody waits
                send(ready)
                release()
                serving_calls = True
            else:
                return
            # Nothing of one call may be held through the next.
            call = packed = payload = buffers = args = kwargs = value = data = None
            count = receive(room)
            if not count:
                break
        status = 0
    except (BrokenPipeError, ConnectionResetError):
        status = 0  # the host has settled this call already
    except MemoryError:
        status = EXIT_MEMORY  # of the arguments or for the report itself: nothing can be said but this
    finally:
        if born:
            leave(status)
