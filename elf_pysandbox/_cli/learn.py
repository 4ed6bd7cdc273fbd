"""`pysandbox learn`: what a tool needs, as a fragment of configuration."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from typing import Any

import click

from elf_pysandbox import Hint, Policy, SandboxError, SandboxPool, WorkerCrashedError
from elf_pysandbox._cli.exits import EXIT_OF_STATUS, calling
from elf_pysandbox._cli.options import arguments_from, call_options, limits_from, policy_from
from elf_pysandbox._cli.printing import envelope, escaped, print_failure, refuse, shown
from elf_pysandbox._cli.targets import Target, working_folder_for

_WHEN_REACHED = tuple(f"`{name}`" for name in ("input", "breakpoint"))
_SCRATCH_MB = 16  # for a relative path to write: it counts from the call's own folder


@click.command()
@click.argument("target", type=Target())
@call_options
@click.option("--json", "as_json", is_flag=True, help="Print what was noted as JSON.")
def learn(target: str, arguments: str | None, pairs: tuple[str, ...], as_json: bool, **options: Any) -> None:
    """Run one call of TARGET with the language policy noting instead of refusing, and print what it needed.

    Every kernel layer holds: a file that was not granted stays closed, and is noted. Run again with --read PATH
    to see what comes after it.

    \b
    Examples:
      pysandbox learn examples/text_tools.py:word_count --args '{"text": "to be or not to be"}'
      pysandbox learn tools.py:report --arg path='"/data/rows.csv"' --read /data >> tool.yaml
    """
    args, kwargs = arguments_from(arguments, pairs)
    limits = limits_from(options["timeout"], options["cpu"], options["memory"])
    given = policy_from(
        "native", options["imports"], options["read"], options["write"], options["scratch"], options["env"]
    )
    with SandboxPool(1, policy=given, limits=limits) as pool:
        try:
            tool = pool.load(target, python_path=working_folder_for(target))
            calling()
            outcome = pool.operation("learn", tool, tuple(args), kwargs)
        except SandboxError as error:
            refuse(error, as_json=as_json)
    if not outcome.ok:
        if as_json:
            click.echo(shown(json.dumps(envelope(outcome), ensure_ascii=False)))
        else:
            print_failure(outcome)
        sys.exit(EXIT_OF_STATUS[outcome.status])
    noted = _noted(outcome.value, as_json=as_json)
    text = json.dumps(noted, ensure_ascii=False, sort_keys=True)
    click.echo(shown(text if as_json else fragment(target, given, noted)))
    if noted["status"] != "ok":
        click.echo(f"the call itself ended with {escaped(noted['error'])}", err=True)
        sys.exit(EXIT_OF_STATUS["raised"])


def _noted(value: Any, *, as_json: bool) -> dict[str, Any]:
    """Return what was noted, if it has its form: it is the word of a process that ran the tool."""
    try:
        texts = [value["status"], value["error"]]
        for kind in ("imports", "files", "names"):
            texts += [*value[kind], *value[kind].values()]
    except (TypeError, KeyError, AttributeError):
        texts = [None]
    if not set(map(type, texts)) <= {str}:
        refuse(WorkerCrashedError("the worker said what it noted in no form that is known"), as_json=as_json)
    noted: dict[str, Any] = value
    return noted


def _grant(module: str) -> str:
    """Return what to allow for a module: a package whole, the standard library by the module."""
    root = module.partition(".")[0]
    return module if root in sys.stdlib_module_names else root


def _folders_for(names: Iterable[str]) -> list[str]:
    """Return what to grant for paths to write: of one that does not exist yet, the nearest folder that does."""
    hints = [Hint("write", name).granting() for name in names if os.path.isabs(name)]
    return sorted({hint.value for hint in hints if hint.value})


def _stops(name: str, why: str) -> bool:
    """Whether a finding keeps its file from loading.

    Others matter where the call gets to them, and are noted by their own name there.
    """
    rule = name.rpartition(": ")[2]
    return rule != "PSB104" and not (rule == "PSB101" and why.startswith(_WHEN_REACHED))


def fragment(target: str, given: Policy, noted: dict[str, Any]) -> str:
    """Render what a tool needed as YAML: the settings that grant it, and as comments what none grants."""
    granted: list[tuple[str, str]] = []
    refused: list[tuple[str, str]] = []
    for name, why in sorted(noted["imports"].items()):
        (refused if "not available" in why else granted).append((name, why))
    reads = sorted(name for name, mode in noted["files"].items() if not set(mode) & set("wax+"))
    written = [name for name, mode in noted["files"].items() if set(mode) & set("wax+")]
    needs: dict[str, Any] = {
        "allowed_imports": sorted({*given.allowed_imports, *(_grant(name) for name, _ in granted)}),
        "read": reads,
        "write": _folders_for(written),
        "scratch_mb": (given.files.scratch_mb or _SCRATCH_MB) * any(not os.path.isabs(n) for n in written),
    }
    needs = {name: value for name, value in needs.items() if value}
    problems = refused + [item for item in sorted(noted["names"].items()) if _stops(*item)]
    lines = [f"# needed by {target}", *(_as_yaml(needs) if needs else [])]
    if needs:
        lines += [
            "# Above: for its entry in `python_functions` of a workflow, or `defaults`. In pyproject.toml it is:"
        ]
        lines += ["#   [tool.pysandbox]", *(f"#   {name} = {json.dumps(needs[name])}" for name in needs)]
    if problems:
        lines.append("# Not to be had in the profile `restricted`; rewrite these, or use `profile: native`:")
        # One line each, whatever the tool's process says they are called: what follows a line's end is no comment.
        lines += [f"#   {' '.join(f'{name}: {why}'.split())}" for name, why in problems]
    if len(lines) == 1:
        lines.append(f"# nothing {'that can be granted' if written else 'beyond the defaults'}")
    return "\n".join(lines)


def _as_yaml(needs: dict[str, Any]) -> list[str]:
    """Return the lines of settings as a document has them: those of files below one key."""
    lines: list[str] = []
    if "allowed_imports" in needs:
        lines += ["allowed_imports:", *(f"  - {json.dumps(name)}" for name in needs["allowed_imports"])]
    files = [name for name in ("read", "write", "scratch_mb") if name in needs]
    if files:
        lines.append("files:")
    for name in files:
        if name == "scratch_mb":
            lines.append(f"  scratch_mb: {needs[name]}")
        else:
            lines += [f"  {name}:", *(f"    - {json.dumps(path)}" for path in needs[name])]
    return lines
