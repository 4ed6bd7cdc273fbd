"""A template forks by the C library where the interpreter has nothing to put right, and by `os.fork` otherwise."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from elf_pysandbox import Limits, Policy, SandboxPool
from tests.pool import huge_pages

_START = """
from elf_pysandbox_worker import forking
import gc

def prepared():
    gc.freeze()
    return forking.prepare(ownfiles.opened())

def in_child(work):
    # What a child says that was forked in the way that was prepared.
    fork, hooks = prepared()
    readable, writable = os.pipe()
    pid = fork()
    if pid == 0:
        try:
            for hook in hooks:
                hook()
            os.write(writable, repr(work()).encode())
        finally:
            os._exit(0)
    os.close(writable)
    said = os.read(readable, 1 << 16).decode()
    os.waitpid(pid, 0)
    os.close(readable)
    return said
"""
where_it_is_known = pytest.mark.skipif(
    sys.version_info >= (3, 14), reason="what os.fork of this version puts right is not known"
)


def _run(code: str) -> list[str]:
    return huge_pages.run(_START, code).split("\n")


@where_it_is_known
def test_a_child_has_one_main_thread_and_starts_others_that_log_import_and_wait_for_each_other() -> None:
    printed = _run("""
        import asyncio, concurrent.futures, logging, random
        logging.basicConfig(format="%(message)s", stream=sys.stdout)
        waiting = threading.Thread(target=lambda: logging.warning("from a thread that was made before"))
        def work():
            waiting.start(); waiting.join()
            with concurrent.futures.ThreadPoolExecutor(4) as pool:
                results = list(pool.map(lambda number: __import__("colorsys").rgb_to_hsv(0, 0, number)[2], range(8)))
            logging.warning("from the main thread")
            async def later():
                return await asyncio.to_thread(int, "7")
            names = threading.main_thread().name, threading.current_thread().name, threading.active_count()
            return results, asyncio.run(later()), names, os.getpid() == os.getppid()
        print(prepared()[0] is not os.fork, flush=True)
        print(in_child(work), flush=True)
    """)
    assert printed == [
        "True",
        "from a thread that was made before",
        "from the main thread",
        "([0, 1, 2, 3, 4, 5, 6, 7], 7, ('MainThread', 'MainThread', 1), False)",
    ]


@where_it_is_known
@pytest.mark.parametrize("before", ["pass", "random.gauss()"])
def test_random_numbers_are_others_in_each_child_and_the_same_generator_goes_on_in_the_parent(
    before: str,
) -> None:
    printed = _run(f"""
        import random
        random.seed(1)
        {before}
        state = random.getstate()
        numbers, others = ({{in_child(draw) for _ in range(5)}} for draw in (random.random, random.gauss))
        print(len(numbers), len(others), random.getstate() == state)
    """)
    assert printed == ["5 5 True"]


@where_it_is_known
def test_what_a_library_registered_for_a_fork_runs_once_and_a_childs_own_forks_run_all_of_it() -> None:
    printed = _run("""
        import logging, random
        lists = len(forking._registered())
        print(prepared()[0] is os.fork, len(forking._registered()) == lists)
        seen = []
        os.register_at_fork(after_in_child=lambda: seen.append("child"), after_in_parent=lambda: seen.append("parent"))
        print(prepared()[0] is os.fork, in_child(lambda: seen), seen)
    """)
    assert printed == ["False True", "True ['child'] ['parent']"]


@where_it_is_known
@pytest.mark.parametrize(
    "obstacle",
    [
        pytest.param("os.register_at_fork(before=print)", id="a function that is not known"),
        pytest.param(
            "import random; os.register_at_fork(after_in_child=random.Random(1).random)", id="another method"
        ),
        pytest.param("os.register_at_fork(before=threading.Lock().locked)", id="another method of a lock"),
        pytest.param("import threading; threading._after_fork = None", id="one that was replaced"),
        pytest.param("hook.__module__ = []; os.register_at_fork(before=hook)", id="one that says nonsense"),
        pytest.param("os.fork = lambda: 1", id="another os.fork"),
        pytest.param("os.register_at_fork = lambda **_: None", id="another os.register_at_fork"),
        pytest.param("threading.Thread(target=done.wait).start()", id="a second thread"),
        pytest.param("native()", id="a second thread of which Python does not know"),
        pytest.param("files.clear()", id="no /proc"),
        pytest.param("os.close(files[0]._descriptor)", id="a descriptor that was closed"),
        pytest.param("sys.version_info = (3, 14, 0)", id="a later version"),
    ],
)
def test_where_it_is_not_known_to_be_right_os_fork_does_it(obstacle: str) -> None:
    printed = _run(f"""
        def hook(): pass
        def native():
            libc_ = ctypes.CDLL(None)
            libc_.pthread_create(ctypes.byref(ctypes.c_ulong()), None, libc_.pause, None)
        done, files = threading.Event(), ownfiles.opened()
        print(forking.prepare(list(files))[0] is os.fork)
        {obstacle}
        fork, hooks = forking.prepare(files)
        print(fork is os.fork, hooks, gc.get_freeze_count() > 0, flush=True)
        os._exit(0)
    """)
    assert printed[-2:] == ["False", "True () True"]


def test_workers_of_a_template_that_has_forked_many_draw_other_numbers_run_threads_and_fork_themselves(
    tmp_path: Path,
) -> None:
    (tmp_path / "tool.py").write_text(
        "import concurrent.futures, logging, os, random, threading\n"
        "log = logging.getLogger('tool')\n"
        "def work():\n"
        "    with concurrent.futures.ThreadPoolExecutor(2) as pool:\n"
        "        list(pool.map(log.warning, ['one', 'two']))\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n"
        "        with logging._lock:\n"
        "            os._exit(threading.active_count())\n"
        "    return random.random(), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])\n"
    )
    policy, limits = Policy(profile="native"), Limits(processes=2)
    with SandboxPool(2, policy=policy, limits=limits, max_templates=1) as pool:
        outcomes = [pool.outcome(f"{tmp_path}/tool.py:work") for _ in range(80)]
    assert {outcome.status for outcome in outcomes} == {"ok"}
    assert {outcome.value[1] for outcome in outcomes} == {1}
    assert len({outcome.value[0] for outcome in outcomes}) == 80
    assert all(sorted(outcome.stderr.split()) == ["one", "two"] for outcome in outcomes)
