"""A folder with tools beside the documents under test."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tools.py").write_text(
        "def double(x=1):\n    return 2 * x\n\n\ndef boom():\n    raise ValueError('no')\n", encoding="utf-8"
    )
    (tmp_path / "cycle_a.yaml").write_text("include: cycle_b.yaml\n", encoding="utf-8")
    (tmp_path / "cycle_b.yaml").write_text("include: cycle_a.yaml\n", encoding="utf-8")
    return tmp_path
