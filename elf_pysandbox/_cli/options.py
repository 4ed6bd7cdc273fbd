"""Options that several commands share, and what they mean as `Limits` and `Policy`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from elf_pysandbox import ConfigurationError, Limits, Policy, SandboxError, Settings, strict_json
from elf_pysandbox._cli.exits import unwritten
from elf_pysandbox._cli.flags import told
from elf_pysandbox._cli.reading import given_json, json_kind, too_long_number
from elf_pysandbox._cli.targets import is_special

_WARNED = "elf_pysandbox.warned"
"""In the context: the warnings of misspelt variables that were told."""


class ModuleName(click.ParamType):  # type: ignore[type-arg]
    """A dotted name, as an import statement has it."""

    name = "module"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name as it is; fail when no module can be called that."""
        if not all(part.isidentifier() for part in str(value).split(".")):
            self.fail(f"{value!r} is no module's name; give one name for each option", param, ctx)
        return str(value)


class VariableName(click.ParamType):  # type: ignore[type-arg]
    """The name of an environment variable."""

    name = "variable"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the name as it is; fail when it is empty: what else cannot be one, the settings tell."""
        if not value:
            self.fail("no variable has an empty name", param, ctx)
        return str(value)


class Seconds(click.ParamType):  # type: ignore[type-arg]
    """A number of seconds, whole where it was typed so: a message tells it as it was typed."""

    name = "float"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | float:
        """Return the number; fail when it is none."""
        try:
            return int(value)
        except (TypeError, ValueError):
            return click.FLOAT.convert(value, param, ctx)


class InputFile(click.Path):
    """A file that exists; one below a folder that is closed to this user is told as that, not as missing."""

    def __init__(self) -> None:
        super().__init__(exists=True, dir_okay=False, path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path; fail when it is no file that can be read."""
        try:
            os.stat(value)
        except PermissionError as error:
            self.fail(f"{os.fspath(value)!r} cannot be read: {error.strerror}", param, ctx)
        except OSError:
            pass  # Told by click.
        return super().convert(value, param, ctx)


