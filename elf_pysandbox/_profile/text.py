"""A profile as text for a terminal."""

from __future__ import annotations

import os

from elf_pysandbox._profile.model import Distribution, Profile

_BAR = 30


def render(profile: Profile, *, rows: int = 12) -> str:
    """Return the report: figures, hottest functions and lines, memory, where a call's time goes."""
    parts = [_head(profile), _functions(profile, rows), _lines(profile, rows), _memory(profile, rows)]
    parts += [_phases(profile), _histogram(profile.phases.total)]
    return "\n\n".join(part for part in parts if part)


def seconds(value: float) -> str:
    """Return a duration with three digits and its unit."""
    for factor, unit in ((1, "s"), (1e3, "ms")):
        if value * factor >= 1:
            return f"{value * factor:.3g} {unit}" if value * factor < 1000 else f"{value * factor:.0f} {unit}"
    return f"{value * 1e6:.3g} µs"


def size(value: float) -> str:
    """Return bytes with their unit."""
    for factor, unit in ((1 << 20, "MiB"), (1 << 10, "KiB")):
        if value >= factor:
            return f"{value / factor:.1f} {unit}"
    return f"{value:.0f} B"


def _head(profile: Profile) -> str:
    how = (
        f"{profile.samples} samples"
        if profile.mode == "sample"
        else "every line traced (too short to sample)"
    )
    median_of = len(profile.phases.run.values)
    resident, allocated = profile.peak_memory_mb, size(profile.peak_bytes)
    return "\n".join(
        (
            profile.target,
            f"  wall {seconds(profile.wall_s)}, cpu {seconds(profile.cpu_s)} (median of {median_of})",
            f"  peak memory {resident:.1f} MiB resident, {allocated} allocated by the call",
            f"  first call {seconds(profile.load_s)} with confinement and import; stacks from {how}",
        )
    )


def _functions(profile: Profile, rows: int) -> str:
    whole = profile.seconds or 1.0
    table = [f"{'own':>7} {'total':>7}  function"]
    for frame, own, total in profile.functions()[:rows]:
        where = f"{os.path.basename(frame.file)}:{frame.line}" if frame.file else ""
        table.append(f"{own / whole:>7.1%} {total / whole:>7.1%}  {frame.name}  {where}".rstrip())
    return "Hottest functions\n" + "\n".join(table) if profile.stacks else ""


def _lines(profile: Profile, rows: int) -> str:
    whole = profile.seconds or 1.0
    table = [
        f"{spent / whole:>7.1%}  {os.path.basename(file)}:{line:<5} {profile.source(file, line)}"
        for file, line, spent in profile.lines()[:rows]
    ]
    return "Hottest lines\n" + "\n".join(table) if table else ""


def _memory(profile: Profile, rows: int) -> str:
    table = [
        f"{size(item.bytes):>10} {item.blocks:>7} blocks  {os.path.basename(item.file)}:{item.line:<5} "
        f"{profile.source(item.file, item.line)}"
        for item in profile.allocated[:rows]
    ]
    if profile.note:
        return f"note: {profile.note}"
    return "Allocated by line when most was\n" + "\n".join(table) if table else ""


def _phases(profile: Profile) -> str:
    table = [f"{'phase':<9} {'p50':>9} {'p90':>9} {'p99':>9}"]
    for name in ("prepare", "queue", "carry", "run", "total"):
        values: Distribution = getattr(profile.phases, name)
        table.append(" ".join([f"{name:<9}", *(f"{seconds(values.percentile(p)):>9}" for p in (50, 90, 99))]))
    overhead = profile.phases.total.percentile(50) - profile.phases.run.percentile(50)
    return "\n".join((f"Where a call's time goes (overhead {seconds(max(overhead, 0))} at p50)", *table))


def _histogram(values: Distribution) -> str:
    if len(values.values) < 2:
        return ""
    bins = values.histogram()
    most = max(count for _, _, count in bins) or 1
    table = [f"{seconds(low):>9} │{'█' * round(_BAR * count / most)} {count}" for low, _, count in bins]
    return f"Total time of {len(values.values)} calls\n" + "\n".join(table)
