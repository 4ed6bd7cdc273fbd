"""`pysandbox check`: the findings of the language policy in files and folders."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from elf_pysandbox import Diagnostic, PythonSecurityValidator, SandboxError
from elf_pysandbox._cli.exits import EXIT_OF_STATUS, USAGE
from elf_pysandbox._cli.options import allow_import, regular
from elf_pysandbox._cli.printing import colours, counted, escaped, refuse, shown
from elf_pysandbox._cli.reading import standard_input

_COUNTED = {"PSB302": "--allow-import MODULE", "PSB103": "--files"}
"""Rules whose findings a grant takes away -> the option that stands for the grant."""


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@allow_import("Count MODULE as allowed.")
@click.option("--files", is_flag=True, help="Count the tool as having a file grant.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as a JSON array.")
def check(paths: tuple[str, ...], imports: tuple[str, ...], files: bool, as_json: bool) -> None:
    """Check PATHs under the language policy, without running anything: files, folders, or - for standard input.

    An error keeps the module from loading; a warning loads, and is refused when the code gets there.

    \b
    Examples:
      pysandbox check tools/
      pysandbox check report.py --allow-import pandas --files
      cat report.py | pysandbox check - --json

    \b
    Exit codes: 0 nothing found (also where there is no Python file, which is said), 2 usage, or a file that
    cannot be read (the others are checked), 3 findings, 125 a layer that confines the check is missing.
    """
    validator = PythonSecurityValidator(imports, files_granted=files)
    findings: list[Diagnostic] = []
    unreadable: dict[str, OSError] = {}
    try:
        for path in paths:
            if path == "-":
                try:
                    findings += validator.check(standard_input(), "<stdin>")
                except OSError as error:
                    unreadable["-"] = error
            else:
                regular(path)
        checked = validator.check_paths([path for path in paths if path != "-"], unreadable=unreadable)
    except SandboxError as error:
        refuse(error, as_json=as_json)
    for each in checked.values():
        findings += each
    if as_json:
        click.echo(shown(json.dumps([found.as_dict() for found in findings], ensure_ascii=False)))
    else:
        for found in findings:
            click.echo(_line(found))
        click.echo(_summary(findings, len(checked) + paths.count("-") * ("-" not in unreadable)), err=True)
        if flags := [
            flag for rule, flag in _COUNTED.items() if any(found.rule == rule for found in findings)
        ]:
            click.echo(f"To count what a call will be granted: {' and '.join(flags)}", err=True)
    for path, problem in unreadable.items():
        click.echo(f"error: cannot read {path}: {problem.strerror or problem}", err=True)
    if not checked and not unreadable and "-" not in paths:
        click.echo(f"warning: there is no Python file (*.py) in {', '.join(paths)}", err=True)
    sys.exit(USAGE if unreadable else EXIT_OF_STATUS["denied"] if findings else 0)


def _line(found: Diagnostic) -> str:
    if not colours():
        return escaped(found.format())
    place = click.style(escaped(str(Path(found.path))), bold=True) + f":{found.line}:{found.column}:"
    rule = click.style(found.rule, fg="red" if found.severity == "error" else "yellow")
    return f"{place} {rule} {escaped(found.message)} {escaped(found.hint)}"


def _summary(findings: list[Diagnostic], files: int) -> str:
    errors = sum(found.severity == "error" for found in findings)
    looked = f"{counted(files, 'file')} checked"
    if not findings:
        return f"{looked}: no findings"
    return f"{looked}: {counted(errors, 'error')}, {counted(len(findings) - errors, 'warning')}"
