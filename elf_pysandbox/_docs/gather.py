"""From a file or folder to the tools in it, with their schemas and the results of their examples.

The facts come from `extract`, which runs in the sandbox; they are data of the confined side, checked by
msgspec.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec

from elf_pysandbox import ConfigurationError, Limits, Policy, SandboxError, SandboxPool, Tool

_MAX_FILES = 2000


class Parameter(msgspec.Struct):
    """One parameter, as its source writes it."""

    name: str
    type: str
    default: str
    required: bool
    doc: str


class Example(msgspec.Struct):
    """One example of a docstring; `raises` is the exception it promises, `outcome` there once it was run."""

    source: str
    want: str
    call: tuple[list[Any], dict[str, Any]] | None
    raises: str = ""
    outcome: Any = None


class ToolFacts(msgspec.Struct):
    """What a source says about one function."""

    name: str
    line: int
    kind: str
    signature: str
    summary: str
    text: str
    parameters: list[Parameter]
    returns: str
    returns_doc: str
    examples: list[Example]
    schema: Any = None


class ModuleFacts(msgspec.Struct):
    """What a source says about itself; `path` and `problem` are filled in here."""

    doc: str
    functions: list[ToolFacts]
    path: str = ""
    problem: str = ""


def sources_in(path: Path) -> Iterator[Path]:
    """Yield the Python files that are meant for others: not hidden, not private, not tests.

    Raises
    ------
    ConfigurationError
        There is nothing at `path`.
    """
    if path.is_file():
        yield path
        return
    if not path.is_dir():
        raise ConfigurationError(f"{path} does not exist: name a Python file or a folder of them")
    found = 0
    for file in sorted(path.rglob("*.py")):
        parts = file.relative_to(path).parts
        private = any(part.startswith((".", "_")) and part != "__init__.py" for part in parts)
        if private or file.name.startswith(("test_", "conftest")):
            continue
        found += 1
        if found > _MAX_FILES:
            raise ConfigurationError(f"{path} has more than {_MAX_FILES} Python files: name a smaller folder")
        yield file


def gather(path: Path, *, policy: Policy, limits: Limits, run_examples: bool = True) -> list[ModuleFacts]:
    """Return the facts about every module with a tool in it."""
    extractor = files("elf_pysandbox._docs").joinpath("extract.py").read_bytes()
    modules = []
    with SandboxPool(2, policy=Policy(profile="native")) as pool:
        extract = pool.load_source(extractor, "extract", name="docs_extract")
        tools = pool.with_options(policy=policy, limits=limits)
        for file in sources_in(path):
            module = _facts(pool, extract, file)
            module.path = str(file.relative_to(path)) if path.is_dir() else file.name
            _complete(tools, file, module.functions, run_examples)
            if module.functions or module.problem:
                modules.append(module)
    return modules


def _facts(pool: SandboxPool, extract: Any, file: Path) -> ModuleFacts:
    outcome = pool.outcome(extract, file.read_bytes(), file.name)
    if outcome.ok:
        try:
            return msgspec.convert(outcome.value, ModuleFacts)
        except msgspec.ValidationError as error:
            return ModuleFacts("", [], problem=f"its description cannot be read: {error}")
    return ModuleFacts("", [], problem=str(outcome.error))


def _complete(pool: SandboxPool, file: Path, functions: list[ToolFacts], run_examples: bool) -> None:
    loaded: list[tuple[ToolFacts, Tool]] = []
    for facts in functions:
        with suppress(SandboxError):
            loaded.append((facts, pool.load(f"{file}:{facts.name}")))
    _add_schemas(pool, loaded)
    for facts, tool in loaded:
        for example in facts.examples:
            if run_examples and example.call is not None:
                args, kwargs = example.call
                example.outcome = pool.outcome(tool, *args, **kwargs)


def _add_schemas(pool: SandboxPool, loaded: list[tuple[ToolFacts, Tool]]) -> None:
    """Fill in the JSON Schemas of the arguments; none where the module does not load.

    All of a module's together, as most of the time goes into importing what makes schemas; what cannot be told with the
    others is asked for alone.
    """
    if not loaded:
        return
    outcome = pool.operation("describe", loaded[0][1], args=tuple(tool.path for _, tool in loaded))
    if outcome.status in ("load_failed", "denied"):
        return
    told = outcome.value if outcome.ok and isinstance(outcome.value, dict) else {}
    for facts, tool in loaded:
        description = told.get(tool.path)
        if description is None:
            description = pool.operation("describe", tool).value
        if isinstance(description, dict):
            facts.schema = description.get("parameters")
