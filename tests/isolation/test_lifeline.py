"""The template dies with its keeper, whenever that dies."""

from __future__ import annotations

import os
import select
import signal

import pytest

from elf_pysandbox_worker import isolation
from tests.isolation.driver import confinement, without


def _start(layers: dict[str, str], keeper_dies_early: bool) -> tuple[int, int]:
    """Start a keeper with a template and a worker; return (keeper, read end that all three hold the other end of)."""
    spec = confinement(layers)
    read, write = os.pipe()
    ready_read, ready_write = os.pipe()
    go_read, go_write = os.pipe()
    keeper = os.fork()
    if keeper == 0:
        try:
            os.close(read)
            os.close(go_write)
            alive_read, alive_write = os.pipe()
            isolation.enter_namespaces(spec, {write, ready_write, go_read, alive_read, alive_write})
            template = os.fork()
            if template == 0:
                os.close(alive_write)
                if keeper_dies_early:
                    os.write(ready_write, b"r")
                    os.read(go_read, 1)  # Until the keeper is gone for certain.
                isolation.confine(spec, alive_read)
                confine_worker = isolation.prepare_worker(spec)
                if os.fork() == 0:
                    confine_worker(-1)
                    os.write(ready_write, b"w")
                while True:
                    signal.pause()
            os.close(go_read)
            isolation.admit(template, alive_write)
            signal.pause()
        finally:
            os._exit(1)
    for descriptor in (write, ready_write, go_read):
        os.close(descriptor)
    assert os.read(ready_read, 1)
    os.close(ready_read)
    os.kill(keeper, signal.SIGKILL)
    os.waitpid(keeper, 0)
    os.close(go_write)
    return keeper, read


@pytest.mark.parametrize("early", [False, True], ids=["after", "before the signal is armed"])
@pytest.mark.parametrize(
    "layers", [{}, without("pid_namespace"), without("user_namespace", "pid_namespace", "cgroup")], ids=str
)
def test_killing_the_keeper_ends_template_and_workers(layers: dict[str, str], early: bool) -> None:
    _, read = _start(layers, early)
    try:
        # End of file comes when the last of the processes is gone.
        assert select.select([read], [], [], 20)[0], "something outlived the keeper"
        assert os.read(read, 1) == b""
    finally:
        os.close(read)
