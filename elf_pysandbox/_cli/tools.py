"""The commands about tools and sets of tools: list, inspect, schema, save, verify, call."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from elf_pysandbox import SandboxError, SandboxPool, Tool, ToolHandler, ToolHandlerError, ToolNotFoundError
from elf_pysandbox._cli.exits import EXIT_OF_STATUS, calling
from elf_pysandbox._cli.options import (
    InputFile,
    arguments_from,
    call_options,
    grant_options,
    limits_from,
    policy_from,
    regular,
    writing,
)
from elf_pysandbox._cli.printing import (
    counted,
    envelope,
    escaped,
    message_of,
    print_failure,
    refuse,
    show_value,
    shown,
)
from elf_pysandbox._cli.targets import Target, working_folder_for

FORMATS = ("json", "openai", "openai-responses", "anthropic", "gemini", "mcp")
_KEY = click.option("--key-file", type=InputFile(), help="Key of the set's HMAC.")
_PATH = click.option("--python-path", multiple=True, metavar="FOLDER", help="Search modules there first.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@contextlib.contextmanager
def _told(as_json: bool = False) -> Iterator[None]:
    """Tell an error of tools or sets, and end with its exit code."""
    try:
        yield
    except SandboxError as error:
        refuse(error, as_json=as_json)


def _key(key_file: Path | None) -> bytes | None:
    if key_file is None:
        return None
    with open(key_file, "rb") as file:
        key = file.read().strip()
    if not key:
        raise click.UsageError(f"{str(key_file)!r} holds no key: an empty one vouches for nothing")
    return key


@click.command("list")
@click.argument("places", nargs=-1, required=True, metavar="PATH...")
@_PATH
@_JSON
def list_tools(places: tuple[str, ...], python_path: tuple[str, ...], as_json: bool) -> None:
    """List the tools in files, folders or modules. Nothing is run: sources are only read.

    \b
    Examples:
      pysandbox list examples/text_tools.py
      pysandbox list tools/ json

    \b
    Exit codes: 0 ok, 2 usage, 5 a file, folder or module has no tools to give; those of the others are listed.
    """
    handler = ToolHandler(python_path=python_path)
    tools: list[Tool] = []
    failed = _gather(handler, places, lambda place: tools.extend(handler.find(place, drop_broken=True)))
    tools = list(dict.fromkeys(tools))
    if as_json:
        rows = [{"name": tool.name, "module": tool.context.name, "file": tool.context.path} for tool in tools]
        click.echo(json.dumps(rows, indent=2))
    else:
        width = max((len(tool.name) for tool in tools), default=0)
        for tool in tools:
            click.echo(shown(f"{tool.name:<{width}}  {_place(tool)}"))
    sys.exit(EXIT_OF_STATUS["load_failed"] if failed else 0)


def _gather(handler: ToolHandler, places: tuple[str, ...], take: Callable[[str], object]) -> bool:
    """Take the tools of all places; tell each that has none to give and go on. Return whether there was one."""
    failed = False
    for place in places:
        regular(place)
        regular(place.rpartition(":")[0])  # of a target
        try:
            take(place)
        except ToolHandlerError as error:
            failed = True
            click.echo(f"{getattr(error, 'status', 'load_failed')}: {escaped(message_of(error))}", err=True)
    for reason in handler.refused.values():
        failed = True
        click.echo(f"load_failed: {escaped(reason)}", err=True)
    return failed


def _place(tool: Tool) -> str:
    if tool.context.path.startswith("<"):  # Imported by name where it runs.
        return f"{tool.context.path[1:-1].removesuffix('.' + tool.path)}:{tool.path}"
    return f"{os.path.relpath(tool.context.path)}:{tool.path}"


@click.command()
@click.argument("target", type=Target())
@grant_options
@_PATH
@_JSON
def inspect(target: str, python_path: tuple[str, ...], as_json: bool, **grants: Any) -> None:
    """Show what a tool is: signature, documentation, module, what travels with it.

    \b
    Examples:
      pysandbox inspect examples/text_tools.py:word_count
    """
    with _told(as_json), _pool(grants) as pool:
        handler = ToolHandler(pool, python_path=(*python_path, *working_folder_for(target)))
        tool = handler.add_tool(target)
        description = handler.description(tool.name)
    context = tool.context
    facts = {
        "module": context.name,
        "file": context.path,
        "code_hash": context.code_hash,
        "siblings": [sibling.name for sibling in context.siblings],
        "imports": list(context.imports),
        "requirements": list(context.requirements),
        "requires_python": context.requires_python,
    }
    if as_json:
        whole = {**description.to_dict(), "context": facts}
        click.echo(shown(json.dumps(whole, ensure_ascii=False, indent=2)))
        return
    click.echo(shown(f"{description.name}{description.signature}  [{description.kind}]"))
    if description.text:
        click.echo(shown(f"\n{description.text}\n"))
    for name, schema in description.parameters.get("properties", {}).items():
        click.echo(shown(f"  {name}: {schema.get('description') or json.dumps(schema)}"))
    for name, fact in facts.items():
        if fact:
            click.echo(shown(f"{name}: {', '.join(fact) if isinstance(fact, list) else fact}"))


@click.command()
@click.argument("target", type=Target())
@click.option("--format", "format_", type=click.Choice(FORMATS), default="json", help="Whose shape to print.")
@click.option("--strict", is_flag=True, help="Ask for the provider's strict mode.")
@grant_options
@_PATH
def schema(target: str, format_: str, strict: bool, python_path: tuple[str, ...], **grants: Any) -> None:
    """Print the declaration of a tool for a provider, made in a confined worker.

    \b
    Examples:
      pysandbox schema examples/text_tools.py:word_count --format anthropic
    """
    with _told(), _pool(grants) as pool:
        handler = ToolHandler(pool, python_path=(*python_path, *working_folder_for(target)))
        tool = handler.add_tool(target)
        declared = handler.describe(tool.name, format_, strict=strict)
    click.echo(shown(json.dumps(declared, ensure_ascii=False, indent=2)))


@click.command()
@click.argument("places", nargs=-1, required=True, metavar="TARGET...")
@click.option("--output", "-o", type=click.Path(dir_okay=False), required=True, help="The file to write.")
@_KEY
@_PATH
def save(places: tuple[str, ...], output: str, key_file: Path | None, python_path: tuple[str, ...]) -> None:
    """Save tools of files, folders, modules or targets as one set that needs none of them. Nothing is run.

    \b
    Examples:
      pysandbox save examples/text_tools.py -o tools.json

    \b
    Exit codes: 0 ok, 2 usage, 5 a file, folder or module has no tools to give; those of the others are saved.
    """
    key = _key(key_file)
    handler = ToolHandler(python_path=python_path)
    failed = _gather(handler, places, lambda place: handler.add_tools(place, drop_broken=True))
    if handler.names:
        with _told(), writing(output):
            handler.save(output, key=key)
        click.echo(f"{counted(len(handler), 'tool')} saved to {output}: {', '.join(handler.names)}")
    sys.exit(EXIT_OF_STATUS["load_failed"] if failed else 0)


@click.command()
@click.argument("file", type=click.Path(dir_okay=False))
@_KEY
@_JSON
def verify(file: str, key_file: Path | None, as_json: bool) -> None:
    """Hold a saved set of tools against its digests. Nothing is run.

    \b
    Examples:
      pysandbox verify tools.json
    """
    with _told(as_json):
        handler = ToolHandler.load(file, key=_key(key_file))
    if as_json:
        click.echo(json.dumps({"status": "ok", "tools": list(handler.names)}))
    else:
        click.echo(f"{file}: {counted(len(handler), 'tool')}, as they were saved: {', '.join(handler.names)}")


@click.command()
@click.argument("file", type=click.Path(dir_okay=False))
@click.argument("name")
@_KEY
@click.option(
    "--accept-changes",
    is_flag=True,
    help="Use the set though it is not what its digests say. Look at it first.",
)
@call_options
@_JSON
def call(
    file: str,
    name: str,
    key_file: Path | None,
    accept_changes: bool,
    arguments: str | None,
    pairs: tuple[str, ...],
    as_json: bool,
    **grants: Any,
) -> None:
    """Call the tool NAME of a saved set.

    \b
    Examples:
      pysandbox call tools.json word_count --args '{"text": "to be or not to be"}'

    \b
    Exit codes as of `pysandbox run`.
    """
    args, kwargs = arguments_from(arguments, pairs)
    with _told(as_json), _pool(grants) as pool:
        handler = ToolHandler.load(file, key=_key(key_file), accept_changes=accept_changes, pool=pool)
        try:
            tool = handler.get(name)
        except ToolNotFoundError as error:
            raise ToolNotFoundError(f"{file}: {error}") from None
        for wish in () if as_json else handler.withheld.get(tool.name, ()):
            click.echo(
                f"note: {escaped(tool.name)} was saved with {escaped(wish)}; not granted here", err=True
            )
        calling()
        outcome = pool.outcome(tool, *args, **kwargs)
    if as_json:
        click.echo(shown(json.dumps(envelope(outcome), ensure_ascii=False)))
    elif outcome.ok:
        click.echo(shown(show_value(outcome.value)))
    else:
        print_failure(outcome)
    sys.exit(EXIT_OF_STATUS[outcome.status])


def _pool(grants: dict[str, Any]) -> SandboxPool:
    limits = limits_from(grants["timeout"], grants["cpu"], grants["memory"])
    policy = policy_from(
        grants["profile"],
        grants["imports"],
        grants["read"],
        grants["write"],
        grants["scratch"],
        grants["env"],
    )
    return SandboxPool(1, policy=policy, limits=limits)
