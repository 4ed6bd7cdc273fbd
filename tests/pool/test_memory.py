"""What a call held is let go of at once (30 MB of a result cannot wait for the collector), and what templates share."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
from collections.abc import Callable, Iterator

import pytest

from elf_pysandbox import Policy, SandboxPool
from elf_pysandbox._host.flight import Flight

SOURCE = """
def give(size):
    return b"x" * size
def items(size):
    yield b"x" * size
def fail(size):
    raise ValueError(size)
"""


@pytest.fixture(scope="module")
def pool() -> Iterator[SandboxPool]:
    with SandboxPool(2, policy=Policy(profile="native")) as made:
        yield made


def left_to_the_collector(work: Callable[[], object]) -> list[str]:
    """Return the kinds of objects of this project that only the garbage collector would free, each time.

    Pools of earlier tests may come to their end meanwhile: what they leave is there once.
    """
    found: list[str] = []
    for _ in range(3):
        found = _left(work)
        if not found:
            break
    return found


def _left(work: Callable[[], object]) -> list[str]:
    work()
    gc.collect()
    gc.disable()
    try:
        for _ in range(5):
            work()
        gc.set_debug(gc.DEBUG_SAVEALL)
        gc.collect()
        return [
            type(found).__name__ for found in gc.garbage if type(found).__module__.startswith("elf_pysandbox")
        ]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


@pytest.mark.parametrize("size", [10, 1_000_000])
@pytest.mark.parametrize("door", ["call", "submit", "map", "stream", "acall"])
def test_a_call_leaves_nothing_to_the_garbage_collector(pool: SandboxPool, door: str, size: int) -> None:
    give, items = pool.load_source(SOURCE, "give"), pool.load_source(SOURCE, "items")
    doors: dict[str, Callable[[], object]] = {
        "call": lambda: pool.call(give, size),
        "submit": lambda: pool.submit(give, size).result(),
        "map": lambda: list(pool.map(give, [size])),
        "stream": lambda: list(pool.stream(items, size)),
        "acall": lambda: asyncio.run(pool.acall(give, size)),
    }
    assert left_to_the_collector(doors[door]) == []


def test_a_future_that_is_kept_keeps_its_result_once(pool: SandboxPool) -> None:
    done = pool.submit(pool.load_source(SOURCE, "give"), 10)
    assert done.result() == b"x" * 10
    supervisor, through = pool._calls.engine.supervisor, threading.Event()
    supervisor.run_soon(through.set)  # whatever it was about is done before that
    assert through.wait(10)
    gc.collect()
    assert not [found for found in gc.get_objects() if type(found) is Flight]


def test_calls_that_wait_for_a_template_are_forgotten_by_it_when_it_ends(pool: SandboxPool) -> None:
    tool = pool.load_source(f"{SOURCE}import time\ndef nap(): time.sleep(0.2)\n", "nap")
    pool.call(tool)
    engine = pool._calls.engine
    for _ in range(3):
        template = max(
            (one for one in engine._templates.values() if one.usable), key=lambda one: one.last_used
        )
        futures = [pool.submit(tool) for _ in range(4)]
        os.kill(template.pid, signal.SIGKILL)
        for future in futures:
            future.exception()
        assert not template.waiting
        assert not template.inquiries


LOOKS = "import sys\ndef look():\n    return 'elf_pysandbox_worker.restricted.compiler' in sys.modules\n"


@pytest.mark.parametrize("restricted_first", [True, False])
def test_what_restricted_templates_import_is_held_once_by_the_zygote(restricted_first: bool) -> None:
    with SandboxPool(1, policy=Policy(profile="trusted")) as whole:  # which asks for no template of its own
        pool, restricted = (
            whole.with_options(policy=Policy(profile=name)) for name in ("native", "restricted")
        )
        if restricted_first:
            assert restricted.call(restricted.load_source("def one(): return 1", "one")) == 1
        # A native template imports none of it for itself: what it has it was forked with.
        assert pool.call(pool.load_source(LOOKS, "look")) is restricted_first


ASKS = """
def asks():
    from elf_pysandbox_worker.isolation import seccomp
    return seccomp.program.cache_info().hits
"""


def test_templates_from_the_second_on_inherit_their_filter_of_system_calls() -> None:
    with SandboxPool(1, policy=Policy(profile="native")) as pool:
        hits = [pool.call(pool.load_source(ASKS, "asks", name=name)) for name in ("first", "second")]
    assert hits == [0, 1]
