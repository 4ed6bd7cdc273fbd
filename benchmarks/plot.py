"""The table as a picture: each ratio against its target, and the paced latencies of all pools."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.result import Row

_GOOD, _BAD, _OTHER, _OURS = "#2f7d4f", "#b3392f", "#9aa5b1", "#24577f"


def draw(rows: Sequence[Row], path: Path) -> list[Path]:
    """Write `path` with the suffixes .png and .svg; returns both."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"font.size": 9, "svg.hashsalt": "bench", "axes.spines.top": False})
    paced = next((row for row in rows if row.key == "paced_p50"), None)
    figure, axes = plt.subplots(
        1 + (paced is not None), 1, figsize=(9, 1.5 + 0.36 * len(rows) + (2.6 if paced else 0)),
        height_ratios=[len(rows) + 2, 8] if paced else None, squeeze=False,
    )  # fmt: skip
    _ratios(axes[0][0], rows)
    if paced is not None:
        _latencies(axes[1][0], paced)
    figure.tight_layout()
    written = [path.with_suffix(suffix) for suffix in (".png", ".svg")]
    for target in written:
        figure.savefig(target, dpi=140, metadata={"Date": None} if target.suffix == ".svg" else None)
    plt.close(figure)
    return written


def _ratios(axis: Any, rows: Sequence[Row]) -> None:
    """Draw how far each row is on the right side of its target, 1 being the target itself."""
    names = [row.title for row in rows]
    margins = [row.target / row.ratio if row.sense == "at most" else row.ratio / row.target for row in rows]
    colours = [_GOOD if row.reached else _BAD for row in rows]
    axis.barh(names, [margin - 1 for margin in margins], left=1, color=colours)
    axis.axvline(1, color="black", linewidth=1)
    axis.set_xscale("log")
    axis.set_xlim(min(0.4, *margins) * 0.8, max(2.0, *margins) * 1.6)
    axis.invert_yaxis()
    axis.set_xlabel("times better than the target (log scale); left of the line is not reached")
    for place, (row, margin) in enumerate(zip(rows, margins, strict=True)):
        sign = "≤" if row.sense == "at most" else "≥"
        text = f"{row.ratio:.2f}× ({sign} {row.target:g}×)"
        axis.annotate(
            text, (max(margin, 1), place), (4, 0), textcoords="offset points", va="center", fontsize=8
        )


def _latencies(axis: Any, paced: Row) -> None:
    """Draw p50 and p99 of every pool."""
    names = list(paced.beside)
    for offset, key, alpha in ((-0.2, "p50_ms", 1.0), (0.2, "p99_ms", 0.45)):
        values = [paced.beside[name][key] for name in names]
        places = [place + offset for place in range(len(names))]
        colours = [_OURS if name == names[0] else _OTHER for name in names]
        axis.barh(places, values, height=0.38, color=colours, alpha=alpha)
        for place, value in zip(places, values, strict=True):
            axis.annotate(
                f"{key[:3]} {value:.2f} ms", (value, place), (4, 0), textcoords="offset points",
                va="center", fontsize=7,
            )  # fmt: skip
    axis.set_yticks(range(len(names)), names)
    axis.invert_yaxis()
    axis.set_xscale("log")
    axis.margins(x=0.25)
    axis.set_xlabel("no-op call, one every 20 ms: ms (log scale)")
