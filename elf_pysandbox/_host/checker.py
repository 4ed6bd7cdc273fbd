"""The processes that check source under the language policy; they parse, run nothing, and are confined like a call.

The host never parses what a caller hands it with more than `ast`, and believes the answers no more than a worker's:
frames with caps, decoded into typed values, each for the file whose turn it is.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from elf_pysandbox_worker.restricted.check_messages import (
    ANSWER_CAPS,
    CPU_S,
    Answer,
    Checked,
    CheckFile,
    CheckRequest,
    Confined,
    NotConfined,
)
from elf_pysandbox_worker.restricted.diagnostics import Diagnostic
from elf_pysandbox_worker.wire.errors import WireError
from elf_pysandbox_worker.wire.frames import FrameReader

_BOOT = (
    "import sys; sys.path.extend(sys.argv[1:]); "
    "from elf_pysandbox_worker.restricted.check_process import main; main()"
)
# The kernel ends a check at CPU_S; one that takes longer without using the processor is ended from here.
_ANSWER_S = CPU_S + 10.0
_ENDING_S = 5.0
_DECODE = msgspec.msgpack.Decoder(Answer).decode

Findings = list[Diagnostic] | None
"""The findings of one file; None when its check ended the process."""


class LayerLacking(Exception):  # noqa: N818 - it names a state of the host
    """A required layer is missing, so nothing was checked; the arguments are layer, reason and remedy."""


class CheckFault(Exception):  # noqa: N818
    """The checking process did not start; the argument is what it said."""


def check_files(
    files: Sequence[CheckFile],
    roots: Sequence[str],
    *,
    layers: Mapping[str, str],
    allowed_imports: Sequence[str],
    files_granted: bool,
    python: str = "",
) -> Iterator[Findings]:
    """Yield the findings of each file, in order.

    Parameters
    ----------
    files : sequence of CheckFile
    roots : sequence of str
        Folders that hold `elf_pysandbox_worker` and the packages it imports.
    layers : mapping of str to str
        Layer -> "require" | "prefer" | "off", as for a template.
    allowed_imports, files_granted
        As for a template.
    python : str
        Path of the interpreter; the host's own by default.

    Raises
    ------
    LayerLacking, CheckFault
    """
    rest = list(files)
    while rest:
        request = CheckRequest(dict(layers), rest, list(allowed_imports), files_granted)
        answered = 0
        for found in _ask(msgspec.msgpack.encode(request), len(rest), roots, python or sys.executable):
            answered += 1
            yield found
        rest = rest[answered:]
        if rest:  # the processes ended over this one
            rest.pop(0)
            yield None


def _ask(request: bytes, count: int, roots: Sequence[str], python: str) -> Iterator[Findings]:
    """Run the program once; yield the answers it gives before it ends."""
    process = subprocess.Popen(
        [python, "-I", "-S", "-c", _BOOT, *roots],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={},
        cwd="/",
        start_new_session=True,
    )
    with process:
        assert process.stdin and process.stdout and process.stderr
        try:
            try:
                process.stdin.write(request)
                process.stdin.close()
            except BrokenPipeError:
                pass  # It ended before it had read the request: its standard error says why.
            answers = _answers(process.stdout.fileno())
            first = next(answers, None)
            if isinstance(first, NotConfined):
                raise LayerLacking(first.layer, first.reason, first.remedy)
            if not isinstance(first, Confined):
                raise CheckFault(process.stderr.read(1 << 16).decode(errors="replace")[-2000:].strip())
            for _ in range(count):
                answer = next(answers, None)
                if not isinstance(answer, Checked):
                    return
                yield answer.findings
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the program: its keeper sees that nobody reads any more, ends the others and tidies up."""
    assert process.stdout
    process.stdout.close()
    try:
        process.wait(_ENDING_S)
    except subprocess.TimeoutExpired:
        process.kill()  # and the template with it, by its death signal


def _answers(descriptor: int) -> Iterator[Answer]:
    """Yield what the program says, until it ends, breaks the protocol or is silent for too long."""
    reader = FrameReader(ANSWER_CAPS)
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    until = time.monotonic() + _ANSWER_S
    try:
        while True:
            while (found := reader.next()) is not None:
                yield _DECODE(found[0])
                until = time.monotonic() + _ANSWER_S
            if not poller.poll(max(0.0, until - time.monotonic()) * 1000):
                return
            chunk = os.read(descriptor, 1 << 16)
            if not chunk:
                return
            reader.feed(chunk)
    except (WireError, msgspec.MsgspecError):
        return
