"""An entrypoint such as ``my_tools.data.process`` as a tool, with stubs for ELF's own modules.

Decided here and nowhere else: what of ELF a tool sees. Tools import ELF for its types; a worker never loads ELF,
with its language models and terminals, for that: it gets `STUBS`. Only `elf0.functions.*` travels as it is: these
are tools.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec

from elf_pysandbox._errors import ModuleLoadError
from elf_pysandbox._tools.context import ModuleContext, Sibling
from elf_pysandbox._tools.load import load
from elf_pysandbox._tools.locate import import_roots, locate
from elf_pysandbox._tools.siblings import read_source
from elf_pysandbox._tools.tool import Tool

ELF = "elf0"

_COMPILER = '''
from typing import Any, Optional, TypedDict


class WorkflowState(TypedDict, total=False):
    """The state of an ELF workflow: a dict of the keys set so far."""

    input: str
    output: Optional[str]
    iteration_count: Optional[int]
    evaluation_score: Optional[float]
    workflow_id: Optional[str]
    current_node: Optional[str]
    error_context: Optional[str]
    user_exit_requested: Optional[bool]
    structured_output: Optional[dict]
    validation_status: Optional[str]
    validation_error: Optional[str]
    structured_data: Optional[dict]
    raw_json: Optional[str]
    format_status: Optional[str]
    format_error: Optional[str]
    claude_code_result: Optional[dict]
    dynamic_state: Optional[dict]
'''
_EXCEPTIONS = '''
class UserExitRequested(Exception):
    """Ends the workflow at the user's wish."""


class WorkflowValidationError(Exception):
    """A workflow that cannot be used."""
'''
_TERMINAL = """
def _refuse(*args, **kwargs):
    raise RuntimeError("this function needs the terminal: let its entrypoint pass through (pass_through=…, --pass)")


collect_terminal_input = get_cli_input = get_workflow_input = _refuse
"""

STUBS: dict[str, tuple[str, bool]] = {
    "elf0": ("", True),
    "elf0.core": ("", True),
    "elf0.core.compiler": (_COMPILER, False),
    "elf0.core.exceptions": (_EXCEPTIONS, False),
    "elf0.core.input_collector": (_TERMINAL, False),
    "elf0.functions": ("", True),
}
"""Module -> its source in a worker, and whether it is a package."""


def tool_of(entrypoint: str, python_path: Sequence[str] = ()) -> Tool:
    """Read the tool that an entrypoint names; nothing of it is run, and ELF is not imported.

    Raises
    ------
    ModuleLoadError, ToolNotFoundError
        The entrypoint is no dotted path, or there is no such module.
    """
    module, _, function = entrypoint.rpartition(".")
    if not module:
        raise ModuleLoadError(f"Invalid entrypoint format: {entrypoint}. Expected 'module.function'")
    if module.partition(".")[0] == ELF:
        return Tool(function, _elf_context(module), function)
    # ELF's process has the working directory on its path only by accident of how it was started.
    tool = load(f"{module}:{function}", python_path=(*python_path, os.getcwd()))
    return replace(tool, context=_with_stubs(tool.context))


def has_module(name: str) -> bool:
    """Whether there is a module or package of this name; nothing is imported."""
    if name.partition(".")[0] == ELF:
        return os.path.isfile(_elf_file(name))
    roots = (os.getcwd(), *import_roots())
    if locate(name, roots) is not None:
        return True
    top = name.partition(".")[0]
    # The standard library's built-in modules, and editable installs: a top-level name runs nothing.
    spec = find_spec(top)
    if spec is None:
        return False
    return (
        name == top
        or locate(name, [os.path.dirname(at) for at in spec.submodule_search_locations or ()]) is not None
    )


def _with_stubs(context: ModuleContext) -> ModuleContext:
    sources = [context.source_bytes, *(sibling.source for sibling in context.siblings)]
    if not any(ELF.encode() in source for source in sources):
        return context
    own = [sibling for sibling in context.siblings if sibling.name.partition(".")[0] != ELF]
    return replace(context, siblings=tuple(sorted([*own, *_stubs()], key=lambda one: one.name)))


def _elf_context(module: str) -> ModuleContext:
    path = _elf_file(module)
    siblings = tuple(stub for stub in _stubs() if stub.name != module)
    return ModuleContext(
        module, read_source(path, module), path, siblings, is_package=path.endswith("__init__.py")
    )


def _elf_file(module: str) -> str:
    base = os.path.join(_elf_folder(), *module.split(".")[1:])
    return os.path.join(base, "__init__.py") if os.path.isdir(base) else base + ".py"


def _elf_folder() -> str:
    loaded = sys.modules.get(ELF)
    folders = list(getattr(loaded, "__path__", ()))
    if not folders:
        # A top-level name only: that looks for the package and runs nothing of it.
        spec = find_spec(ELF)
        folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    if not folders:
        raise ModuleLoadError("ELF (elf0) is not installed in this environment")
    return str(folders[0])


def _stubs() -> list[Sibling]:
    made = [
        Sibling(name, f"<{name} in the sandbox>", text.encode(), package)
        for name, (text, package) in STUBS.items()
    ]
    try:
        folder = os.path.join(_elf_folder(), "functions")
    except ModuleLoadError:
        return made
    for entry in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        stem = entry.removesuffix(".py")
        if entry.endswith(".py") and stem.isidentifier() and stem != "__init__":
            path = os.path.join(folder, entry)
            name = f"{ELF}.functions.{stem}"
            made.append(Sibling(name, path, read_source(path, name)))
    return made
