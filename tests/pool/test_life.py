"""The shortest path of a call says and hears the same as the messages it stands for."""

from __future__ import annotations

import msgspec
import pytest

from elf_pysandbox import Limits, Policy, SandboxPool
from elf_pysandbox_worker.wire.messages import Result, UsageData, encode

SOURCE = """
def same(*args, **kwargs): return [list(args), kwargs]
def nothing(*args, **kwargs): return None
kept = open("/dev/null")
def file_of_the_module(): return kept.fileno()
"""


@pytest.fixture(scope="module")
def pool():
    with SandboxPool(2, policy=Policy(profile="native"), limits=Limits(wall_s=20)) as pool:
        yield pool


def test_a_result_written_as_a_plain_tuple_is_a_result() -> None:
    value, usage = msgspec.Raw(b"\xc0"), UsageData(0.25, 12.5)
    plain = ("result", 7, value, (usage.cpu_s, usage.peak_memory_mb), -1)
    assert encode(plain) == encode(Result(7, value, usage, -1))


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        ((), {}),
        ((1,), {}),
        ((), {"a": "b"}),
        ((None, True, -1, 2**64, 1.5, float("inf"), "é\ud800"), {"deep": [[[[[[[1]]]]]]]}),
        (((1, 2), {3}, b"x"), {"bytes": bytearray(b"y")}),
        (("x" * 250,), {}),  # heads of all lengths
        (("x" * 470,), {}),
        (("x" * 16_000,), {}),
        (("x" * 16_384,), {}),  # more than is received at once
        (("x" * 400_000,), {"b": b"y" * 400_000}),
    ],
    ids=lambda value: str(type(value)) if len(str(value)) > 40 else str(value),
)
def test_arguments_of_any_size_and_kind_arrive_and_come_back(pool: SandboxPool, args, kwargs) -> None:
    tool = pool.load_source(SOURCE, "same", name="life")
    assert pool.call(tool, *args, **kwargs) == [list(args), kwargs]
    assert pool.call(pool.load_source(SOURCE, "nothing", name="life"), *args, **kwargs) is None


def test_a_file_that_a_module_left_open_is_not_taken_for_the_channel(pool: SandboxPool) -> None:
    assert pool.call(pool.load_source(SOURCE, "file_of_the_module", name="life")) > 3


def test_a_worker_of_many_calls_holds_nothing_of_one_through_the_next() -> None:
    source = """
import gc
class Mine: pass
def count(mine=None): return sum(type(item) is Mine for item in gc.get_objects())
def make(): return str(Mine())[:1]
def fail(): raise ValueError(str(Mine()))
"""
    with SandboxPool(1, policy=Policy(profile="native", calls_per_worker=10)) as pool:
        for name in ("make", "fail", "count"):
            outcome = pool.outcome(pool.load_source(source, name, name="held"))
            assert outcome.status == ("raised" if name == "fail" else "ok")
        assert outcome.value == 0


@pytest.mark.parametrize("name", ["__stdout__", "stdout"])
@pytest.mark.parametrize("stand_in", ["None", "io.StringIO()"])
def test_a_module_may_put_anything_in_the_place_of_its_streams(
    pool: SandboxPool, name: str, stand_in: str
) -> None:
    source = f"""
import io, sys
kept = sys.stdout
sys.{name} = {stand_in}
def say(): print("heard", file=kept); return 1
def lose(): del sys.stdout; return 2
"""
    outcome = pool.outcome(pool.load_source(source, "say", name="streams"))
    assert (outcome.value, outcome.stdout) == (1, "heard\n")
    assert pool.call(pool.load_source(source, "lose", name="streams")) == 2
