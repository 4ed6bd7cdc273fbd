"""The pool as a `concurrent.futures.Executor`, as a stream, and from an event loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import subprocess
import sys
import threading

import pytest

from elf_pysandbox import (
    CallCancelledError,
    ConfigurationError,
    ItemEvent,
    Limits,
    Outcome,
    OutputEvent,
    Policy,
    PoolClosedError,
    SandboxPool,
)
from tests.processes import wait_for_supervisor

MODULE = "fixtures/engine/behaviours.py"


def test_it_is_an_executor(native_pool):
    assert isinstance(native_pool, concurrent.futures.Executor)


def test_its_class_has_what_an_executor_has_before_there_is_a_pool():
    code = (
        "from unittest import mock; from elf_pysandbox import SandboxPool\n"
        "pool = mock.MagicMock(spec=SandboxPool)\n"
        "with pool: pool.submit(len), pool.map(len, []), pool.shutdown()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_pool_is_an_executor_from_the_moment_on_in_which_anybody_could_ask():
    code = (
        "import sys; from elf_pysandbox import SandboxPool\n"
        "with SandboxPool(1) as pool:\n"
        "    assert 'concurrent.futures' not in sys.modules\n"
        "    import importlib.util\n"
        "    assert importlib.util.find_spec('concurrent.futures').origin.endswith('__init__.py')\n"
        "    import concurrent.futures\n"
        "    assert isinstance(pool, concurrent.futures.Executor)\n"
        "    assert issubclass(SandboxPool, concurrent.futures.Executor)\n"
        "loader = concurrent.futures.__loader__\n"
        "assert concurrent.futures.__spec__.loader is loader and loader.get_source('concurrent.futures')\n"
        "assert not [finder for finder in sys.meta_path if 'elf_pysandbox' in type(finder).__module__]\n"
    )
    subprocess.run(
        [sys.executable, "-S", "-c", code], check=True, env={**os.environ, "PYTHONPATH": ":".join(sys.path)}
    )


def test_submit_gives_futures_that_complete_with_their_own_results(native_pool):
    add = native_pool.load(f"{MODULE}:add")
    futures = {native_pool.submit(add, i): i for i in range(50)}
    for future in native_pool.as_completed(futures):
        assert future.result() == futures[future] + 1


def test_a_future_carries_the_tools_exception(native_pool):
    future = native_pool.submit(native_pool.load(f"{MODULE}:divide"), 1, 0)
    assert isinstance(future.exception(), ZeroDivisionError)


def test_cancelling_a_running_future_ends_its_process(native_pool):
    started = threading.Event()
    future = native_pool.submit(native_pool.load(f"{MODULE}:sleep"), 60)
    future.add_done_callback(lambda _: started.set())
    assert future.cancel()
    assert future.cancelled()
    assert started.wait(5)
    with pytest.raises(concurrent.futures.CancelledError):
        future.result()
    assert native_pool.statistics().busy == 0


def test_cancelling_a_finished_future_changes_nothing(native_pool):
    future = native_pool.submit(native_pool.load(f"{MODULE}:add"), 1)
    assert future.result() == 2
    assert not future.cancel()
    assert future.result() == 2


def test_map_keeps_the_order_and_takes_only_what_it_needs(native_pool):
    taken = []

    def numbers():
        for i in range(100):
            taken.append(i)
            yield i

    results = native_pool.map(native_pool.load(f"{MODULE}:add"), numbers())
    assert next(results) == 1
    assert len(taken) <= 10
    assert list(results) == list(range(2, 101))


def test_map_raises_where_the_failing_item_stands(native_pool):
    results = native_pool.map(native_pool.load(f"{MODULE}:divide"), [1, 1], [1, 0])
    assert next(results) == 1.0
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_map_times_out(native_pool):
    with pytest.raises(TimeoutError):
        list(native_pool.map(native_pool.load(f"{MODULE}:sleep"), [30], timeout=0.1))


@pytest.mark.parametrize("name", ["count", "count_later"])
def test_a_stream_yields_items_as_they_come_and_the_outcome_last(native_pool, name):
    events = list(native_pool.stream(native_pool.load(f"{MODULE}:{name}"), 3))
    assert [event.value for event in events if isinstance(event, ItemEvent)] == [0, 1, 2]
    assert isinstance(events[-1], Outcome)
    assert events[-1].status == "ok"


def test_a_stream_interleaves_output_in_the_order_written(native_pool):
    events = list(native_pool.stream(native_pool.load(f"{MODULE}:count"), 2))
    assert events[:4] == [
        OutputEvent("stdout", "item 0\n"), ItemEvent(0), OutputEvent("stdout", "item 1\n"), ItemEvent(1),
    ]  # fmt: skip


def test_a_stream_that_breaks_ends_with_the_outcome_of_the_break(native_pool):
    *items, outcome = native_pool.stream(native_pool.load(f"{MODULE}:break_after"), 2)
    assert [event.value for event in items] == [0, 1]
    assert outcome.status == "raised"


def test_leaving_a_stream_early_ends_the_call(native_pool):
    stream = native_pool.stream(native_pool.load(f"{MODULE}:count_for_ever"))
    next(stream)
    stream.close()
    assert native_pool.statistics().busy == 0


def test_the_asynchronous_door_calls_streams_and_cancels(native_pool):
    add, sleep, count = (native_pool.load(f"{MODULE}:{name}") for name in ("add", "sleep", "count"))

    async def main():
        assert await native_pool.acall(add, 1) == 2
        assert await asyncio.gather(*(native_pool.acall(add, i) for i in range(30))) == list(range(1, 31))
        assert (await native_pool.aoutcome(add)).status == "invalid_arguments"
        items = [event.value async for event in native_pool.astream(count, 3) if isinstance(event, ItemEvent)]
        assert items == [0, 1, 2]
        task = asyncio.ensure_future(native_pool.acall(sleep, 60))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert native_pool.statistics().busy == 0


def test_calls_past_max_workers_wait_and_past_the_queue_are_rejected():
    policy = Policy(profile="native")
    with SandboxPool(1, policy=policy, max_queued=1) as pool:
        sleep = pool.load(f"{MODULE}:sleep")
        futures = [pool.submit_outcome(sleep, 0.3) for _ in range(3)]
        assert [future.result().status for future in futures] == ["ok", "ok", "rejected"]


def test_a_call_that_waits_longer_than_queue_s_is_rejected():
    with SandboxPool(1, policy=Policy(profile="native"), limits=Limits(queue_s=0.2)) as pool:
        sleep = pool.load(f"{MODULE}:sleep")
        slow = pool.submit(sleep, 2)
        waiting = pool.submit_outcome(sleep, 0)
        assert pool.outcome(sleep, 0).status == "rejected"
        assert waiting.result().status == "rejected"
        slow.cancel()


def test_shutdown_waits_for_what_was_submitted_and_refuses_more():
    pool = SandboxPool(4, policy=Policy(profile="native"))
    add = pool.load(f"{MODULE}:add")
    futures = [pool.submit(add, i) for i in range(20)]
    pool.shutdown()
    assert [future.result() for future in futures] == list(range(1, 21))
    with pytest.raises(PoolClosedError):
        pool.submit(add, 1)
    with pytest.raises(PoolClosedError):
        pool.call(add, 1)
    pool.shutdown()


def test_shutdown_can_cancel_what_has_not_begun():
    pool = SandboxPool(1, policy=Policy(profile="native"))
    sleep = pool.load(f"{MODULE}:sleep")
    futures = [pool.submit(sleep, 0.2) for _ in range(5)]
    pool.shutdown(cancel_futures=True)
    assert all(future.done() for future in futures)
    assert futures[-1].cancelled()


def test_shutdown_without_waiting_returns_and_the_calls_finish():
    pool = SandboxPool(2, policy=Policy(profile="native"))
    future = pool.submit(pool.load(f"{MODULE}:sleep"), 0.3)
    pool.shutdown(wait=False)
    assert future.result(10) == 0.3


def test_a_view_has_its_own_limits_and_shares_the_pool(native_pool):
    view = native_pool.with_options(limits=Limits(wall_s=0.2))
    assert view.limits.wall_s == 0.2
    assert view.outcome(f"{MODULE}:sleep", 5).status == "timeout"
    assert native_pool.outcome(f"{MODULE}:sleep", 0.3).status == "ok"


def test_calls_per_worker_lets_one_process_serve_several_calls_of_one_tool():
    with SandboxPool(1, policy=Policy(profile="native", calls_per_worker=3)) as pool:
        pid = pool.load(f"{MODULE}:own_pid")
        pids = [pool.call(pid) for _ in range(6)]
        assert pids == [pids[0]] * 3 + [pids[3]] * 3
        assert pids[0] != pids[3]


def test_a_call_in_another_thread_ends_when_the_pool_is_closed():
    pool = SandboxPool(2, policy=Policy(profile="native"))
    sleep = pool.load(f"{MODULE}:sleep")
    assert pool.call(sleep, 0) == 0
    outcomes = []
    thread = threading.Thread(target=lambda: outcomes.append(pool.outcome(sleep, 60)))
    thread.start()
    while pool.statistics().busy == 0:
        pass
    pool.shutdown()
    thread.join(10)
    assert isinstance(outcomes[0].error, CallCancelledError)


@pytest.mark.parametrize(
    "options",
    [
        {"max_workers": 0},
        {"max_workers": True},
        {"max_queued": -1},
        {"limits": 3},
        {"limits": 0},
        {"policy": {}},
        {"python": 5},
    ],
    ids=str,
)
def test_options_that_make_no_sense_are_refused_by_name(native_pool, options):
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        SandboxPool(**options)
    if options.keys() <= {"limits", "policy", "python"}:
        with pytest.raises(ConfigurationError, match=next(iter(options))):
            native_pool.with_options(**options)


def test_a_program_that_is_no_python_is_refused_by_what_it_said_and_not_by_what_it_was_asked():
    with pytest.raises(ConfigurationError, match="'/bin/false' does not run: it ended with exit code 1"):
        SandboxPool(1, python="/bin/false")
    with pytest.raises(ConfigurationError, match="'/bin/true' does not run: it printed no JSON"):
        SandboxPool(1, python="/bin/true")


def test_the_time_in_which_a_module_loads_is_the_first_calls_and_no_waiting_in_a_queue(native_pool):
    tool = native_pool.load_source("import time\ntime.sleep(0.3)\ndef one(): return 1", "one", name="slow")
    first = native_pool.outcome(tool).usage
    for _ in range(2):  # the round after the one that it is in takes in that the template has loaded
        wait_for_supervisor(native_pool)
    later = native_pool.outcome(tool).usage
    assert first.load_s >= 0.3
    assert later.load_s == 0.0
    broken = native_pool.load_source("import time\ntime.sleep(0.3)\n1 / 0\ndef one(): return 1", "one")
    failed = native_pool.outcome(broken)
    assert (failed.status, failed.usage.load_s >= 0.3) == ("load_failed", True)


def test_statistics_count_calls_by_status(native_pool):
    before = native_pool.statistics().calls
    native_pool.call(f"{MODULE}:add", 1)
    native_pool.outcome(f"{MODULE}:divide", 1, 0)
    after = native_pool.statistics().calls
    assert after["ok"] == before.get("ok", 0) + 1
    assert after["raised"] == before.get("raised", 0) + 1


def test_workers_that_rest_never_keep_a_waiting_call_from_its_own():
    policy = Policy(profile="native", calls_per_worker=20)
    with SandboxPool(48, policy=policy, limits=Limits(queue_s=10)) as pool:
        add = pool.load(f"{MODULE}:add")
        for _ in range(3):
            futures = [pool.submit(add, i) for i in range(1_200)]
            assert [future.result() for future in futures] == list(range(1, 1_201))
