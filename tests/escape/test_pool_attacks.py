"""Attacks of a tool on the pool that runs it: its channel, its results, other calls, and what stays behind.

Profile `native`: the language policy is out of the way, so what holds here are the processes, the wire and the
kernel.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from elf_pysandbox import Limits, Policy, SandboxPool
from tests.conftest import sandbox_processes

CHANNEL = 3
HELPERS = """
import os, struct, sys, time, signal, threading
import msgspec
sys.path[:0] = []

def write(data):
    while data:
        data = data[os.write(3, data):]

def frame(payload):
    return struct.pack("<IHH", len(payload), 0, 0) + payload

def packed(value):
    return msgspec.msgpack.encode(value)

def say(message):
    write(frame(packed(message)))
"""


@pytest.fixture(scope="module")
def pool() -> Iterator[SandboxPool]:
    limits = Limits(wall_s=5, cpu_s=5, output_bytes=100_000, result_bytes=1_000_000)
    with SandboxPool(8, policy=Policy(profile="native"), limits=limits) as made:
        yield made


def outcome_of(pool: SandboxPool, body: str, **options: object) -> object:
    """Run a hostile function with this body."""
    source = HELPERS + "\ndef attack():\n" + "".join(f"    {line}\n" for line in body.splitlines())
    tool = pool.load_source(source, "attack", name="attack")
    return pool.outcome(tool)


def serves_on(pool: SandboxPool) -> bool:
    tool = pool.load_source("def add(a, b):\n    return a + b\n", "add", name="sums")
    return [pool.call(tool, i, 1) for i in range(10)] == list(range(1, 11))


GARBAGE = {
    "noise": "write(b'\\xff' * 5000); time.sleep(60)",
    "a frame that claims 4 GiB": "write(struct.pack('<IHH', 2**32 - 1, 0, 0)); time.sleep(60)",
    "a frame with 65535 buffers": "write(struct.pack('<IHH', 10, 65535, 0) + b'x' * 5000); time.sleep(60)",
    "a payload that is no message": "write(frame(b'\\xc1')); time.sleep(60)",
    "a message of no known kind": "say(['nonsense', 1, 2]); time.sleep(60)",
    "a message with wrong types": "say(['result', 'one', 2, 3]); time.sleep(60)",
    "bytes after the message": "write(frame(packed(['output', 1, 'x']) + b'more')); time.sleep(60)",
    "nesting without end": "write(frame(b'\\x91' * 100000)); time.sleep(60)",
    "maps that grow when read": "write(frame(b'\\xdc\\xff\\xff' + b'\\x80' * 65535)); time.sleep(60)",
    "a message of the host's side": "say(['call', 1, 'call', 'x', [], False, 1, 1]); time.sleep(60)",
    "a message of the template's side": "say(['worker_ended', 0, 0]); time.sleep(60)",
}


@pytest.mark.parametrize("body", GARBAGE.values(), ids=GARBAGE.keys())
def test_a_broken_protocol_ends_the_call_as_crashed_and_the_pool_serves_on(
    pool: SandboxPool, body: str
) -> None:
    outcome = outcome_of(pool, body)
    assert outcome.status == "crashed", outcome
    assert serves_on(pool)


def test_a_truncated_frame_and_a_dead_worker_is_a_crash(pool: SandboxPool) -> None:
    outcome = outcome_of(pool, "write(struct.pack('<IHH', 100, 0, 0) + b'half'); os._exit(0)")
    assert outcome.status == "crashed"
    assert serves_on(pool)


def test_a_result_for_another_call_is_not_given_to_it(pool: SandboxPool) -> None:
    body = """
for number in range(-5, 2000):
    say(['result', number, 'forged', [0.0, 0.0]])
time.sleep(60)
"""
    echo = pool.load_source(
        "import time\ndef echo(x):\n    time.sleep(0.05)\n    return x\n", "echo", name="echoes"
    )
    honest = [pool.submit(echo, number) for number in range(20)]
    outcome = outcome_of(pool, body)
    assert outcome.status in ("crashed", "ok")
    assert [future.result(30) for future in honest] == list(range(20))
    assert serves_on(pool)


def test_a_call_answered_twice_has_one_outcome(pool: SandboxPool) -> None:
    body = """
import threading
def again():
    for _ in range(100):
        try:
            say(['output', 1, 'late'])
        except OSError:
            return
threading.Thread(target=again, daemon=True).start()
return 'mine'
"""
    outcomes = [outcome_of(pool, body) for _ in range(5)]
    assert {outcome.status for outcome in outcomes} <= {"ok", "crashed"}
    assert serves_on(pool)


@pytest.mark.parametrize(
    "body",
    ["while True: print('x' * 1000)", "while True: say(['output', 1, 'x' * 1000])"],
    ids=["print", "frames"],
)
def test_endless_output_ends_at_its_limit(pool: SandboxPool, body: str) -> None:
    outcome = outcome_of(pool, body)
    assert outcome.status == "output_limit"
    assert len(outcome.stdout) <= 100_000
    assert serves_on(pool)


STUCK = {
    "a loop in C": "sum(range(10**13))",
    "ignoring every signal": """