def allow_import(help: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the option `--allow-import`, which fills `imports`."""
    return click.option(
        "--allow-import", "imports", type=ModuleName(), multiple=True, metavar="MODULE", help=help
    )


def once(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> str | None:
    """Return the one value of an option, or None; fail where a second one would take its place unsaid."""
    if len(values) > 1:
        raise click.UsageError(f"{param.opts[0]} is given twice", ctx)
    return values[0] if values else None


_OPTIONS = (
    click.option(
        "--args",
        "arguments",
        multiple=True,
        callback=once,
        metavar="JSON",
        help="Arguments: a JSON object or array, @FILE, or - for stdin.",
    ),
    click.option(
        "--arg", "pairs", multiple=True, metavar="NAME=VALUE", help="One argument; VALUE is JSON, else text."
    ),
    click.option("--timeout", type=Seconds(), metavar="SECONDS", help="Wall-clock limit of the call."),
    click.option("--cpu", type=Seconds(), metavar="SECONDS", help="CPU limit of the call."),
    click.option("--memory", type=int, metavar="MIB", help="Memory limit of the call."),
    click.option(
        "--profile", type=click.Choice(["restricted", "native"]), help="Language policy or plain CPython."
    ),
    allow_import("Let the tool import MODULE."),
    click.option("--read", multiple=True, metavar="PATH", help="Let the tool read PATH."),
    click.option("--write", multiple=True, metavar="PATH", help="Let the tool read and write PATH."),
    click.option(
        "--scratch", type=int, default=0, metavar="MIB", help="Give the call a private temporary folder."
    ),
    click.option(
        "--env",
        type=VariableName(),
        multiple=True,
        metavar="NAME",
        help="Pass the environment variable NAME on.",
    ),
)


def call_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a call to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def grant_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a call without its arguments, for commands that make several calls."""
    for option in reversed(_OPTIONS[2:]):
        command = option(command)
    return command


@contextmanager
def refuse_usage() -> Iterator[None]:
    """Tell a configuration that cannot be used as a usage error (exit code 2)."""
    try:
        yield
    except ConfigurationError as error:
        raise click.UsageError(told(error)) from None


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Tell an output that cannot be written, by the name the user gave it (exit code 2, or 6 after a call)."""
    try:
        yield
    except SandboxError:
        raise  # Some are OSErrors as well.
    except OSError as error:
        click.echo(f"error: cannot write {path}: {error.strerror or error}", err=True)
        sys.exit(unwritten())


def regular(path: str) -> None:
    """Refuse a pipe or device: reading it may never end."""
    if is_special(path):
        raise click.UsageError(f"{path!r} is neither a file nor a folder")


def settings_from(given: Mapping[str, Any] | None = None) -> Settings:
    """Return the settings, with what was given on the command line; warn once of each misspelt variable."""
    with refuse_usage():
        settings = Settings.resolve(given)
    warn_of_variables(settings)
    return settings


def warn_of_variables(settings: Settings) -> None:
    """Tell each variable that looks like a misspelt setting, once in a command: it sets nothing."""
    context = click.get_current_context(silent=True)
    told = set() if context is None else context.find_root().meta.setdefault(_WARNED, set())
    for warning in settings.warnings:
        if warning not in told:
            told.add(warning)
            click.echo(f"warning: {warning}", err=True)


def limits_from(timeout: float | None, cpu: float | None, memory: int | None) -> Limits:
    """Return the limits of the settings, with those given on the command line."""
    settings = settings_from({"wall_s": timeout, "cpu_s": cpu, "memory_mb": memory})
    with refuse_usage():
        return settings.limits


def default_workers() -> int | None:
    """Return how many calls the settings allow at once; None leaves it to the pool."""
    count: int | None = settings_from()["max_workers"]
    return count


def policy_from(
    profile: str | None, imports: tuple[str, ...], read: tuple[str, ...], write: tuple[str, ...], scratch:
    int, env: tuple[str, ...],
) -> Policy:  # fmt: skip
    """Return the policy of the settings, with the grants given on the command line."""
    for path in (*read, *write):
        if path:
            _must_exist(path)
    given = {"profile": profile, "allowed_imports": imports, "read": read, "write": write, "env": env}
    settings = settings_from(
        {name: value or None for name, value in given.items()} | {"scratch_mb": scratch or None}
    )
    with refuse_usage():
        policy = settings.policy
    for name in dict.fromkeys(env):
        if name not in os.environ:
            click.echo(f"warning: --env {name}: no such variable is set, so the tool gets none", err=True)
    for name in policy.env:
        _must_be_text(name)
    return policy


def _must_be_text(name: str) -> None:
    try:
        os.environ.get(name, "").encode()
    except UnicodeEncodeError:
        raise click.UsageError(
            f"the value of the variable {name} is not valid UTF-8, and only text can be passed on: set it to some, or "
            "leave it out of --env (PYSANDBOX_ENV, `env`)"
        ) from None  # Without its value, which may be a secret.


def _must_exist(path: str) -> None:
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        raise click.UsageError(f"{path!r} does not exist; only what exists can be granted") from None
    except OSError as error:
        raise click.UsageError(f"{path!r} cannot be granted: {error.strerror}") from None


def arguments_from(text: str | None, pairs: tuple[str, ...]) -> tuple[list[Any], dict[str, Any]]:
    """Return positional and keyword arguments from `--args` and `--arg`."""
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    given: set[str] = set()
    if text is not None:
        value = given_json("--args", text)
        if isinstance(value, dict):
            kwargs = value
        elif isinstance(value, list):
            args = value
        else:
            raise click.UsageError(f"--args must be a JSON object or array, not {json_kind(value)}")
    for pair in pairs:
        name, equals, raw = pair.partition("=")
        if not equals or not name:
            raise click.UsageError(f"--arg takes NAME=VALUE, not {pair!r}")
        if name in given:
            raise click.UsageError(f"--arg gives {name!r} twice")
        given.add(name)
        kwargs[name] = _value(name, raw)
    return args, kwargs


def _value(name: str, raw: str) -> Any:
    """Return what VALUE of an --arg means: JSON, else the text itself."""
    try:
        return strict_json(raw)
    except (json.JSONDecodeError, RecursionError):
        return raw
    except ValueError as error:
        raise click.UsageError(f"--arg {name} cannot be used: {too_long_number(raw) or error}") from None
