"""The program that checks source: confined like a call before it looks at the first byte.

Parsing is not running, but the parser is half a million lines of C in front of hostile text. So the check is three
processes, as a call is: a *keeper* that enters the namespaces, a *template* that is confined for good, and a *worker*
for each file, forked from it and ended with its answer. Nothing one file does to its worker reaches the answer for
another, and a file that ends its worker ends no more.

The imports are done, and what the checking would import while it runs is imported, before the doors close: the
template reads nothing but the interpreter's own codecs, which a coding cookie (PEP 263) may ask for.
"""

from __future__ import annotations

import gc
import os
import select
import signal
import sys
import sysconfig
import warnings

import msgspec

from elf_pysandbox_worker import isolation
from elf_pysandbox_worker.restricted.check_messages import (
    ANSWER_CAPS,
    Checked,
    CheckFile,
    CheckRequest,
    Confined,
    NotConfined,
)
from elf_pysandbox_worker.restricted.checking import check
from elf_pysandbox_worker.wire.frames import frame
from elf_pysandbox_worker.wire.messages import Confinement, LayerReport, encode

_OUT = 1
# One source for each thing that is imported late: columns, names of characters, wide identifiers, codecs.
_WARM_UP = (b"x.__code__\n", b"x = '\\N{BULLET}'\n", "ª = 1\n".encode(), b"x = (\n", b"# coding: latin-1\n")


def main() -> None:
    """Answer the one request on standard input."""
    os.closerange(3, 1 << 20)
    os.chdir("/")
    request = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=CheckRequest)
    warnings.simplefilter("ignore")  # Showing one would open the file it is about.
    for source in _WARM_UP:
        check(source)
    confinement = request.confinement(_readable())
    alive_read, alive_write = os.pipe()
    try:
        layers = isolation.enter_namespaces(confinement, {_OUT, alive_read, alive_write})
    except isolation.LayerMissing as missing:
        _say(NotConfined(missing.layer, missing.reason, missing.remedy))
        return
    gc.disable()  # A check is short, and each collection would copy pages that are shared.
    gc.freeze()
    template = os.fork()
    if template == 0:
        os.close(alive_write)
        _be_template(request, confinement, alive_read, layers)
    try:
        isolation.admit(template, alive_write)
        _keep(template)
    finally:
        isolation.release_cgroup()


def _readable() -> list[str]:
    """Return where the interpreter's codecs lie: their modules, and the shared objects some of them are.

    And one file of its library, by which the layer `identity` sees whether the interpreter is there at all.
    """
    import encodings

    folders = [os.path.dirname(encodings.__file__), sysconfig.get_path("platstdlib") + "/lib-dynload"]
    return [*filter(os.path.isdir, folders), os.path.abspath(os.__file__)]


def _keep(template: int) -> None:
    """Wait for the template; end it when the host no longer reads."""
    poller = select.poll()
    poller.register(_OUT, 0)  # POLLERR, which is always reported: the read end is closed.
    pidfd = os.pidfd_open(template)
    poller.register(pidfd, select.POLLIN)
    if pidfd not in {descriptor for descriptor, _ in poller.poll()}:
        os.kill(template, signal.SIGKILL)
    os.waitpid(template, 0)


def _be_template(
    request: CheckRequest, confinement: Confinement, alive: int, layers: list[LayerReport]
) -> None:
    status = 1
    try:
        layers = layers + isolation.confine(confinement, alive)
        confine_worker = isolation.prepare_worker(confinement)
        _say(Confined(layers))
        for file in request.files:
            read, write = os.pipe()
            worker = os.fork()
            if worker == 0:
                # Its pipe in the place of the host's: it can answer for its own file only.
                os.dup2(write, _OUT)
                os.closerange(3, 1 << 10)
                confine_worker(-1)
                _be_worker(file, request)
            os.close(write)
            _pass_on(read, worker)
        status = 0
    except isolation.LayerMissing as missing:
        _say(NotConfined(missing.layer, missing.reason, missing.remedy))
    finally:
        os._exit(status)


def _be_worker(file: CheckFile, request: CheckRequest) -> None:
    status = 1
    try:
        found = check(
            file.source,
            file.path,
            allowed_imports=request.allowed_imports,
            siblings=file.siblings,
            files_granted=request.files_granted,
        )
        _say(Checked(found))
        status = 0
    finally:
        os._exit(status)


def _pass_on(read: int, worker: int) -> None:
    """Hand a worker's frame to the host unopened; in its place an answer of nothing when there is no whole one."""
    answer = bytearray()
    while len(answer) <= ANSWER_CAPS.total and (chunk := os.read(read, 1 << 16)):
        answer += chunk
    os.close(read)  # One that says more than anybody wants to hear writes to nobody.
    _, status = os.waitpid(worker, 0)
    whole = len(answer) >= 8 and int.from_bytes(answer[:8], "little") == len(answer) - 8 <= ANSWER_CAPS.total
    _write(bytes(answer) if whole and status == 0 else b"".join(frame(encode(Checked(None)))))


def _say(message: msgspec.Struct) -> None:
    _write(b"".join(frame(encode(message))))


def _write(data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(_OUT, view) :]
