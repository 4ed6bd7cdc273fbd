"""A hundred workflows at once on one pool: nobody gets another's values, and nothing grows."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from elf_pysandbox import Limits, Policy, SandboxPool, parse_workflow
from tests.processes import descendants, survivors

pytest.importorskip("langgraph")

WORKFLOWS = 100
WORKERS = 8
STEPS = "".join(
    f"    - {{name: s{at}, file: steps.py, function: step, output: s{at},\n"
    f"       parameters: {{who: '${{state.who}}', before: '${{state.s{at - 1}}}'}}}}\n"
    for at in range(1, 6)
)
DOCUMENT = "state: {s0: []}\nfunctions:\n  python_functions:\n" + STEPS
TOOL = "import os\ndef step(who, before):\n    return [*before, [who, len(before), os.getpid()]]\n"


class Watch(threading.Thread):
    """Sees how many calls are in flight."""

    def __init__(self, pool: SandboxPool) -> None:
        super().__init__(daemon=True)
        self._pool, self._ended, self.most = pool, threading.Event(), 0

    def run(self) -> None:
        while not self._ended.wait(0.005):
            self.most = max(self.most, self._pool.statistics().busy)

    def end(self) -> int:
        self._ended.set()
        self.join()
        return self.most


async def hundred(workflow: Any, pool: SandboxPool) -> list[dict[str, Any]]:
    compiled = workflow.compile(pool)
    states = [workflow.initial_state({"who": f"w{number}"}) for number in range(WORKFLOWS)]
    return list(await asyncio.gather(*(compiled.ainvoke(state) for state in states)))


def test_a_hundred_workflows_of_five_calls_never_mix_and_leave_nothing(tmp_path: Path) -> None:
    (tmp_path / "steps.py").write_text(TOOL)
    workflow = parse_workflow(DOCUMENT, tmp_path / "flow.yaml")
    rounds = int(os.environ.get("PYSANDBOX_SOAK_ROUNDS", "2"))
    others, descriptors = descendants(os.getpid()), None
    with SandboxPool(WORKERS, policy=Policy(profile="native"), limits=Limits(wall_s=20)) as pool:
        watch = Watch(pool)
        watch.start()
        for _ in range(rounds):
            for number, state in enumerate(asyncio.run(hundred(workflow, pool))):
                steps = state["s5"]
                assert [(who, at) for who, at, _ in steps] == [(f"w{number}", at) for at in range(5)]
                assert [len(state[f"s{at}"]) for at in range(6)] == list(range(6))
            now = len(os.listdir("/proc/self/fd"))
            descriptors = descriptors or now
            # A few for each worker the pool may have at once, however many calls there were.
            assert now <= descriptors + 4 * WORKERS
        assert 1 <= watch.end() <= WORKERS
        statistics = pool.statistics()
        assert statistics.calls == {"ok": rounds * WORKFLOWS * 5}
        assert (statistics.busy, statistics.queued) == (0, 0)
        inside = descendants(os.getpid()) - others
        assert len(inside) >= 3
    assert survivors(inside) == set()
