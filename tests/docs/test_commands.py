"""Every command of README and docs does what the page says."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import click
import pytest

from elf_pysandbox._cli import COMMANDS, main
from tests.docs.pages import ROOT, Block, Workplace, blocks_of, matches

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PYTHON_ELSEWHERE = {"rules.md", "THREATS.md", "ARCHITECTURE.md", "workflows.md", "elf.md"}
"""Pages whose Python blocks are fragments, or run by tests of their own."""
RUN_BY_CI = re.compile(r"^(python3 -m venv|\.venv/bin/python -m pytest)")
"""Commands that install the project or run all its tests: `.ci/run` takes them from README, word for word."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_a_page_runs_as_written(page, tmp_path):
    place = Workplace(tmp_path)
    for block in blocks_of(page):
        run_block(page, block, place)


def run_block(page: Path, block: Block, place: Workplace) -> None:
    where = f"{page.name}:{block.line}"
    if block.marks.get("needs") not in (None, *COMMANDS):
        return
    if block.title:
        place.write(block.title, block.text)
    elif block.language == "python" and page.name not in PYTHON_ELSEWHERE:
        code, output = place.python(block.text)
        assert code == 0, f"{where}\n{output}"
    elif block.language in ("console", "bash", "sh", "shell"):
        for command in block.commands():
            if RUN_BY_CI.match(command.text):
                continue
            run_command(f"{page.name}:{command.line}", command, place)


def run_command(where, command, place):
    if command.interrupt:
        code, output = place.interrupted(command.text, command.expected)
    else:
        code, output = place.shell(command.text)
    assert code == command.exit, f"{where}: $ {command.text}\n{output}"
    if command.expected:
        shown = "\n".join(command.expected)
        assert matches(command.expected, output), (
            f"{where}: $ {command.text}\n{output}\n-- the page says --\n{shown}"
        )


def test_the_commands_left_to_ci_are_the_ones_it_takes_from_readme():
    script = (ROOT / ".ci" / "run").read_text()
    left = [
        command.text.strip()
        for page in PAGES
        for block in blocks_of(page)
        if block.language in ("console", "bash")
        for command in block.commands()
        if RUN_BY_CI.match(command.text)
    ]
    readme = (ROOT / "README.md").read_text()
    assert all(line in readme for line in left)
    assert "README.md" in script
    assert len(left) <= 2


def test_the_reference_is_filled_with_every_command_and_option():
    spec = importlib.util.spec_from_file_location("docs_hooks", ROOT / "docs" / "hooks.py")
    hooks = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hooks)
    text = hooks.on_page_markdown((ROOT / "docs" / "cli.md").read_text(), page=None)
    for name in COMMANDS:
        assert f"## `pysandbox {name}`" in text
    assert all(flag in text for flag in ("--speedscope", "--retry-failed", "--allow-import"))


def test_every_message_of_the_troubleshooting_page_is_one_that_the_program_can_say():
    code = "".join(
        path.read_text() for path in (*ROOT.glob("elf_pysandbox/**/*.py"), *ROOT.glob("worker/**/*.py"))
    )
    code = re.sub(r'"\s*\n\s*f?"', "", code)
    headings = re.findall(r"^### `(.+)`$", (ROOT / "docs" / "troubleshooting.md").read_text(), re.MULTILINE)
    assert len(headings) > 15
    unknown = [
        heading
        for heading in headings
        if not all(part in code for part in heading.split("…") if part.strip())
    ]
    assert unknown == []


def test_what_a_page_shows_is_matched_with_wildcards_only_where_it_says_so():
    assert matches(["a", "…", "b 1 c"], "a\nx\ny\nb   1 c\n")
    assert matches(["a …"], "a anything")
    assert not matches(["a"], "a\nb\n")
    assert not matches(["a.c"], "abc\n")


def test_every_command_and_subcommand_has_an_example_in_its_help():
    def leaves(words, command):
        if isinstance(command, click.Group):
            for name in command.list_commands(click.Context(command)):
                yield from leaves([*words, name], command.get_command(click.Context(command), name))
        else:
            yield " ".join(words), command.help or ""

    without = [name for name, text in leaves(["pysandbox"], main) if f"  {name}" not in text]
    assert without == []
