"""The third door: what a worker loses, and what the template does after it."""

from __future__ import annotations

import errno
import os
import select
import signal

import pytest

from elf_pysandbox_worker import isolation
from tests.isolation.driver import Raised, confinement, run, without


def _call_that_leaves_a_process(end: bool) -> bool:
    """In the template: run a worker whose child stays; whether that is gone when the call has ended."""
    context = isolation.current()
    assert context is not None
    confine_worker = isolation.prepare_worker(context.spec)
    read, write = os.pipe()
    started_read, started_write = os.pipe()
    worker = os.fork()
    if worker == 0:
        confine_worker(-1)
        if os.fork() == 0:
            os.close(read)
            os.write(started_write, b"s")
            signal.pause()
        os._exit(0)
    os.close(write)
    os.read(started_read, 1)
    os.waitpid(worker, 0)
    if end:
        isolation.end_call(worker)
    return bool(select.select([read], [], [], 10 if end else 0.2)[0])


def test_what_a_call_leaves_behind_ends_with_it() -> None:
    spec = confinement(processes=2)
    assert run(lambda: _call_that_leaves_a_process(end=True), spec, "template").value is True
    assert run(lambda: _call_that_leaves_a_process(end=False), spec, "template").value is False


@pytest.mark.parametrize("act", ["setpgid", "setsid", "killpg"])
def test_a_process_cannot_leave_the_group_of_its_call(act: str) -> None:
    def attempt() -> None:
        child = os.fork()
        if child == 0:
            try:
                {"setpgid": lambda: os.setpgid(0, 0), "setsid": os.setsid, "killpg": lambda: os.killpg(1, 0)}[
                    act
                ]()
            except PermissionError as error:
                os._exit(error.errno)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.waitstatus_to_exitcode(status):
            raise OSError(os.waitstatus_to_exitcode(status), act)

    stopped = run(attempt, confinement(processes=2)).value
    assert isinstance(stopped, Raised)
    assert stopped.errno == errno.EPERM


def test_without_a_pid_namespace_a_worker_dies_with_its_template() -> None:
    def look() -> int:
        import ctypes

        number = ctypes.c_int()
        ctypes.CDLL(None).prctl(2, ctypes.byref(number), 0, 0, 0)  # PR_GET_PDEATHSIG
        return number.value

    assert run(look, confinement(without("pid_namespace"))).value == signal.SIGKILL


def test_a_kernel_that_refuses_the_filter_ends_the_worker() -> None:
    def attempt() -> str:
        """As a worker whose further filter is refused: the number of filters of a process is bounded."""
        context = isolation.current()
        assert context is not None
        confine_worker = isolation.prepare_worker(context.spec)
        for _ in range(5000):
            try:
                confine_worker(-1)
            except OSError:
                return "refused"
        return "never refused"

    assert run(attempt, position="template").value == "refused"
