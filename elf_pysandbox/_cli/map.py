"""`pysandbox map`: a tool over a file of JSON lines."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from elf_pysandbox import Outcome, SandboxError, SandboxPool, to_json
from elf_pysandbox._cli.exits import calling
from elf_pysandbox._cli.options import (
    InputFile,
    arguments_from,
    call_options,
    default_workers,
    limits_from,
    policy_from,
    refuse_usage,
)
from elf_pysandbox._cli.printing import error_fields, escaped, refuse
from elf_pysandbox._cli.targets import Target, working_folder_for

if TYPE_CHECKING:
    from elf_pysandbox._map.runner import Counts


@click.command("map")
@click.argument("target", type=Target())
@click.option("--input", "source", type=InputFile(), required=True, help="JSON lines: one call a line.")
@click.option("--output", "-o", "result", type=click.Path(dir_okay=False, path_type=Path), required=True)
@call_options
@click.option("--workers", type=click.IntRange(min=1), help="Calls in flight at once.")
@click.option(
    "--retries", type=click.IntRange(min=0), default=2, show_default=True, help="For accidents only."
)
@click.option("--restart", is_flag=True, help="Throw away what the output holds.")
@click.option("--retry-failed", is_flag=True, help="Run again the rows that did not end ok.")
@click.option("--quiet", "-q", is_flag=True, help="No progress.")
def map_rows(
    target: str,
    source: Path,
    result: Path,
    arguments: str | None,
    pairs: tuple[str, ...],
    workers: int | None,
    retries: int,
    restart: bool,
    retry_failed: bool,
    quiet: bool,
    **options: Any,
) -> None:
    """Call TARGET once for every line of --input; write one line for each to --output.

    An object is the call's keyword arguments, an array its positional ones, anything else its one argument;
    --args adds keyword arguments to every call. Both must be files, not pipes. Lines are written as calls end:
    "row" tells which one.
    Interrupted in any way, the same command goes on where it stopped; each row is in the output exactly once.

    \b
    Examples:
      pysandbox map examples/text_tools.py:word_count --input rows.jsonl --output counts.jsonl
      pysandbox map tools.py:score --input rows.jsonl -o scores.jsonl --workers 64 --timeout 5
      pysandbox map tools.py:score --input rows.jsonl -o scores.jsonl --retry-failed

    \b
    Exit codes: 0 all rows ok, 1 some failed, 2 usage, 5 no such tool, 130 interrupted (run again to go on).
    """
    from elf_pysandbox._map.output import Output

    for option, path in (("--input", source), ("--output", result)):
        _seekable(option, path)
    _two_files(source, result)
    args, fixed = arguments_from(arguments, pairs)
    if args:
        raise click.UsageError("--args must be an object here: positional arguments come from the rows")
    limits = limits_from(options["timeout"], options["cpu"], options["memory"])
    grants = (options[name] for name in ("profile", "imports", "read", "write", "scratch", "env"))
    policy = policy_from(*grants)
    with refuse_usage():
        count = workers or default_workers()
        output = Output(result, restart=restart, retry_failed=retry_failed)
    with closing(output), SandboxPool(count, policy=policy, limits=limits) as pool:
        sys.exit(_run(pool, target, source, output, retries, fixed, quiet))


def _seekable(option: str, path: Path) -> None:
    """Refuse a pipe or device: the input is read twice and again to go on, the output is the record of that."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise click.UsageError(
            f"{option} {path} is a pipe or a device: a map can only be resumed with files; save it to one first"
        )


def _two_files(source: Path, result: Path) -> None:
    """Refuse an input that the run would write to, by whatever name: it is nowhere else."""
    from elf_pysandbox._map.output import part_of

    for written in (result, part_of(result)):
        if os.path.exists(written) and os.path.samefile(source, written):
            raise click.UsageError(
                f"--output {result} would overwrite the input, {source}: name another file"
            )


def _run(
    pool: SandboxPool,
    target: str,
    source: Path,
    output: Any,
    retries: int,
    fixed: dict[str, Any],
    quiet: bool,
) -> int:
    from elf_pysandbox._map.progress import Progress
    from elf_pysandbox._map.rows import call_digest, lines_of
    from elf_pysandbox._map.runner import Runner

    total = sum(1 for _ in lines_of(source))
    try:
        tool = pool.load(target, python_path=working_folder_for(target))
        output.begin(call_digest(f"{tool.context.name}:{tool.path}", fixed))
        calling()
        with Progress(total, len(output.done), quiet=quiet) as progress:
            runner = Runner(
                pool, tool, source, output, window=2 * pool.max_workers, retries=retries, fixed=fixed,
                fields_of=_fields, tick=progress.tick,
            )  # fmt: skip
            with _stop_on_signals(runner.stop) as received:
                whole = runner.run()
            if whole:
                output.finish()
            summary = progress.line(runner.counts)
    except SandboxError as error:
        output.abandon()
        refuse(error)
    click.echo(summary, err=True)
    if runner.counts.failed and runner.counts.failed == runner.counts.done:
        click.echo(_all_failed(runner.counts), err=True)
    if not whole:
        click.echo("interrupted: run the same command again to go on", err=True)
        return 128 + received[0]
    return 1 if runner.counts.failed else 0


def _all_failed(counts: Counts) -> str:
    """Return the error of the first row that failed, and how to go on when its cause is mended."""
    told = "all rows failed"
    if counts.first_failure is not None:
        row, status, message = counts.first_failure
        told += f"; row {row}: {status}: {escaped(message)}"
    return f"{told}\nto run them again: --retry-failed; with another function or other arguments: --restart"


def _fields(outcome: Outcome) -> dict[str, Any]:
    if outcome.ok:
        return {"value": to_json(outcome.value, for_programs=True)}
    return {"error": error_fields(outcome.error)}


@contextmanager
def _stop_on_signals(stop: Callable[[], None]) -> Iterator[list[int]]:
    """Turn SIGINT and SIGTERM into a request to stop; a second one ends the program as usual."""
    received: list[int] = []
    before: dict[int, Any] = {}

    def handle(number: int, frame: FrameType | None) -> None:
        received.append(number)
        for each, handler in before.items():
            signal.signal(each, handler)
        stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, handle)
    try:
        yield received
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
