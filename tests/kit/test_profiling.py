"""The operation `profile` in a worker."""

from __future__ import annotations

import pytest

MODULE = "fixtures/kit/hot.py"


def report(pool, name, *args, **options):
    return pool.operation("profile", pool.load(f"{MODULE}:{name}"), args, **options).unwrap()


def leaves(found):
    return {found["frames"][stack[-1][0]][0] for stack, _ in found["stacks"]}


def test_time_mode_reads_the_clocks_and_nothing_else(native_pool):
    found = report(native_pool, "nap", 0.03, mode="time")
    assert found["run_s"] >= 0.03
    assert found["here_s"] >= found["run_s"]
    assert set(found) == {"mode", "run_s", "cpu_s", "items", "here_s"}


def test_sampling_gives_a_wait_to_the_line_that_waits(native_pool):
    found = report(native_pool, "nap", 0.1, mode="sample", interval_s="0.002")
    spent = {found["frames"][stack[-1][0]][0]: seconds for stack, seconds in found["stacks"]}
    assert spent["nap"] > 0.05


def test_tracing_tells_only_the_tools_own_frames(native_pool):
    found = report(native_pool, "encode", 50, mode="trace")
    assert {frame[1].rpartition("/")[2] for frame in found["frames"]} == {"hot.py"}


def test_memory_mode_gives_the_bytes_to_the_line_that_allocates(native_pool):
    found = report(native_pool, "hold", 8, mode="memory")
    file, line, size, _ = found["lines"][0]
    assert found["peak_bytes"] > 8 << 20
    assert size > 8 << 20
    with open(file, encoding="utf-8") as source:
        assert "bytearray" in source.read().splitlines()[line - 1]


@pytest.mark.parametrize("mode", ["time", "sample", "trace", "memory"])
@pytest.mark.parametrize(("name", "items"), [("later", 0), ("count", 5), ("tiny", 0)])
def test_every_kind_of_tool_is_measured_to_its_end_in_every_mode(native_pool, mode, name, items):
    found = report(native_pool, name, *([1, 2] if name == "tiny" else []), mode=mode)
    assert found["items"] == items
    assert found["run_s"] > 0


def test_a_tool_that_raises_ends_the_measured_call_as_it_would_any_other(native_pool):
    outcome = native_pool.operation("profile", native_pool.load(f"{MODULE}:fail"), (1,), mode="sample")
    assert outcome.status == "raised"
    assert outcome.error.info.type == "ZeroDivisionError"


def test_an_operation_that_does_not_exist_is_not_found(native_pool):
    outcome = native_pool.operation("weigh", native_pool.load(f"{MODULE}:tiny"), (1, 2))
    assert outcome.status == "not_found"
    assert "no operation 'weigh'" in str(outcome.error)


def test_a_tool_gets_on_where_a_look_at_its_stack_takes_longer_than_the_interval(native_pool):
    source = "def deep(n):\n    return deep(n - 1) if n else sum(i for i in range(20_000))\n"
    tool = native_pool.load_source(source, "deep")
    found = native_pool.operation("profile", tool, [400], mode="sample", interval_s="0.0001").unwrap()
    assert found["samples"] > 0
    assert found["run_s"] > 0
