"""`pysandbox workflow`: run, check and draw workflow documents."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from elf_pysandbox import (
    ConfigurationError,
    DocumentError,
    NodeEvent,
    PythonNode,
    SandboxError,
    SandboxPool,
    Workflow,
    WorkflowError,
    load_workflow,
    public_state,
    to_json,
    validate_workflow,
    workflow_mermaid,
    workflow_schema,
    workflow_svg,
)
from elf_pysandbox._cli.exits import EXIT_OF_STATUS, USAGE, calling
from elf_pysandbox._cli.options import (
    VariableName,
    allow_import,
    default_workers,
    limits_from,
    once,
    policy_from,
    writing,
)
from elf_pysandbox._cli.printing import colours, counted, error_fields, escaped, shown
from elf_pysandbox._cli.reading import given_json, json_kind

_FILE = click.argument("file", type=click.Path(dir_okay=False))


@click.group()
def workflow() -> None:
    """Run, check and draw workflow documents (YAML).

    \b
    Examples:
      pysandbox workflow run flow.yaml --state '{"raw_data": [1, 2]}'
      pysandbox workflow validate flow.yaml
      pysandbox workflow graph flow.yaml --svg flow.svg
      pysandbox workflow schema > workflow.schema.json
    """


@workflow.command()
@_FILE
@click.option(
    "--state",
    "text",
    multiple=True,
    callback=once,
    metavar="JSON",
    help="The state before the first node: a JSON object, @FILE, or -.",
)
@click.option("--profile", type=click.Choice(["restricted", "native"]), help="For nodes that name none.")
@allow_import("Let every node import MODULE.")
@click.option("--read", multiple=True, metavar="PATH", help="Let every node read PATH.")
@click.option("--write", multiple=True, metavar="PATH", help="Let every node read and write PATH.")
@click.option(
    "--env", type=VariableName(), multiple=True, metavar="NAME", help="Pass the environment variable NAME on."
)
@click.option("--workers", type=click.IntRange(1, 10_000), default=None, help="Calls at once.")
@click.option("--quiet", "-q", is_flag=True, help="Show no progress.")
@click.option("--watch", is_flag=True, help="Run again whenever the document or a tool's source changes.")
def run(
    file: str,
    text: str | None,
    profile: str | None,
    imports: tuple[str, ...],
    read: tuple[str, ...],
    write: tuple[str, ...],
    env: tuple[str, ...],
    workers: int | None,
    quiet: bool,
    watch: bool,
) -> None:
    """Run the workflow in FILE and print its final state as JSON; progress goes to standard error.

    \b
    Examples:
      pysandbox workflow run flow.yaml --state '{"raw_data": [1, 2]}'
      pysandbox workflow run flow.yaml --state @state.json --read data --quiet > final.json
      pysandbox workflow run flow.yaml --state @state.json --watch

    \b
    Exit codes: 0 ok, 2 a document that cannot be used, else as `pysandbox run` for the node that failed.
    """
    policy = policy_from(profile, imports, read, write, 0, env)
    state = _state_from(text)
    listen = None if quiet else _show
    limits = limits_from(None, None, None)
    with SandboxPool(workers or default_workers(), policy=policy, limits=limits) as pool:
        if watch:
            _watch(file, state, pool, listen)
        sys.exit(_run_once(file, state, pool, listen))


@workflow.command()
@_FILE
def validate(file: str) -> None:
    """Check the workflow in FILE; nothing of it is run.

    \b
    Examples:
      pysandbox workflow validate flow.yaml

    \b
    Exit codes: 0 nothing found, 2 a document that cannot be used.
    """
    try:
        loaded = validate_workflow(file)
    except SandboxError as error:
        sys.exit(_refuse(error))
    click.echo(f"{file}: ok, {counted(len(loaded.document.nodes), 'node')}")


@workflow.command()
@_FILE
@click.option("--svg", type=click.Path(dir_okay=False, writable=True), help="Draw a picture into this file.")
def graph(file: str, svg: str | None) -> None:
    """Print the workflow in FILE as Mermaid, or draw it.

    \b
    Examples:
      pysandbox workflow graph flow.yaml > flow.mmd
      pysandbox workflow graph flow.yaml --svg flow.svg
    """
    try:
        loaded = load_workflow(file)
    except SandboxError as error:
        sys.exit(_refuse(error))
    if svg is None:
        click.echo(workflow_mermaid(loaded), nl=False)
    else:
        drawn = workflow_svg(loaded)
        with writing(svg):
            Path(svg).write_text(drawn, encoding="utf-8")


@workflow.command()
def schema() -> None:
    """Print the JSON Schema of workflow documents, for editors.

    \b
    Examples:
      pysandbox workflow schema > workflow.schema.json
    """
    click.echo(json.dumps(workflow_schema(), indent=2))


def _run_once(
    file: str, state: Mapping[str, Any], pool: SandboxPool, listen: Callable[[NodeEvent], None] | None
) -> int:
    try:
        loaded = validate_workflow(file)
        calling()
        final = asyncio.run(loaded.arun(state, pool=pool, listen=listen))
    except SandboxError as error:
        return _refuse(error)
    click.echo(
        shown(json.dumps(to_json(public_state(final), for_programs=True), ensure_ascii=False, indent=2))
    )
    return 0


def _refuse(error: SandboxError) -> int:
    """Tell what was wrong and return the exit code that says the same."""
    failed = getattr(error, "node_error", None)
    if failed is not None:
        text = failed.traceback or f"{failed.type}: {failed.message}"
        if failed.status != "raised":
            # As of `run`: the lines that led there, then the status with what it is about.
            frames = [line for line in text.splitlines() if line.startswith(("Traceback", "  "))]
            text = "\n".join([*frames, f"{failed.status}: {failed.message}"])
        notes = [note for note in getattr(error, "__notes__", ()) if note.startswith("in node")]
        click.echo(escaped("\n".join([text, *notes])), err=True)
        return EXIT_OF_STATUS[failed.status]
    click.echo(escaped(str(error)), err=True)
    if isinstance(error, (DocumentError, ConfigurationError)):
        return USAGE
    if isinstance(error, WorkflowError):
        return EXIT_OF_STATUS["raised"]
    click.echo(json.dumps(error_fields(error)), err=True)
    return EXIT_OF_STATUS["fault"]


def _state_from(text: str | None) -> dict[str, Any]:
    if text is None:
        return {}
    state = given_json("--state", text)
    if not isinstance(state, dict):
        raise click.UsageError(f"--state must be a JSON object, not {json_kind(state)}")
    return state


def _show(event: NodeEvent) -> None:
    """Show one event of a running node on standard error."""
    if event.phase == "start":
        line, colour = f"  … {event.node}", "bright_black"
    elif event.phase == "retry":
        told = f"{event.error.type}: {event.error.message}" if event.error is not None else event.status
        line, colour = (
            f"  ↻ {event.node}: attempt {event.attempt} ended {event.status} ({escaped(told[:80])})",
            "yellow",
        )
    elif event.status == "ok":
        line, colour = f"  ✓ {event.node} {1000 * event.seconds:.0f} ms", "green"
    else:
        line, colour = f"  ✗ {event.node} {event.status} {1000 * event.seconds:.0f} ms", "red"
    click.echo(click.style(line, fg=colour) if colours() else line, err=True)
    if event.lost:
        line = f"  ! {event.node} changed {', '.join(event.lost)} in place: that is lost; return it instead"
        click.echo(click.style(line, fg="yellow") if colours() else line, err=True)


def _watch(
    file: str, state: Mapping[str, Any], pool: SandboxPool, listen: Callable[[NodeEvent], None] | None
) -> None:
    """Run, wait for a change, run again; ends with Ctrl-C."""
    while True:
        watched = _watched(file)
        seen = _stamps(watched)
        _run_once(file, state, pool, listen)
        click.echo(f"watching {len(watched)} files; Ctrl-C ends", err=True)
        while _stamps(watched) == seen:
            time.sleep(0.2)


def _watched(file: str) -> list[Path]:
    """Return the files a run depends on: the document with its includes, the tools with their siblings."""
    found = {Path(file)}
    try:
        loaded: Workflow = load_workflow(file)
        found.update(loaded.document.files)
        nodes: dict[str, PythonNode] = loaded.nodes()
    except SandboxError:
        return sorted(found)
    for node in nodes.values():
        context = node.load().context
        found.update(Path(path) for path in (context.path, *(sibling.path for sibling in context.siblings)))
    return sorted(path for path in found if path.is_file())


def _stamps(paths: list[Path]) -> list[tuple[int, int]]:
    stamps = []
    for path in paths:
        try:
            status = path.stat()
            stamps.append((status.st_mtime_ns, status.st_size))
        except OSError:
            stamps.append((0, 0))
    return stamps
