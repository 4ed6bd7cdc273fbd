"""`pysandbox elf`: ELF's own command line, with its Python tools in the sandbox."""

from __future__ import annotations

import sys

import click

from elf_pysandbox import ELF_TERMINAL, ConfigurationError, SandboxPool, Settings, register_elf
from elf_pysandbox._cli.exits import USAGE
from elf_pysandbox._cli.options import allow_import, warn_of_variables


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option(
    "--profile", type=click.Choice(["restricted", "native"]), help="For nodes whose config names none."
)
@click.option("--timeout", type=float, metavar="SECONDS", help="For nodes whose config names none.")
@click.option("--memory", type=int, metavar="MIB", help="For nodes whose config names none.")
@allow_import("Let every tool import MODULE.")
@click.option(
    "--pass",
    "passed",
    multiple=True,
    metavar="ENTRYPOINT",
    help="Let ELF run this one itself, as it needs the terminal (ELF's own get_user_input always passes).",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def elf(
    profile: str | None,
    timeout: float | None,
    memory: int | None,
    imports: tuple[str, ...],
    passed: tuple[str, ...],
    arguments: tuple[str, ...],
) -> None:
    """Run ELF's command line with ARGUMENTS; its Python tools run in the sandbox.

    \b
    Examples:
      pysandbox elf agent flow.yaml --prompt "Count these words"
      pysandbox elf --timeout 5 --pass my_tools.ask.user agent flow.yaml --prompt hello
    """
    given = {"profile": profile, "wall_s": timeout, "memory_mb": memory, "allowed_imports": imports or None}
    try:
        settings = Settings.resolve(given)
        warn_of_variables(settings)
        with SandboxPool(settings["max_workers"], policy=settings.policy, limits=settings.limits) as pool:
            register_elf(pool, pass_through=(*ELF_TERMINAL, *passed))
            from elf0.cli import app  # type: ignore[import-not-found]

            sys.argv = ["elf0", *arguments]
            app()
    except ConfigurationError as error:
        click.echo(str(error), err=True)
        sys.exit(USAGE)
