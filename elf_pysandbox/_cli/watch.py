"""`pysandbox watch`: a tool again on every save."""

from __future__ import annotations

import difflib
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import click

from elf_pysandbox import Outcome, PythonSecurityValidator, SandboxError, SandboxPool, Tool, to_json
from elf_pysandbox._cli.exits import EXIT_OF_STATUS, calling
from elf_pysandbox._cli.options import arguments_from, call_options, limits_from, policy_from
from elf_pysandbox._cli.printing import colours, escaped, message_of, print_failure, refuse, shown
from elf_pysandbox._cli.targets import Target, working_folder_for

_LOOK_EVERY_S = 0.05
Stamp = tuple[int, int, int]


@click.command()
@click.argument("target", type=Target())
@call_options
@click.option("--runs", type=click.IntRange(min=1), help="End after so many runs.")
def watch(
    target: str, arguments: str | None, pairs: tuple[str, ...], runs: int | None, **options: Any
) -> None:
    """Run TARGET now and on every save of its file or a module it imports; show what changed in the result.

    The source is checked again and the call made in a fresh process each time. Ctrl-C ends it. What is not there at
    the start is told at once; a module that does not load is waited for.

    \b
    Examples:
      pysandbox watch examples/text_tools.py:word_count --args '{"text": "to be or not to be"}'
      pysandbox watch tools.py:total --arg rows='[1, 2]' --timeout 5

    \b
    Exit codes: 0 ended by Ctrl-C, 2 usage, 5 no such tool; with --runs, as of `pysandbox run` for the last run.
    """
    args, kwargs = arguments_from(arguments, pairs)
    policy = policy_from(
        *(options[name] for name in ("profile", "imports", "read", "write", "scratch", "env"))
    )
    limits = limits_from(options["timeout"], options["cpu"], options["memory"])
    with SandboxPool(1, policy=policy, limits=limits, max_templates=2) as pool:
        try:
            last = _Last()
            for count, changed in enumerate(_saves(pool, target), start=1):
                _run(pool, target, args, kwargs, changed, last)
                if count == runs or (count == 1 and last.status == "not_found"):
                    sys.exit(EXIT_OF_STATUS[last.status])
        except KeyboardInterrupt:
            click.echo("", err=True)


@dataclass(slots=True)
class _Last:
    """How the last run ended, and the lines of the last one that ended well: the next are held against them."""

    status: str = "ok"
    lines: list[str] | None = None


def _saves(pool: SandboxPool, target: str) -> Iterator[list[str]]:
    """Yield the files that changed: none at first, then whenever a save was seen."""
    try:
        files = _sources(pool.load(target, python_path=working_folder_for(target)))
    except SandboxError as error:
        refuse(error)
    if not files:
        raise click.UsageError(f"{target!r} is in no file of its own: there is nothing to watch")
    stamps = {file: _stamp(file) for file in files}
    yield []
    click.echo(f"watching {', '.join(map(os.path.relpath, files))}; Ctrl-C ends", err=True)
    while True:
        time.sleep(_LOOK_EVERY_S)
        changed = [file for file in files if _stamp(file) != stamps[file]]
        if not changed:
            continue
        if any(_stamp(file) is None for file in changed):
            continue  # An editor that saves by renaming has the file gone for a moment.
        # What is imported may have changed as well.
        files = _files(pool, target) or files
        stamps = {file: _stamp(file) for file in files}
        yield changed


def _files(pool: SandboxPool, target: str) -> list[str]:
    try:
        return _sources(pool.load(target, python_path=working_folder_for(target)))
    except SandboxError:
        return []


def _sources(tool: Tool) -> list[str]:
    paths = (tool.context.path, *(each.path for each in tool.context.siblings))
    return [path for path in paths if path.endswith(".py")]


def _stamp(file: str) -> Stamp | None:
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _run(
    pool: SandboxPool,
    target: str,
    args: list[Any],
    kwargs: dict[str, Any],
    changed: list[str],
    last: _Last,
) -> None:
    """Make one call and show it."""
    start = time.perf_counter()
    head = f"── {time.strftime('%H:%M:%S')} " + ", ".join(os.path.relpath(file) for file in changed)
    click.echo(head.rstrip())
    try:
        tool = pool.load(target, python_path=working_folder_for(target))
        calling()
        outcome = pool.outcome(tool, *args, **kwargs)
        _check(pool, tool)
    except SandboxError as error:
        last.status = getattr(error, "status", "fault")
        click.echo(f"{last.status}: {escaped(message_of(error))}", err=True)
        return
    last.status = outcome.status
    spent = time.perf_counter() - start
    if not outcome.ok:
        click.echo(shown(outcome.stdout), nl=False)
        print_failure(outcome)
        return
    lines = _lines(outcome)
    click.echo(f"ok, {1000 * outcome.usage.wall_s:.1f} ms ({1000 * spent:.0f} ms with loading)")
    _show(lines, last.lines)
    last.lines = lines


def _check(pool: SandboxPool, tool: Tool) -> None:
    """Show what the language policy finds in the tool's module: also what this call did not come across."""
    policy, context = pool.policy, tool.context
    if policy.profile != "restricted" or not context.path.endswith(".py"):
        return
    granted = bool(policy.files.read or policy.files.write or policy.files.scratch_mb)
    validator = PythonSecurityValidator(policy.allowed_imports, files_granted=granted)
    names = [sibling.name for sibling in context.siblings]
    for found in validator.check(context.source_bytes, os.path.relpath(context.path), siblings=names):
        line = escaped(found.format())
        click.echo(click.style(line, fg="yellow") if colours() else line, err=True)


def _lines(outcome: Outcome) -> list[str]:
    value = json.dumps(to_json(outcome.value, for_programs=True), ensure_ascii=False, indent=2)
    return [*outcome.stdout.splitlines(), *value.splitlines()]


def _show(lines: list[str], before: list[str] | None) -> None:
    if before is None:
        click.echo(shown("\n".join(lines)))
    elif lines == before:
        click.echo("same result")
    else:
        for line in list(difflib.unified_diff(before, lines, lineterm="", n=2))[2:]:
            click.echo(_coloured(shown(line)))


def _coloured(line: str) -> str:
    shade = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1])
    return click.style(line, fg=shade) if shade and colours() else line
