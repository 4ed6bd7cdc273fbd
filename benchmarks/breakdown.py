"""Whose CPU time a no-op call is: ``python benchmarks/breakdown.py [--calls N] [--every SECONDS]``.

Host, template and workers are told apart by the kernel's own counts (/proc/PID/schedstat, cpuacct); page faults by
/proc/PID/stat. For what each spends it on, run this under ``perf record -e cpu-clock -g`` (docs/performance.md).
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # as in run.py

from benchmarks import peers
from benchmarks.meters import CpuMeter, cpu_meter
from benchmarks.victims import children_of
from elf_pysandbox import SandboxPool

_MINOR_FAULTS, _CHILDREN_FAULTS = 7, 8  # of the fields after the state, proc(5)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=500)
    parser.add_argument("--every", type=float, default=0.0, help="seconds between calls; 0: back to back")
    parser.add_argument("--tool", default=f"{peers.TOOLS}:noop")
    options = parser.parse_args()
    with cpu_meter() as meter, peers.sandbox() as pool:
        tool = pool.load(options.tool)
        for _ in range(50):
            pool.call(tool)
        before = _settled(meter, pool)
        for _ in range(options.calls):
            time.sleep(options.every)
            pool.call(tool)
        after = _settled(meter, pool)
    print(f"per call, {options.calls} calls; CPU counted by: {meter.how}")
    for name, value in after.items():
        print(f"  {name:32} {(value - before[name]) / options.calls:10.1f}")


def _settled(meter: CpuMeter, pool: SandboxPool) -> dict[str, float]:
    """Return the counts once what is off the path of the last call is done."""
    time.sleep(0.2)
    everything = meter.read() * 1e6
    host = time.process_time() * 1e6
    templates = _templates(pool)
    forkers = sum(_schedstat_us(pid) for pid in templates)
    return {
        "CPU, all processes, µs": everything,
        "  host, µs": host,
        "  template: fork and reap, µs": forkers,
        "  worker: start, call, exit, µs": everything - host - forkers,
        "page faults, template": sum(_stat_field(pid, _MINOR_FAULTS) for pid in templates),
        "page faults, worker": sum(_stat_field(pid, _CHILDREN_FAULTS) for pid in templates),
    }


def _templates(pool: SandboxPool) -> list[int]:
    """Return the pids of templates: the processes of the pool that are not children of this one."""
    own = {child for pid in pool.process_ids() for child in children_of(pid)}
    return [
        pid for pid in pool.process_ids() if pid in {grand for child in own for grand in children_of(child)}
    ]


def _schedstat_us(pid: int) -> float:
    """Return the CPU time of a process itself, without its children."""
    return int(Path(f"/proc/{pid}/schedstat").read_text(encoding="ascii").split()[0]) / 1e3


def _stat_field(pid: int, place: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[place])


if __name__ == "__main__":
    main()
