"""What a pool tells about itself at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Latencies:
    """Distribution of the last 4,096 successful calls, in seconds from sending to outcome."""

    count: int
    p50: float
    p90: float
    p99: float
    longest: float


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """A snapshot of a pool.

    Attributes
    ----------
    idle, busy, queued : int
        Workers that wait for a call, calls in flight, calls that wait for admission.
    templates, reserve : int
        Templates with a loaded module, and blank confined ones.
    restarts : int
        Templates and zygotes that ended without being asked to.
    calls : mapping of status to int
        Every settled call, by how it ended.
    latencies : Latencies
    """

    idle: int
    busy: int
    queued: int
    templates: int
    reserve: int
    restarts: int
    calls: Mapping[str, int]
    latencies: Latencies


def latencies_of(samples: list[float]) -> Latencies:
    """Return the distribution of samples in seconds."""
    if not samples:
        return Latencies(0, 0.0, 0.0, 0.0, 0.0)
    ordered = sorted(samples)
    last = len(ordered) - 1
    at = [ordered[round(last * share)] for share in (0.5, 0.9, 0.99)]
    return Latencies(len(ordered), at[0], at[1], at[2], ordered[last])
