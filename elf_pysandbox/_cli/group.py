"""The group of all commands, each imported when it is asked for; and what may end each of them."""

from __future__ import annotations

import contextlib
import errno
import importlib
import os
import sys
from typing import Any

import click

from elf_pysandbox._cli.exits import READER_GONE, USAGE, unwritten
from elf_pysandbox._cli.streams import end_interrupted, give_up_full, open_closed, write_whole

COMMANDS = {
    "run": ("elf_pysandbox._cli.run:run", "Run one call of a tool."),
    "map": ("elf_pysandbox._cli.map:map_rows", "Call a tool for every row of a JSON lines file; resumable."),
    "watch": ("elf_pysandbox._cli.watch:watch", "Run a tool again on every save, with what changed."),
    "check": ("elf_pysandbox._cli.check:check", "Check tool source under the language policy."),
    "learn": ("elf_pysandbox._cli.learn:learn", "Run a tool and print what it needs, as configuration."),
    "list": ("elf_pysandbox._cli.tools:list_tools", "List the tools in files, folders or modules."),
    "inspect": ("elf_pysandbox._cli.tools:inspect", "Show what a tool is and what travels with it."),
    "schema": ("elf_pysandbox._cli.tools:schema", "Print a tool's declaration for a provider."),
    "save": ("elf_pysandbox._cli.tools:save", "Save tools as one set that needs no other file."),
    "verify": ("elf_pysandbox._cli.tools:verify", "Hold a saved set of tools against its digests."),
    "call": ("elf_pysandbox._cli.tools:call", "Call a tool of a saved set."),
    "profile": ("elf_pysandbox._cli.profile:profile", "Measure a tool: time, memory, flame graph, overhead."),
    "docs": ("elf_pysandbox._cli.docs:docs", "Write a page for each tool, its examples run."),
    "new": ("elf_pysandbox._cli.new:new", "Start a tool package with a test that passes."),
    "config": ("elf_pysandbox._cli.config:config", "Print each setting and where it came from."),
    "completion": ("elf_pysandbox._cli.completion:completion", "Print the completion script of a shell."),
    "workflow": ("elf_pysandbox._cli.workflow:workflow", "Run, check and draw workflow documents."),
    "elf": ("elf_pysandbox._cli.elf:elf", "Run ELF's command line with its Python tools in the sandbox."),
    "doctor": ("elf_pysandbox._cli.doctor:doctor", "Show which confinement layers this host can hold."),
}
"""Name -> (module:attribute, one line of help): the help page needs no import of the commands."""


_JSON = "elf_pysandbox.json"
"""In the context: whether what the command prints is for programs."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def _working_folder_is_gone() -> bool:
    try:
        os.getcwd()
    except FileNotFoundError:
        return True
    return False


class LazyGroup(click.Group):
    """A group whose commands are imported when they are used."""

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the command line; what an encoding cannot hold is written as its escape."""
        open_closed()
        write_whole()
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")
        try:
            return super().main(*args, **extra)
        except OSError as error:
            if error.errno not in _FULL:
                raise
            give_up_full()
            sys.exit(USAGE)  # What could not be told says so.
        except SystemExit as end:
            if end.code:  # it says already what became of the command
                give_up_full()
            raise

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; what may end each of them is told in one line, with the exit code that a shell expects."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            end_interrupted(as_json=ctx.meta.get(_JSON, False))
        except BrokenPipeError:
            give_up_full()
            sys.exit(READER_GONE)
        except click.UsageError as error:
            if ctx.meta.get(_JSON):
                from elf_pysandbox._cli.printing import usage_envelope

                click.echo(usage_envelope(error.format_message()))
            raise  # Told on standard error as well, as ever.
        except OSError as error:
            if _working_folder_is_gone():
                click.echo("error: the working folder was removed; go to another one", err=True)
                sys.exit(USAGE)
            if error.errno not in _FULL:
                raise
            with contextlib.suppress(OSError):  # It may be standard error itself.
                click.echo(
                    f"error: cannot write {error.filename or 'the output'}: {error.strerror}", err=True
                )
            give_up_full()
            sys.exit(unwritten())

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Find the command, or name the nearest one."""
        name = args[0] if args else ""
        if name and name not in COMMANDS and not name.startswith("-"):
            from difflib import get_close_matches

            close = get_close_matches(name, COMMANDS, n=1)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            ctx.fail(f"no command {name!r}.{hint}")
        ctx.meta[_JSON] = "--json" in args[1:]  # What Ctrl-C goes by while the command is imported.
        found = super().resolve_command(ctx, args)
        command = found[1]
        if command is not None and ctx.meta[_JSON]:
            ctx.meta[_JSON] = any("--json" in option.opts for option in command.params)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="elf-pysandbox", prog_name="pysandbox")
def main() -> None:
    """Run Python tool functions in fresh, kernel-confined processes.

    \b
    Examples:
      pysandbox run tools/text.py:word_count --args '{"text": "to be"}'
      pysandbox doctor
    """
