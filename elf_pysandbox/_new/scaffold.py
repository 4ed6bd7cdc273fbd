"""Writes a tool package that works as it is: tools, tests, limits, rows to map over, a workflow.

Each file of `template/` is written under its own name without ``.tmpl``; ``+`` in a name parts folders, and
``@name@`` stands for the package in names and texts.
"""

from __future__ import annotations

import keyword
import re
import sys
from importlib.resources import files
from pathlib import Path

from elf_pysandbox import ConfigurationError

_MARK = "@name@"


def scaffold(name: str, folder: Path) -> list[Path]:
    """Write the package `name` into `folder`; return the files.

    Raises
    ------
    ConfigurationError
        The name cannot be a package's, or the folder holds something already.
    """
    package = check_name(name)
    if folder.exists() and any(folder.iterdir()):
        raise ConfigurationError(
            f"{folder} is not empty: nothing was written. Name another folder with --into"
        )
    written = []
    for entry in sorted(
        files("elf_pysandbox._new").joinpath("template").iterdir(), key=lambda item: item.name
    ):
        path = folder.joinpath(*entry.name.removesuffix(".tmpl").replace(_MARK, package).split("+"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(entry.read_text(encoding="utf-8").replace(_MARK, package), encoding="utf-8")
        written.append(path)
    return written


def check_name(name: str) -> str:
    """Return the package's name for a project's name (``my-tools`` is ``my_tools``).

    Raises
    ------
    ConfigurationError
    """
    package = name.replace("-", "_")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", package) or keyword.iskeyword(package):
        raise ConfigurationError(
            f"{name!r} cannot be a package: use lower case letters, digits and _, as in my_tools"
        )
    if package in sys.stdlib_module_names or package in ("elf_pysandbox", "tests"):
        raise ConfigurationError(f"{name!r} is the name of another module: choose a name of your own")
    return package
