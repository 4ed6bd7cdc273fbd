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


@pytest.mark.parametrize(
    "closing", ["os.close(3)", "os.closerange(3, 4)", "os.close(3); kept = open('/dev/null')"]
)
def test_a_module_that_closes_the_channels_number_is_called_all_the_same(
    pool: SandboxPool, closing: str
) -> None:
    tool = pool.load_source(f"import os\n{closing}\ndef one(): return 1\n", "one", name="daemon")
    assert [pool.call(tool) for _ in range(3)] == [1, 1, 1]


DEFAULT_TIMEOUT = """
import socket
def large(): return b"x" * 20_000_000
def hasty_large():
    socket.setdefaulttimeout(1e-6)
    return large()
"""


def test_a_default_timeout_of_the_modules_sockets_ends_no_worker_that_waits_for_a_call(
    pool: SandboxPool,
) -> None:
    source = DEFAULT_TIMEOUT + "socket.setdefaulttimeout(1e-6)"  # over before any call can come
    assert [pool.call(pool.load_source(source, "large")) for _ in range(10)] == [b"x" * 20_000_000] * 10


def test_a_default_timeout_that_a_call_sets_lets_its_large_result_wait_for_a_slow_reader(
    pool: SandboxPool,
) -> None:
    assert pool.call(pool.load_source(DEFAULT_TIMEOUT, "hasty_large")) == b"x" * 20_000_000


def test_what_a_signal_handler_prints_in_the_middle_of_a_line_comes_behind_it(pool: SandboxPool) -> None:
    source = """
import signal
def run(count):
    signal.signal(signal.SIGALRM, lambda *_: print("tick\\n", end=""))
    signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
    for number in range(count):
        print(f"line {number}\\n", end="")
    signal.setitimer(signal.ITIMER_REAL, 0)
    print("end")
"""
    outcome = pool.outcome(pool.load_source(source, "run"), 20_000)
    assert outcome.status == "ok", outcome.error
    lines = outcome.stdout.splitlines()
    assert "tick" in lines
    assert [line for line in lines if line != "tick"] == [*(f"line {i}" for i in range(20_000)), "end"]


def test_a_large_argument_is_gone_when_the_next_call_of_the_same_worker_needs_its_room() -> None:
    source = "def size(data): return len(data)\ndef take(n): return len(bytearray(n))\n"
    policy, limits = Policy(profile="native", calls_per_worker=50), Limits(memory_mb=128)
    with SandboxPool(1, policy=policy, limits=limits) as pool:
        tools = [pool.load_source(source, name) for name in ("size", "take")]
        assert pool.call(tools[0], b"x" * (60 << 20)) == 60 << 20
        assert pool.call(tools[1], 80 << 20) == 80 << 20


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