for number in range(1, 64):
    try:
        signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError):
        pass
while True:
    time.sleep(1)""",
    "blocking every signal": "signal.pthread_sigmask(signal.SIG_SETMASK, range(1, 64)); time.sleep(60)",
    "stopping itself": "signal.raise_signal(signal.SIGSTOP)",
    "waiting for a lock": "lock = threading.Lock(); lock.acquire(); lock.acquire()",
    "closing its channel and staying": "os.close(3); time.sleep(60)",
}


@pytest.mark.parametrize("body", STUCK.values(), ids=STUCK.keys())
def test_a_stuck_worker_is_ended_from_outside(pool: SandboxPool, body: str) -> None:
    outcome = outcome_of(pool.with_options(limits=Limits(wall_s=1, cpu_s=30)), body)
    assert outcome.status in ("timeout", "crashed"), outcome
    assert serves_on(pool)


SIGNAL = """
import os

def attack(pids, number):
    reached = []
    for pid in [*pids, os.getppid()]:
        try:
            os.kill(pid, number)
            reached.append(pid)
        except OSError:
            pass
    return reached
"""
_HIDE_PROCESSES = (
    "user_namespace",
    "pid_namespace",
    "mount_namespace",
    "identity",
    "capabilities",
    "landlock",
    "seccomp",
)


def test_a_tool_signals_neither_host_nor_zygote_nor_keeper_nor_parent(pool: SandboxPool) -> None:
    attack = pool.load_source(SIGNAL, "attack", name="signals")
    pool.call(attack, [], 0)
    pids = [os.getpid(), *sandbox_processes()]
    assert len(pids) > 3
    for number in (0, signal.SIGTERM, signal.SIGKILL):
        assert pool.call(attack, pids, int(number)) == []
    assert serves_on(pool)


@pytest.mark.skipif(os.geteuid() != 0, reason="without the layers an ordinary user's tool is the user")
def test_without_the_layers_it_finds_them_all() -> None:
    policy = Policy(profile="native", layers=dict.fromkeys(_HIDE_PROCESSES, "off"))
    with SandboxPool(1, policy=policy) as pool:
        attack = pool.load_source(SIGNAL, "attack", name="signals")
        pool.call(attack, [], 0)
        pids = [os.getpid(), *sandbox_processes()]
        found = set(pool.call(attack, pids, 0))
        # A worker that had served, or another test's process, may have ended meanwhile.
        assert {pid for pid in pids if os.path.exists(f"/proc/{pid}")} <= found
        assert len(found) > 3


LEFT = {
    "a global": "globals()['mark'] = 1",
    "a builtin": "import builtins; builtins.mark = 1",
    "a module": "import sys; sys.modules['marked'] = sys",
    "a patched function": "import json; json.dumps = None",
    "an environment variable": "os.environ['MARK'] = '1'",
    "a thread": "threading.Thread(target=time.sleep, args=(60,), name='mark', daemon=True).start()",
    "a file": "open('mark', 'w').close()",
    "a folder without rights": "os.makedirs('mark/below'); os.chmod('mark', 0)",
    "the working folder": "os.chdir('/')",
}
LOOK = """
def look():
    import builtins, json, tempfile
    return [
        'mark' in globals(), hasattr(builtins, 'mark'), 'marked' in sys.modules, json.dumps is None,
        'MARK' in os.environ, len(threading.enumerate()) > 1,
        os.path.lexists('mark'), os.getcwd() == '/',
    ]
"""


@pytest.mark.parametrize("body", LEFT.values(), ids=LEFT.keys())
def test_nothing_a_call_does_is_there_in_the_next(body: str) -> None:
    from elf_pysandbox import Files

    source = HELPERS + LOOK + "\ndef attack():\n    " + body + "\n    return look()\n"
    with SandboxPool(1, policy=Policy(profile="native", files=Files(scratch_mb=2))) as pool:
        attack = pool.load_source(source, "attack", name="marks")
        look = pool.load_source(source, "look", name="marks")
        assert True in pool.call(attack), "the attack leaves no mark even in its own call"
        for _ in range(4):
            assert pool.call(look) == [False] * 8


def test_with_several_calls_a_worker_marks_do_stay_so_the_test_above_sees_them() -> None:
    source = HELPERS + LOOK + "\ndef attack():\n    globals()['mark'] = 1\n"
    with SandboxPool(1, policy=Policy(profile="native", calls_per_worker=5)) as pool:
        pool.call(pool.load_source(source, "attack", name="marks"))
        seen = [pool.call(pool.load_source(source, "look", name="marks"))[0] for _ in range(3)]
    assert True in seen


MODULES = {
    "writes noise to every descriptor": """
