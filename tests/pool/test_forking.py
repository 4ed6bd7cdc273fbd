"""A template forks by the C library where the interpreter has nothing to put right, and by `os.fork` otherwise."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from elf_pysandbox import Limits, Policy, SandboxPool
from tests.pool import huge_pages

_START = """
import _signal, gc, operator
ORIGINALS = os.fork, os.register_at_fork, operator.is_
_signal.signal(_signal.SIGINT, _signal.SIG_IGN)  # as in a template
_signal.signal(_signal.SIGCHLD, operator.is_)
from elf_pysandbox_worker import forking

def prepared(files=None):
    gc.freeze()
    return forking.prepare(ownfiles.opened() if files is None else files, ORIGINALS)

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
        def work():
            first = threading.Thread(target=lambda: logging.warning("from a thread"))
            first.start(); first.join()
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
        "from a thread",
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
        pytest.param("os.register_at_fork(after_in_child=random.Random(1).random)", id="another method"),
        pytest.param(
            "os.register_at_fork(before=random.Random(1).seed)", id="numbers drawn anew in the parent"
        ),
        pytest.param("os.register_at_fork(before=threading.Lock().acquire)", id="another lock"),
        pytest.param("threading._after_fork = None", id="one that was replaced"),
        pytest.param("os.fork = lambda: 1", id="another os.fork"),
        pytest.param("posix.fork = os.fork = lambda: 1", id="another os.fork everywhere"),
        pytest.param("os.register_at_fork = lambda **_: None", id="another os.register_at_fork"),
        pytest.param("os.waitpid = lambda *_: (0, 0)", id="another os.waitpid"),
        pytest.param("threading.Thread(target=done.wait).start()", id="a second thread"),
        pytest.param("native()", id="a second thread of which Python does not know"),
        pytest.param("later = threading.Thread(target=print)", id="a thread to be started"),
        pytest.param(
            "in_a_thread(threading.current_thread)",
            id="a thread that left its name behind",
            marks=pytest.mark.skipif(sys.version_info >= (3, 13), reason="it takes its name along"),
        ),
        pytest.param("signal.signal(signal.SIGTERM, hook)", id="a handler of a signal"),
        pytest.param("gc.callbacks.append(hook)", id="a function that the garbage collector calls"),
        pytest.param("sys.setprofile(hook)", id="a function that is called for each call"),
        pytest.param("logging._lock.acquire()", id="a lock that the main thread holds"),
        pytest.param("in_a_thread(logging._lock.acquire)", id="a lock that a thread held when it ended"),
        pytest.param("handler.acquire()", id="a handler's lock that the main thread holds"),
        pytest.param("in_a_thread(handler.acquire)", id="a handler's lock that a thread held when it ended"),
        pytest.param("pool._global_shutdown_lock.acquire()", id="another library's lock that is held"),
        pytest.param("Handler._at_fork_reinit = hook", id="a handler that does more in a child"),
        pytest.param("handler._at_fork_reinit = hook", id="one handler that does more in a child"),
        pytest.param("logging.Handler._at_fork_reinit = hook", id="all handlers do more in a child"),
        pytest.param("handler.lock = threading.Condition()", id="a lock of another kind"),
        pytest.param("random.gauss()", id="a generator with a number in stock"),
        pytest.param("gc.get_referrers = lambda *_: []", id="lists that are not found"),
        pytest.param("files.clear()", id="no /proc"),
        pytest.param("os.close(files[0]._descriptor)", id="a descriptor that was closed"),
        pytest.param("sys.version_info = (3, 14, 0)", id="a later version"),
    ],
)
def test_where_it_is_not_known_to_be_right_os_fork_does_it(obstacle: str) -> None:
    printed = _run(f"""
        import _thread, concurrent.futures.thread as pool, logging, posix, random, time
        class Handler(logging.StreamHandler):
            pass
        def hook(*_): pass
        def native():
            libc_ = ctypes.CDLL(None)
            libc_.pthread_create(ctypes.byref(ctypes.c_ulong()), None, libc_.pause, None)
        def in_a_thread(work):
            _thread.start_new_thread(work, ())
            while len(os.listdir("/proc/self/task")) > 1 or _thread._count():
                time.sleep(0.001)
        done, files, handler = threading.Event(), ownfiles.opened(), Handler()
        print(prepared(list(files))[0] is os.fork)
        {obstacle}
        fork, hooks = prepared(files)
        print(fork is os.fork, hooks, gc.get_freeze_count() > 0, flush=True)
        os._exit(0)
    """)
    assert printed[-2:] == ["False", "True () True"]


