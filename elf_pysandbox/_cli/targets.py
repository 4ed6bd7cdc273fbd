"""Targets on the command line: how one is written, and how a shell completes it."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

_FUNCTION = re.compile(r"^(?:async\s+)?def\s+([^\W_]\w*)", re.MULTILINE)
_SHOWN = 5
_LARGEST = 4 << 20


class Target(click.ParamType):  # type: ignore[type-arg]
    """A tool, ``file.py:function`` or ``package.module:function``.

    Only its form is looked at here, and that a file is one, so that a slip of the hand is a usage error (exit code 2),
    and what is not there is `not_found` (exit code 5). Files are searched as text, nothing is imported.
    """

    name = "target"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the target as it is; fail with how to write it when it cannot be one."""
        target = str(value)
        place, colon, function = target.rpartition(":")
        if not colon:
            self.fail(f"{target!r} names no function. {_how_to_write(target)}", param, ctx)
        if not function:
            self.fail(f"{target!r} names no function. {_how_to_write(place)}", param, ctx)
        if not place:
            self.fail(
                f"{target!r} names no file or module: write 'file.py:{function or 'function'}'", param, ctx
            )
        if not _is_dotted(function):
            self.fail(f"{function!r} is no function's name, and no dotted one", param, ctx)
        if not _is_file(place) and not _is_dotted(place):
            self.fail(f"{place!r} is neither a Python file (*.py) nor a module's name", param, ctx)
        if _is_file(place) and is_special(place):
            self.fail(
                f"{place!r} is a pipe or a device, no regular file: save the source to one first", param, ctx
            )
        return target

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return what can follow."""
        file, colon, prefix = incomplete.partition(":")
        if not colon:
            return [CompletionItem(incomplete, type="file")]
        names = functions_in(file)
        return [CompletionItem(f"{file}:{name}") for name in names if name.startswith(prefix)]


def working_folder_for(target: str) -> tuple[str, ...]:
    """Return where the module of a target is looked for first: the working folder, as `python -m` does.

    It is not put on `sys.path`, from which this process itself imports. Files need none, and whoever asked Python for
    safe paths (``-P``, PYTHONSAFEPATH) gets none.
    """
    if sys.flags.safe_path or _is_file(target.rpartition(":")[0]):
        return ()
    try:
        return (os.getcwd(),)
    except FileNotFoundError:
        return ()


def functions_in(file: str) -> list[str]:
    """Return the names of the public functions that a file seems to have; none where it cannot be read."""
    path = Path(file)
    try:
        if not path.is_file() or path.stat().st_size > _LARGEST:
            return []
        return _FUNCTION.findall(path.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return []


def is_special(path: str) -> bool:
    """Whether there is a pipe or a device, which may never end to be read."""
    # Not of pathlib, which raises below a folder that is closed: whoever reads the path tells that.
    return os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path))


def _how_to_write(place: str) -> str:
    names = functions_in(place)
    if names:
        more = ", …" if len(names) > _SHOWN else ""
        return f"Write '{place}:{names[0]}'; it has {', '.join(names[:_SHOWN])}{more}"
    if _is_file(place):
        return f"Write '{place}:FUNCTION'"
    module, dot, function = place.rpartition(".")
    if dot and _is_dotted(place):
        return f"Write '{module}:{function}'"
    return "Write 'file.py:function' or 'package.module:function'"


def _is_dotted(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))


def _is_file(place: str) -> bool:
    return place.endswith(".py") or "/" in place
