"""From nothing to a result: `import elf_pysandbox`, a pool, one call, in a new interpreter each time."""

from __future__ import annotations

import os
import subprocess
import sys
import time

from benchmarks import peers
from benchmarks.harness import Effort, Race, paired
from benchmarks.result import Row, quantile
from benchmarks.rows.tools import python_pass

_PROGRAM = """
import time
started = time.perf_counter()
from elf_pysandbox import SandboxPool, Policy
pool = SandboxPool(policy=Policy(profile="native"))
pool.call({target!r})
print(time.perf_counter() - started)
pool.shutdown()
"""


def measure(effort: Effort) -> list[Row]:
    """Time new interpreters; what counts is told from inside, the whole process stands beside."""
    race = Race(effort)
    program = _PROGRAM.format(target=f"{peers.TOOLS}:noop")
    whole: list[float] = []
    # Compiling every module anew, as this variable asks for, is nobody's cold start.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

    def first_result() -> float:
        started = time.perf_counter()
        command = [sys.executable, "-c", program]
        told = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
        whole.append(time.perf_counter() - started)
        return float(told)

    first_result()  # leaves the bytecode that any second start finds
    contestants = {"import to first result": first_result, "python -c pass": python_pass}
    tracks = race.spans(contestants, effort.pick(12, 4), 5)
    mine, base = tracks["import to first result"], tracks["python -c pass"]
    beside = {name: track.summary() for name, track in tracks.items()}
    beside["whole process, with exit"] = {"p50_ms": quantile(whole, 0.5) * 1e3}
    return [
        Row(
            key="cold",
            title="import elf_pysandbox to first result, cold: p50",
            unit="ms",
            ours=quantile(mine.samples, 0.5) * 1e3,
            theirs=quantile(base.samples, 0.5) * 1e3,
            peer="python -c pass",
            ratio=paired(mine, base),
            target=5.0,
            beside=beside,
            foreign=race.foreign,
        )
    ]
