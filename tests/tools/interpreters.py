"""Interpreters of other versions whose environments lie beside this one: ``.venv3.12`` and the like."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parents[2]


def other_interpreters() -> list[str]:
    """Return the paths of their executables."""
    others = [HERE / f".venv{minor}" / "bin" / "python" for minor in ("3.11", "3.12", "3.13")]
    return [str(path) for path in others if path.exists() and str(path) != sys.executable]