for number in range(3, 100):
    try:
        os.write(number, b'\\xff' * 1000)
    except OSError:
        pass
""",
    "forges that it is loaded and that workers ended": """
for number in range(3, 100):
    try:
        os.write(number, frame(packed(['loaded', 0.0])) + frame(packed(['worker_ended', 0, 0])) * 50)
    except OSError:
        pass
""",
    "closes every descriptor": "os.closerange(3, 1000)",
    "exits": "os._exit(0)",
    "leaves processes behind": """
for _ in range(5):
    if os.fork() == 0:
        time.sleep(1000)
""",
    "replaces what forks and confines": """
os._exit = lambda code: None
os.waitpid = lambda *a: (0, 0)
""",
}


@pytest.mark.parametrize("body", MODULES.values(), ids=MODULES.keys())
def test_a_hostile_module_harms_its_own_calls_only(body: str) -> None:
    before = _descriptors()
    limits = Limits(wall_s=3, load_s=3)
    with SandboxPool(2, policy=Policy(profile="native"), limits=limits) as pool:
        source = HELPERS + body + "\ndef attack():\n    return 'ran'\n"
        outcome = pool.outcome(pool.load_source(source, "attack", name="attack"))
        assert outcome.status in ("ok", "load_failed", "crashed", "timeout", "killed", "fault"), outcome
        assert serves_on(pool)
    assert _descriptors() <= before + 2


def test_descriptors_sent_to_the_host_do_not_stay_there(pool: SandboxPool) -> None:
    body = """
import socket, array
channel = socket.socket(fileno=os.dup(3))
null = os.open('/dev/null', os.O_RDONLY)
data = frame(packed(['output', 1, 'x']))
for _ in range(50):
    channel.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [null] * 50))])
return 'sent'
"""
    # The first one makes the template, whose own channels stay.
    outcomes = [outcome_of(pool, body)]
    before = _descriptors()
    outcomes += [outcome_of(pool, body) for _ in range(3)]
    # The kernel itself ends it at some number in flight (ETOOMANYREFS): the tool's own exception then.
    assert {outcome.status for outcome in outcomes} <= {"ok", "raised", "crashed"}
    assert _descriptors() <= before + 100, "2,500 were sent each time"


def test_descriptors_sent_with_the_first_word_stay_neither_and_do_not_save_the_worker(
    pool: SandboxPool,
) -> None:
    module = """
import array, socket
from elf_pysandbox_worker import life
plain = life._channel

def with_descriptors():
    receive, send = plain()

    def sending(data):
        if data != life._READY:
            return send(data)
        channel = socket.socket(fileno=os.dup(3))
        channel.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [2] * 20))])

    return receive, sending

life._channel = with_descriptors
"""
    source = HELPERS + module + "\ndef attack():\n    return 'ran'\n"
    tool = pool.load_source(source, "attack", name="attack")
    outcomes = [pool.outcome(tool)]
    before = _descriptors()
    outcomes += [pool.outcome(tool) for _ in range(20)]
    assert {outcome.status for outcome in outcomes} == {"crashed"}
    assert _descriptors() <= before + 30, "400 were sent"
    assert serves_on(pool)


FLOODS = {
    "output of nothing": "data = frame(packed(['output', 1, ''])) * 4000",
    "output with buffers": "data = (struct.pack('<IHHQ', 11, 1, 0, 9) + packed(['output', 1, 'x']) + b'x' * 9) * 3000",
}


@pytest.mark.parametrize("body", FLOODS.values(), ids=FLOODS.keys())
def test_a_flood_that_no_limit_counts_ends_its_call_and_starves_no_other(
    pool: SandboxPool, body: str
) -> None:
    source = HELPERS + "\ndef attack():\n    " + body + "\n    while True: write(data)\n"
    flood = pool.submit_outcome(pool.load_source(source, "attack", name="attack"))
    assert serves_on(pool)
    assert flood.result(30).status == "crashed"


def test_an_endless_stream_is_read_as_fast_as_it_is_taken_and_ends_at_the_wall_limit(
    pool: SandboxPool,
) -> None:
    body = "data = frame(packed(['item', 0])) * 4000\nwhile True: write(data)\nyield"
    source = HELPERS + "\ndef attack():\n" + "".join(f"    {line}\n" for line in body.splitlines())
    view = pool.with_options(limits=Limits(wall_s=1))
    *items, last = view.stream(pool.load_source(source, "attack", name="attack"))
    assert items
    assert getattr(last, "status", None) == "timeout"
    assert serves_on(pool)


LIES = {
    "that it is loaded, and never is": """
