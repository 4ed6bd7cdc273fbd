"""`pysandbox new`: what it writes works as it is."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from elf_pysandbox import ConfigurationError
from elf_pysandbox._cli import main
from elf_pysandbox._new.scaffold import check_name


def run(folder, *command):
    environ = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env=environ,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    folder = tmp_path_factory.mktemp("new") / "my-tools"
    ended = CliRunner().invoke(main, ["new", "my-tools", "--into", str(folder)])
    assert ended.exit_code == 0, ended.output
    return folder


def test_the_tests_of_a_new_package_pass(package):
    ended = run(package, "pytest", "-q", "-p", "no:cacheprovider")
    assert ended.returncode == 0, ended.stdout
    assert "5 passed" in ended.stdout


def test_the_limits_of_a_new_package_hold_for_its_commands(package):
    ended = run(package, "elf_pysandbox", "config", "memory_mb")
    assert ended.stdout.split() == ["memory_mb", "128", str(package / "pyproject.toml")]


def test_the_example_in_a_new_tools_docstring_is_true(package, tmp_path):
    ended = run(package, "elf_pysandbox", "docs", "my_tools", "-o", str(tmp_path))
    assert ended.returncode == 0, ended.stderr
    assert "promises something else" not in (tmp_path / "text.keywords.md").read_text()


def test_the_workflow_of_a_new_package_runs(package):
    pytest.importorskip("elf_pysandbox._cli.workflow", reason="no workflows in this version")
    pytest.importorskip("langgraph", reason="the extra langgraph is not installed")
    ended = run(package, "elf_pysandbox", "workflow", "run", "workflow.yaml")
    assert ended.returncode == 0, ended.stderr
    assert "quick" in ended.stdout


def test_nothing_is_written_into_a_folder_that_holds_something(tmp_path):
    (tmp_path / "mine").write_text("x")
    ended = CliRunner().invoke(main, ["new", "tools_of_mine", "--into", str(tmp_path)])
    assert ended.exit_code == 2
    assert os.listdir(tmp_path) == ["mine"]


@pytest.mark.parametrize("name", ["My", "1st", "class", "json", "a.b", "../up", "", "tests"])
def test_a_name_that_cannot_be_a_package_is_refused(name):
    with pytest.raises(ConfigurationError):
        check_name(name)
