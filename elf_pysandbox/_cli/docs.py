"""`pysandbox docs`: a page for each tool."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from elf_pysandbox._cli.options import grant_options, limits_from, policy_from, refuse_usage, writing
from elf_pysandbox._cli.printing import counted


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option(
    "--output", "-o", type=click.Path(file_okay=False, path_type=Path), required=True, metavar="DIR"
)
@click.option(
    "--format", "form", type=click.Choice(["markdown", "html", "both"]), default="both", show_default=True
)
@click.option("--no-run", is_flag=True, help="Show the examples without running them.")
@grant_options
def docs(path: Path, output: Path, form: str, no_run: bool, **options: Any) -> None:
    """Write a page for each public function below PATH: signature, parameters, schema, examples, limits.

    Sources are parsed in the sandbox. Examples are the >>> lines of docstrings; those that call the function
    with literal arguments are run there, and the page shows what really came back.

    \b
    Examples:
      pysandbox docs examples/text_tools.py -o site
      pysandbox docs tools/ -o docs/tools --format markdown

    \b
    Exit codes: 0 all well, 1 a module cannot be described or an example does not give what its source says,
    130 interrupted.
    """
    from elf_pysandbox._docs import gather, markdown, page

    policy = policy_from(
        *(options[name] for name in ("profile", "imports", "read", "write", "scratch", "env"))
    )
    limits = limits_from(options["timeout"], options["cpu"], options["memory"])
    with refuse_usage():
        modules = gather.gather(path, policy=policy, limits=limits, run_examples=not no_run)
    with writing(output):
        output.mkdir(parents=True, exist_ok=True)
    endings = {"markdown": (".md",), "html": (".html",), "both": (".md", ".html")}[form]
    count = 0
    for ending in endings:
        pages = {"index": markdown.index(modules, ending)}
        for module in modules:
            for tool in module.functions:
                pages[markdown.page_name(module, tool)] = markdown.page(module, tool, policy, limits)
        count = len(pages) - 1
        for name, text in pages.items():
            shown = page.render(name, text) if ending == ".html" else text
            with writing(output / f"{name}{ending}"):
                (output / f"{name}{ending}").write_text(shown, encoding="utf-8")
    problems = _problems(modules)
    for problem in problems:
        click.echo(f"warning: {problem}", err=True)
    click.echo(f"{counted(count, 'tool')} in {output}")
    sys.exit(1 if problems else 0)


def _problems(modules: list[Any]) -> list[str]:
    from elf_pysandbox._docs.promise import broken

    found = [f"{module.path}: {module.problem}" for module in modules if module.problem]
    for module in modules:
        for tool in module.functions:
            found += [
                f"{module.path}:{tool.line}: example {example.source!r} {problem}"
                for example in tool.examples
                if (problem := broken(example))
            ]
    return found
