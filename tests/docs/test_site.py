"""The site is built from docs/ without a warning, and its pages open in a browser."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

from tests.docs.pages import ROOT
from tests.kit.browser import needs_chromium, open_page

needs_mkdocs = pytest.mark.skipif(
    importlib.util.find_spec("mkdocs") is None or importlib.util.find_spec("mkdocstrings") is None,
    reason="the extra docs is not installed (nox -s docs has it)",
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@needs_mkdocs
def test_the_site_is_built_strictly_with_every_page(site):
    pages = {page.stem for page in (ROOT / "docs").glob("*.md")} - {"index"}
    assert {page for page in pages if not (site / page / "index.html").exists()} == set()


@needs_mkdocs
def test_the_reference_has_signatures_and_docstrings(site):
    text = (site / "api" / "index.html").read_text(encoding="utf-8")
    for words in (
        "SandboxPool",
        "max_queued",
        "Seconds from sending the call to its outcome",
        "assert_same_as_plain",
    ):
        assert words in text
    assert "pysandbox profile" in (site / "cli" / "index.html").read_text(encoding="utf-8")


@needs_mkdocs
@needs_chromium
def test_a_page_of_the_site_opens_in_a_browser(site, tmp_path):
    document = open_page(site / "tutorial" / "index.html", tmp_path, screenshot="tutorial.png")
    assert "From nothing to a tested tool" in document
