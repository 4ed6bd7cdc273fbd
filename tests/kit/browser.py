"""Headless Chromium for the tests of pages; a test that needs it is skipped by name where there is none."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine (apt-get install chromium)"
)
ARTIFACTS = Path(os.environ.get("PYSANDBOX_ARTIFACTS", Path(__file__).parents[2] / ".artifacts"))
_FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1200,800",
]


def open_page(page: Path, folder: Path, *, screenshot: str | None = None) -> str:
    """Open a page and return its document as the browser has it once scripts ran.

    With `screenshot`, the picture is left under that name in the folder of artefacts.
    """
    flags = [*_FLAGS, f"--user-data-dir={folder / 'profile'}"]
    shot = []
    if screenshot is not None:
        ARTIFACTS.mkdir(parents=True, exist_ok=True)
        shot = [f"--screenshot={ARTIFACTS / screenshot}"]
    done = subprocess.run(
        [str(CHROMIUM), *flags, *shot, "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    if screenshot is not None and not (ARTIFACTS / screenshot).exists():
        # Not every version takes both in one run.
        subprocess.run(
            [str(CHROMIUM), *flags, *shot, page.as_uri()], capture_output=True, timeout=120, check=True
        )
    return done.stdout
