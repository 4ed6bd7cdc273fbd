"""How much real Python the language policy accepts unchanged, and what it refuses, by rule.

Corpus: ten pure-Python packages from PyPI, at pinned versions, and the pure modules of the running interpreter's
standard library. A file counts when it imports nothing that the policy forbids by name (`published.FORBIDDEN`):
those are refused for what they import, whatever the language policy says. Files that do not parse on this
interpreter are left out.

    python benchmarks/acceptance.py [--show RULE]

The packages go into a throw-away folder (`pip install --target`), removed at the end.
"""

from __future__ import annotations

import argparse
import ast
import collections
import json
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import warnings
from collections.abc import Iterator
from typing import NamedTuple

from elf_pysandbox_worker.restricted import RULES, Diagnostic, PolicyDenied, published
from elf_pysandbox_worker.restricted.compiler import check_tree, compile_module

PACKAGES = {
    "attrs": "attrs==24.2.0",
    "jinja2": "Jinja2==3.1.4",
    "markdown": "Markdown==3.7",
    "more_itertools": "more-itertools==10.5.0",
    "networkx": "networkx==3.3",
    "packaging": "packaging==24.1",
    "pyparsing": "pyparsing==3.1.4",
    "dateutil": "python-dateutil==2.9.0.post0",
    "sortedcontainers": "sortedcontainers==2.4.0",
    "toolz": "toolz==0.12.1",
}
IMPORT_NAMES = {"attrs": ("attr", "attrs")}
SKIPPED_FOLDERS = {
    "test",
    "tests",
    "idlelib",
    "lib2to3",
    "site-packages",
    "__pycache__",
    "turtledemo",
    "ensurepip",
}


class Judged(NamedTuple):
    """One file: how it fared, and its functions."""

    path: pathlib.Path
    findings: tuple[Diagnostic, ...]
    functions: int
    functions_accepted: int

    @property
    def accepted(self) -> bool:
        return not any(found.severity == "error" for found in self.findings)


def sources(folder: pathlib.Path) -> Iterator[pathlib.Path]:
    """Yield the Python files below a folder, tests left out."""
    for path in sorted(folder.rglob("*.py")) if folder.is_dir() else [folder]:
        if not SKIPPED_FOLDERS & set(path.relative_to(folder.parent).parts[:-1]):
            yield path


def imported(tree: ast.AST) -> Iterator[str]:
    """Yield the absolute names that a module imports, anywhere."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module


def verdict(name: str, level: int) -> tuple[str, str, str] | None:
    """Refuse what is forbidden by name; whether the rest is allowed is the operator's choice."""
    hint = None if level else published.forbidden_hint(name)
    return ("PSB301", f"The module `{name}` is not available to tools.", hint) if hint else None


def judge(path: pathlib.Path) -> Judged | None:
    """Check one file; None when it does not count."""
    source = path.read_bytes()
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError):
        return None
    if any(published.forbidden_hint(name) for name in imported(tree)):
        return None
    spans = [
        (node.lineno, node.end_lineno or node.lineno)
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
    ]
    findings = check_tree(tree, source, str(path), verdict)
    if not any(found.severity == "error" for found in findings):
        try:  # accepted must also mean compiled
            compile_module(source, str(path), verdict, files_granted=True)
        except PolicyDenied as denied:
            findings = denied.diagnostics
    lines = {found.line for found in findings if found.severity == "error"}
    clean = sum(1 for first, last in spans if not any(first <= line <= last for line in lines))
    return Judged(path, findings, len(spans), clean)


def install(folder: pathlib.Path) -> None:
    """Install the corpus's packages into a folder; of dependencies only six, which dateutil imports everywhere."""
    command = [sys.executable, "-m", "pip"]
    if subprocess.run([*command, "--version"], capture_output=True, check=False).returncode:
        command = [shutil.which("uv") or "uv", "pip"]
    subprocess.run(
        [*command, "install", "-q", "--no-deps", "--target", str(folder), *PACKAGES.values(), "six"],
        check=True,
    )


def corpus(folder: pathlib.Path) -> Iterator[tuple[str, list[pathlib.Path]]]:
    """Yield each part of the corpus with its files."""
    for name in PACKAGES:
        roots = [folder / part for part in IMPORT_NAMES.get(name, (name,))]
        yield name, [path for root in roots for path in sources(root)]
    library = pathlib.Path(sysconfig.get_path("stdlib"))
    yield "standard library", [path for path in sources(library) if path.is_relative_to(library)]


def main() -> None:
    """Print the table, and the refusals by rule."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--verdicts", default="", help="write each package file's rules to this JSON file")
    parser.add_argument("--show", default="", help="print each finding of this rule, or of `all`")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    by_rule: collections.Counter[str] = collections.Counter()
    total: collections.Counter[str] = collections.Counter()
    verdicts: dict[str, list[str]] = {}
    print(f"{'':20}{'files':>8}{'count':>8}{'accepted':>10}{'%':>8}{'functions':>12}{'accepted':>10}{'%':>8}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        install(folder)
        for name, paths in corpus(folder):
            judged = [found for found in map(judge, paths) if found is not None]
            row = collections.Counter(
                files=len(paths),
                count=len(judged),
                accepted=sum(one.accepted for one in judged),
                functions=sum(one.functions for one in judged),
                functions_accepted=sum(one.functions_accepted for one in judged),
            )
            total += row
            print_row(name, row)
            if name != "standard library":
                verdicts.update(
                    {str(j.path.relative_to(folder)): [f.rule for f in j.findings] for j in judged}
                )
            for one in judged:
                errors = [found for found in one.findings if found.severity == "error"]
                by_rule.update({found.rule for found in errors})
                for found in errors:
                    if options.show in (found.rule, "all"):
                        print("   ", found.format()[:200])
    print_row("all", total)
    if options.verdicts:
        pathlib.Path(options.verdicts).write_text(json.dumps(verdicts, indent=0, sort_keys=True))
    print("\nfiles refused, by rule (a file may break several):")
    for rule, count in by_rule.most_common():
        print(f"  {rule}  {count:4}  {RULES[rule].title}")


def print_row(name: str, row: collections.Counter[str]) -> None:
    """Print one line of the table."""
    files = 100 * row["accepted"] / max(row["count"], 1)
    functions = 100 * row["functions_accepted"] / max(row["functions"], 1)
    print(
        f"{name:20}{row['files']:8}{row['count']:8}{row['accepted']:10}{files:8.1f}"
        f"{row['functions']:12}{row['functions_accepted']:10}{functions:8.1f}"
    )


if __name__ == "__main__":
    main()
