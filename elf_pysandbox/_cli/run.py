"""`pysandbox run`: one call, live."""

from __future__ import annotations

import json
import shlex
import sys
from typing import Any

import click

from elf_pysandbox import InvalidArgumentsError, ItemEvent, Outcome, OutputEvent, SandboxError, SandboxPool
from elf_pysandbox._cli.exits import EXIT_OF_STATUS, calling
from elf_pysandbox._cli.options import arguments_from, call_options, limits_from, policy_from
from elf_pysandbox._cli.printing import envelope, print_failure, refuse, show_value, shown
from elf_pysandbox._cli.targets import Target, working_folder_for

_BY_POSITION = "is positional-only"
_NOT_OF_THE_VALUE = ("there is no such parameter", "given twice", _BY_POSITION)
"""How problems begin that an argument has whatever its value is."""


@click.command()
@click.argument("target", type=Target())
@call_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON envelope instead of live output.")
def run(
    target: str,
    arguments: str | None,
    pairs: tuple[str, ...],
    timeout: float | None,
    cpu: float | None,
    memory: int | None,
    profile: str | None,
    imports: tuple[str, ...],
    read: tuple[str, ...],
    write: tuple[str, ...],
    scratch: int,
    env: tuple[str, ...],
    as_json: bool,
) -> None:
    """Run one call of TARGET: "file.py:function" or "package.module:function".

    \b
    Examples:
      pysandbox run examples/text_tools.py:word_count --args '{"text": "to be or not to be"}'
      pysandbox run tools.py:total --arg rows='[1, 2]' --timeout 5 --json

    \b
    Exit codes: 0 ok, 1 raised, 2 usage, 3 denied, 4 arguments, 5 not found or not loadable, 6 result or
    output that cannot be used, 124 timeout or CPU limit, 125 fault of the sandbox, 130 interrupted, 137 memory
    limit, crash or killed, 141 nobody reads the output any more.
    """
    limits = limits_from(timeout, cpu, memory)
    policy = policy_from(profile, imports, read, write, scratch, env)
    args, kwargs = arguments_from(arguments, pairs)
    with SandboxPool(1, policy=policy, limits=limits, max_templates=1) as pool:
        try:
            tool = pool.load(target, python_path=working_folder_for(target))
            calling()
            outcome = pool.outcome(tool, *args, **kwargs) if as_json else _live(pool, tool, args, kwargs)
        except SandboxError as error:
            refuse(error, as_json=as_json)
        if as_json:
            click.echo(shown(json.dumps(envelope(outcome), ensure_ascii=False)))
        elif not outcome.ok:
            print_failure(outcome)
            _tell_how_it_was_read(outcome, pairs)
    sys.exit(EXIT_OF_STATUS[outcome.status])


def _tell_how_it_was_read(outcome: Outcome, pairs: tuple[str, ...]) -> None:
    """Say of each --arg that does not fit that it was taken for JSON, if it was: it may have been meant as text; and
    how arguments are given by position, if they must be."""
    if not isinstance(outcome.error, InvalidArgumentsError):
        return
    if any(told.startswith(_BY_POSITION) for _, told in outcome.error.problems):
        click.echo("arguments by position are a JSON array: --args '[...]'", err=True)
    wrong = {path for path, told in outcome.error.problems if not told.startswith(_NOT_OF_THE_VALUE)}
    for name, _, raw in (pair.partition("=") for pair in pairs):
        if name in wrong and not isinstance(arguments_from(None, (f"{name}={raw}",))[1][name], str):
            text = shlex.quote(json.dumps(raw, ensure_ascii=False))
            click.echo(f"{raw} is JSON; as text it is --arg {name}={text}", err=True)


def _live(pool: SandboxPool, tool: Any, args: list[Any], kwargs: dict[str, Any]) -> Outcome:
    """Print what happens as it happens; return the outcome, its value printed."""
    streamed = False
    ended = True  # the line that the tool last wrote
    for event in pool.stream(tool, *args, **kwargs):
        if isinstance(event, OutputEvent):
            err = event.stream == "stderr"
            click.echo(shown(event.text, err=err), nl=False, err=err)
            ended = event.text.endswith("\n") if not err else ended
        elif isinstance(event, ItemEvent) or (event.ok and not streamed):
            streamed = isinstance(event, ItemEvent)
            click.echo(("" if ended else "\n") + shown(show_value(event.value)))
            ended = True
    return event  # type: ignore[return-value]