@where_it_is_known
def test_nothing_is_left_of_looking_for_what_is_registered() -> None:
    printed = _run("""
        import logging, random
        os.register_at_fork(before=print)
        before = [hook for _, hook in forking._registered()]
        after = [hook for _, hook in forking._registered()]
        print(before == after, print in before, gc.isenabled())
    """)
    assert printed == ["True True True"]


_TOOL = """
import concurrent.futures, logging, os, random, sys, threading
forks = []
sys.addaudithook(lambda event, _: forks.append(event) if event == "os.fork" and os.getpid() == template else None)
template = os.getpid()
log = logging.getLogger("tool")

def work():
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(log.warning, ["one", "two"]))
    return random.random(), threading.active_count(), len(forks)
"""


def test_workers_of_a_template_that_has_forked_many_draw_other_numbers_and_run_threads(
    tmp_path: Path,
) -> None:
    (tmp_path / "tool.py").write_text(_TOOL)
    with SandboxPool(2, policy=Policy(profile="native"), max_templates=1) as pool:
        outcomes = [pool.outcome(f"{tmp_path}/tool.py:work") for _ in range(80)]
    assert {outcome.status for outcome in outcomes} == {"ok"}
    assert {outcome.value[1] for outcome in outcomes} == {1}
    assert len({outcome.value[0] for outcome in outcomes}) == 80
    assert all(sorted(outcome.stderr.split()) == ["one", "two"] for outcome in outcomes)
    by_os_fork = [outcome.value[2] for outcome in outcomes]
    assert len(set(by_os_fork)) > 5, "at first"
    assert len(set(by_os_fork[-20:])) == (1 if sys.version_info < (3, 14) else 20), (
        "no longer, where it is known"
    )


_HANDLES_SIGNALS = """
import os, random, signal, sys
ours, elsewhere, late = os.getpid(), [], []

def handle(*_):
    random.gauss()
    if os.getpid() != ours:
        elsewhere.append(os.getpid())
    if not late:
        os.register_at_fork(after_in_child=lambda: late.append("in a worker"))
        late.append("registered")

signal.signal(signal.SIGALRM, handle)
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)

def work():
    return random.gauss(), elsewhere, late
"""


def test_what_a_modules_handler_of_signals_does_later_has_its_effect_in_workers(tmp_path: Path) -> None:
    (tmp_path / "tool.py").write_text(_HANDLES_SIGNALS)
    with SandboxPool(2, policy=Policy(profile="native"), max_templates=1) as pool:
        values = [pool.call(f"{tmp_path}/tool.py:work") for _ in range(80)]
    assert len({number for number, _, _ in values}) == 80
    assert not any(elsewhere for _, elsewhere, _ in values)
    assert all(late == ["registered", "in a worker"] for _, _, late in values[-20:])


_REPLACES = """
import os
remove, forks = os.unlink, []

def unlink(*arguments, **options):
    import random  # for the first time
    return remove(*arguments, **options)

def work(number):
    if number > 40:
        open(os.environ["TMPDIR"] + "/file", "w").close()
    import random
    return random.random()

os.unlink = unlink
"""


def test_workers_draw_other_numbers_where_their_template_cleans_up_by_a_function_of_the_module(
    tmp_path: Path,
) -> None:
    (tmp_path / "tool.py").write_text(_REPLACES)
    policy, limits = Policy(profile="native"), Limits(scratch_mb=8, file_mb=4)
    with SandboxPool(2, policy=policy, limits=limits, max_templates=1) as pool:
        numbers = [pool.call(f"{tmp_path}/tool.py:work", number) for number in range(80)]
    assert len(set(numbers)) == 80


def test_a_template_whose_workers_may_start_processes_forks_by_os_fork(tmp_path: Path) -> None:
    (tmp_path / "tool.py").write_text(_TOOL)
    policy, limits = Policy(profile="native"), Limits(processes=2)
    with SandboxPool(2, policy=policy, limits=limits, max_templates=1) as pool:
        values = [pool.call(f"{tmp_path}/tool.py:work") for _ in range(60)]
    assert len({forks for _, _, forks in values[-20:]}) == 20
