"""10 MB there and back, as bytes and as an array."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from benchmarks import peers, tools
from benchmarks.harness import Effort, Race, Track, paired
from benchmarks.result import Row, quantile

SIZE = 10_000_000
NUMPY = str(Path(peers.TOOLS).with_name("tools_numpy.py"))
EXECUTOR, PIPE = "ProcessPoolExecutor", "pipe"


def measure(effort: Effort) -> list[Row]:
    """Time echoes of both kinds in the same rounds."""
    import numpy as np

    data = bytes(range(250)) * (SIZE // 250)
    array = np.arange(SIZE // 8, dtype=np.float64)
    race = Race(effort)
    with ExitStack() as stack:
        pipe = stack.enter_context(peers.pipe_echo(SIZE))
        executor = stack.enter_context(peers.executor())
        pool = stack.enter_context(peers.sandbox())
        tool, arrays = pool.load(f"{peers.TOOLS}:echo"), pool.load(f"{NUMPY}:echo")
        assert pool.call(tool, data) == data
        assert np.array_equal(pool.call(arrays, array), array)
        contestants = {
            PIPE: pipe,
            "bytes": lambda: pool.call(tool, data),
            f"bytes, {EXECUTOR}": lambda: executor.submit(tools.echo, data).result(),
            "array": lambda: pool.call(arrays, array),
            f"array, {EXECUTOR}": lambda: executor.submit(tools.echo, array).result(),
        }
        tracks = race.latencies(contestants, effort.pick(12, 4), effort.pick(10, 5))
    return [
        _row(tracks, "bytes", "10 MB bytes, echoed: p50", 0.4, race.foreign),
        _row(tracks, "array", "10 MB ndarray, echoed: p50", 0.25, race.foreign),
    ]


def _row(tracks: dict[str, Track], kind: str, title: str, target: float, foreign: float) -> Row:
    mine, his, pipe = tracks[kind], tracks[f"{kind}, {EXECUTOR}"], tracks[PIPE]
    return Row(
        key=f"large_{kind}",
        title=title,
        unit="ms",
        ours=quantile(mine.samples, 0.5) * 1e3,
        theirs=quantile(his.samples, 0.5) * 1e3,
        peer=EXECUTOR,
        ratio=paired(mine, his),
        target=target,
        beside={name: track.summary() for name, track in tracks.items()} if kind == "bytes" else {},
        note=f"{paired(mine, pipe):.2f} x the pipe limit (1 MiB buffer, there and back)",
        foreign=foreign,
    )
