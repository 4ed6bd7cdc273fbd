"""What `ToolHandler` adds to a call of the pool: looking the tool up, checking its arguments, binding them by name."""

from __future__ import annotations

from contextlib import ExitStack

from benchmarks import peers
from benchmarks.harness import Effort, Race, Track, paired
from benchmarks.result import Row, quantile
from elf_pysandbox import ToolHandler

EVERY_S = 0.02
HANDLER, POOL, REQUEST = "ToolHandler.execute", "pool.call", "ToolHandler.execute_many, one request"
SOURCE = "def add(a: int, b: int = 2) -> int:\n    return a + b\n"


def measure(effort: Effort) -> list[Row]:
    """Time one tool with two annotated arguments, called both ways in turns."""
    race = Race(effort)
    with ExitStack() as stack:
        pool = stack.enter_context(peers.sandbox())
        tool = pool.load_source(SOURCE, "add", name="sums")
        handler = ToolHandler(pool)
        handler.add_tool(tool)
        handler.describe("add")
        contestants = {
            POOL: lambda: pool.call(tool, a=1, b=2),
            HANDLER: lambda: handler.execute("add", {"a": 1, "b": 2}),
            REQUEST: lambda: handler.execute_many({"name": "add", "arguments": {"a": 1, "b": 2}}),
        }
        tracks = race.latencies(contestants, effort.pick(24, 5), effort.pick(40, 20), EVERY_S)
    return [_row(tracks, race.foreign)]


def _row(tracks: dict[str, Track], foreign: float) -> Row:
    ours, theirs = tracks[HANDLER], tracks[POOL]
    return Row(
        key="handler",
        title="the same tool through ToolHandler: p50",
        unit="ms",
        ours=quantile(ours.samples, 0.5) * 1e3,
        theirs=quantile(theirs.samples, 0.5) * 1e3,
        peer=POOL,
        ratio=paired(ours, theirs),
        target=1.3,
        beside={name: track.summary() for name, track in tracks.items()},
        foreign=foreign,
    )
