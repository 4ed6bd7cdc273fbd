"""What a measurement says: one `Row` for each line of the table, with all that was measured beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Sense = Literal["at most", "at least"]


def quantile(samples: Sequence[float], share: float) -> float:
    """Return the sample below which `share` of all samples lie (nearest rank)."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def median(samples: Sequence[float]) -> float:
    """Return the middle sample, or the mean of the two in the middle."""
    ordered = sorted(samples)
    half = len(ordered) // 2
    return ordered[half] if len(ordered) % 2 else (ordered[half - 1] + ordered[half]) / 2


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes
    ----------
    key : str
        Name for `--only` and for the JSON.
    title : str
    unit : str
        Of `ours` and `theirs`.
    ours, theirs : float
        Medians over all rounds.
    peer : str
        What stands beside: another pool, the kernel's own price, or a number.
    ratio : float
        The median of the rounds' ratios where rounds are paired, else `ours / theirs`; held against `target`.
    target : float
    sense : "at most" or "at least"
    beside : mapping of name to mapping of measure to number
        Everything else that ran in the same rounds.
    note : str
    foreign : float
        Share of the machine that other programs used meanwhile, 0 to 1.
    """

    key: str
    title: str
    unit: str
    ours: float
    theirs: float
    peer: str
    ratio: float
    target: float
    sense: Sense = "at most"
    beside: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    note: str = ""
    foreign: float = 0.0

    @property
    def reached(self) -> bool:
        """Whether the target is met."""
        return self.ratio <= self.target if self.sense == "at most" else self.ratio >= self.target

    def to_json(self) -> dict[str, Any]:
        """Return the row as plain values."""
        return {**asdict(self), "reached": self.reached}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Row:
        """Return the row that `to_json` wrote down."""
        return cls(**{key: value for key, value in data.items() if key != "reached"})