frame_ = sys._getframe()
while 'channel' not in frame_.f_locals or 'load' not in frame_.f_locals:
    frame_ = frame_.f_back
os.write(frame_.f_locals['channel'].sock.fileno(), frame(packed(['loaded', 0.0])))
time.sleep(1000)
""",
    "an impossible end of a worker": """
from elf_pysandbox_worker import template
told = template.WorkerEnded
template.WorkerEnded = lambda index, status: told(index, 2**40)
""",
    "a negative end of a worker": """
from elf_pysandbox_worker import template
told = template.WorkerEnded
template.WorkerEnded = lambda index, status: told(index, -1)
""",
}


@pytest.mark.parametrize("body", LIES.values(), ids=LIES.keys())
def test_a_template_that_lies_ends_its_own_calls_only(body: str) -> None:
    limits = Limits(wall_s=3, load_s=1, queue_s=1)
    with SandboxPool(2, policy=Policy(profile="native"), limits=limits) as pool:
        source = HELPERS + body + "\ndef attack():\n    os._exit(3)\n"
        future = pool.submit_outcome(pool.load_source(source, "attack", name="attack"))
        assert future.result(30).status in ("crashed", "rejected")
        assert serves_on(pool)


@pytest.mark.parametrize(
    "said", ["", "tell._channel.send(template.WorkerEnded(0, 0))"], ids=["nothing", "an answer"]
)
def test_a_template_that_answers_unasked_is_ended_so_it_cannot_keep_the_host_busy(said: str) -> None:
    module = f"""
from elf_pysandbox_worker import template

def stay(tell):
    {said}
    time.sleep(1000)

template._Forker.serve = stay
"""
    limits = Limits(wall_s=3, load_s=1, queue_s=1)
    with SandboxPool(2, policy=Policy(profile="native"), limits=limits) as pool:
        source = HELPERS + module + "\ndef attack():\n    return 1\n"
        outcome = pool.outcome(pool.load_source(source, "attack", name="attack"))
        assert outcome.status == ("killed" if said else "rejected")
        assert serves_on(pool)


@pytest.mark.parametrize("told", ["nan", "inf", "-inf", "-1", "1e300"])
def test_figures_of_usage_that_no_process_can_have_are_told_as_nothing(pool: SandboxPool, told: str) -> None:
    source = (
        HELPERS
        + """
import resource
TOLD = []
resource.getrusage = lambda who: (float(TOLD[-1]), 0.0, 1024 * float(TOLD[-1])) if TOLD else (0.0, 0.0, 0.0)

def attack(told):
    TOLD.append(told)
"""
    )
    tool = pool.load_source(source, "attack", name="attack")
    assert pool.outcome(tool, "1.5").usage.cpu_s == 1.5, "the control: it is the worker's word"
    usage = pool.outcome(tool, told).usage
    assert (usage.cpu_s, usage.peak_memory_mb) == (0.0, 0.0)


@pytest.mark.parametrize("layer", ["pid_namespace", "none"])
def test_what_a_module_started_does_not_outlive_its_template(layer: str) -> None:
    name = f"left{os.getpid() % 10**6}"
    module = f"""
import ctypes
said, say_it = os.pipe()
for _ in range(3):
    if os.fork() == 0:
        if os.fork():
            os._exit(0)
        for number in range(1, 64):
            try:
                signal.signal(number, signal.SIG_IGN)
            except (OSError, ValueError):
                pass
        ctypes.CDLL(None).prctl(15, b"{name}", 0, 0, 0)
        os.write(say_it, b"1")
        time.sleep(1000)
    os.read(said, 1)

def attack():
    return 'ran'
"""
    off = ("cgroup",) if layer == "pid_namespace" else ("cgroup", "pid_namespace")
    policy = Policy(profile="native", layers=dict.fromkeys(off, "off"))
    with SandboxPool(1, policy=policy, limits=Limits(wall_s=10)) as pool:
        assert pool.call(pool.load_source(HELPERS + module, "attack", name="attack")) == "ran"
        assert len(_called(name)) == 3, "the control: they are there as long as the template is"
    assert _called(name) == []


def _called(name: str) -> list[str]:
    """Return the processes whose own name (PR_SET_NAME) is this."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            if (
                f"({name})" in (text := stat.read_text(errors="replace"))
                and text.rpartition(")")[2].split()[0] != "Z"
            ):
                found.append(stat.parent.name)
        except OSError:
            pass
    return found


def test_a_worker_sees_no_descriptor_but_its_own_channel(pool: SandboxPool) -> None:
    body = """
found = []
for number in range(1000):
    try:
        os.fstat(number)
        found.append(number)
    except OSError:
        pass
return found
"""
    assert outcome_of(pool, body).value == [0, 1, 2, CHANNEL]


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))
