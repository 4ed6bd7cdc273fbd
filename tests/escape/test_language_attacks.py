"""Every attack on the language policy: refused by rule with the policy on, contained by the kernel with it off."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from elf_pysandbox import Limits, Policy, SandboxPool
from tests.escape.language_attacks import ATTACKS, GENERATED, Attack

LIMITS = Limits(wall_s=20, cpu_s=20, load_s=20)
HERE = [attack for attack in ATTACKS if sys.version_info >= attack.python]

RESTRICTED = """
def run():
    return repr(trophy())
"""

# With the policy off the attack succeeds, and what it won opens nothing: each act below is the kernel's to refuse.
NATIVE = """
def precious(found):
    import types
    if isinstance(found, (list, tuple)) and found:
        found = found[0]
    if isinstance(found, (types.ModuleType, types.FrameType, types.CodeType, type)):
        return type(found).__name__
    if isinstance(found, dict) and ("__builtins__" in found or "__name__" in found or "open" in found):
        return "namespace"
    if callable(found) or isinstance(found, str) and len(found) > 2:
        return "internals"
    return None

def contained():
    import errno, os, socket
    acts = {
        "execve": lambda: os.execv("/bin/sh", ["sh", "-c", "true"]),
        "socket": lambda: socket.socket(),
        "fork": lambda: os.fork() or os._exit(0),
        "read": lambda: open("/etc/shadow").read(),
        "write": lambda: open("/usr/pwned", "w"),
        "kill": lambda: os.kill(os.getppid() or 1, 9),
    }
    left = []
    for name, act in acts.items():
        try:
            act()
            left.append(name)
        except OSError:
            pass
    return left

def run():
    return precious(trophy()), contained()
"""


@pytest.fixture(scope="module")
def restricted() -> Iterator[SandboxPool]:
    with SandboxPool(2, policy=Policy(profile="restricted"), limits=LIMITS) as pool:
        yield pool


@pytest.fixture(scope="module")
def native() -> Iterator[SandboxPool]:
    with SandboxPool(2, policy=Policy(profile="native"), limits=LIMITS) as pool:
        yield pool


def ident(attack: Attack) -> str:
    return f"{attack.family}: {attack.name}"


@pytest.mark.parametrize("attack", HERE, ids=ident)
def test_an_attack_is_refused_by_its_rule_or_gets_nothing_under_the_policy(restricted, attack):
    outcome = restricted.outcome(restricted.load_source(attack.source + RESTRICTED, "run"))
    if attack.refused == "nothing":
        assert (outcome.status, outcome.value) == ("ok", "None"), outcome
    elif attack.refused.startswith("PSB"):
        assert outcome.status == "denied", outcome
        assert attack.refused in repr(outcome.error), outcome.error
    elif attack.refused != "any":
        assert outcome.status in ("raised", "load_failed"), outcome
        assert attack.refused in repr(outcome.error), outcome.error
    else:
        assert outcome.status != "ok", outcome


@pytest.mark.parametrize("attack", [attack for attack in HERE if attack.control], ids=ident)
def test_the_same_attack_succeeds_without_the_policy_and_the_kernel_still_contains_it(native, attack):
    outcome = native.outcome(native.load_source(attack.source + NATIVE, "run"))
    assert outcome.status == "ok", outcome
    precious, left = outcome.value
    assert precious, "not an attack: plain Python refuses it too"
    assert left == []


HUGE = {
    **{ident(attack): attack.source for attack in GENERATED},
    "deep brackets": "x = " + "(" * 5000 + "1" + ")" * 5000 + "\n",
    "deep blocks": "".join(" " * depth + "if 1:\n" for depth in range(300)) + " " * 300 + "pass\n",
    "a long chain": "x = []" + ".a" * 100_000 + "\n",
    "a text of 8 MB": "x = '" + "a" * 8_000_000 + "'\n",
    "a list of 2,000,000 numbers": "x = [" + "0," * 2_000_000 + "]\n",
    "a power that fills memory": "x = 'a' * 10 ** 12\n",
    "a shift that fills memory": "x = 1 << 10 ** 12\n",
}


@pytest.mark.parametrize("profile", ["restricted", "native"])
@pytest.mark.parametrize("name", HUGE)
def test_huge_source_ends_as_an_outcome_with_the_policy_on_and_off(request, profile, name):
    pool = request.getfixturevalue(profile)
    outcome = pool.outcome(pool.load_source(HUGE[name] + "def run():\n    return 'ran'\n", "run"))
    assert outcome.status in ("ok", "denied", "load_failed", "memory_limit", "timeout", "cpu_limit"), outcome
    assert outcome.value in (None, "ran")
    assert pool.call(pool.load_source("def run():\n    return 1\n", "run")) == 1
