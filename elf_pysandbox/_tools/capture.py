"""A live callable to a `Tool`: by its module and attribute path wherever there is a file."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

from elf_pysandbox._errors import ToolNotFoundError
from elf_pysandbox._tools.tool import Tool


def capture(
    function: Callable[..., Any], *, python_path: Sequence[str] = (), name: str | None = None
) -> Tool:
    """Make a tool of a live callable."""
    from elf_pysandbox._tools.load import context_of_file, context_of_module

    if not callable(function):
        raise ToolNotFoundError(
            f"{function!r} is not callable: pass a function, or a target such as 'file.py:function'"
        )
    module_name = getattr(function, "__module__", None)
    path = getattr(function, "__qualname__", "")
    module = sys.modules.get(module_name or "")
    if module is None or "<" in path:
        raise ToolNotFoundError(f"{function!r} is in no module")
    file = getattr(module, "__file__", None)
    if file and file.endswith(".py") and module_name == "__main__":
        context = context_of_file(file, python_path=python_path)
    else:
        context = context_of_module(module.__name__, path, python_path=python_path)
    return Tool(name or path.rpartition(".")[2], context, path)
