"""A profile as a speedscope file (https://www.speedscope.app/file-format-schema.json)."""

from __future__ import annotations

from typing import Any

from elf_pysandbox._profile.model import Profile

SCHEMA = "https://www.speedscope.app/file-format-schema.json"


def document(profile: Profile) -> dict[str, Any]:
    """Return the document: one sampled profile, weights in seconds, heaviest stack first."""
    frames: dict[tuple[str, str, int], int] = {}
    samples, weights = [], []
    for stack in sorted(profile.stacks, key=lambda stack: -stack.seconds):
        places = [(frame.name, frame.file, line) for frame, line in stack.frames]
        samples.append([frames.setdefault(place, len(frames)) for place in places])
        weights.append(stack.seconds)
    return {
        "$schema": SCHEMA,
        "shared": {"frames": [_frame(*place) for place in frames]},
        "profiles": [
            {
                "type": "sampled",
                "name": profile.target,
                "unit": "seconds",
                "startValue": 0,
                "endValue": sum(weights),
                "samples": samples,
                "weights": weights,
            }
        ],
        "name": profile.target,
        "activeProfileIndex": 0,
        "exporter": "pysandbox profile",
    }


def _frame(name: str, file: str, line: int) -> dict[str, Any]:
    frame: dict[str, Any] = {"name": name}
    return frame | ({"file": file, "line": line} if file else {})
