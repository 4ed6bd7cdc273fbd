"""Tools by name: adding, finding, conflicts. Two tools of one name never replace each other silently."""

from __future__ import annotations

import contextlib
import os
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from elf_pysandbox._errors import ModuleLoadError, ToolHandlerError, ToolNotFoundError
from elf_pysandbox._hints import Hint
from elf_pysandbox._tools.context import ModuleContext
from elf_pysandbox._tools.listing import public_functions
from elf_pysandbox._tools.load import (
    context_by_name,
    context_of_file,
    context_of_module,
    context_of_module_file,
    is_file_target,
    load,
    read_listing,
)
from elf_pysandbox._tools.origin import file_of_module
from elf_pysandbox._tools.providers.common import safe_name
from elf_pysandbox._tools.tool import Tool

_NAMED = 30  # names in an error
Target = str | os.PathLike[str] | Callable[..., Any] | Tool


class Toolset:
    """An ordered set of tools, each under its own name.

    Parameters
    ----------
    python_path : sequence of str
        Folders to search modules in, before `sys.path`.
    """

    def __init__(self, python_path: Sequence[str] = ()) -> None:
        self._python_path = tuple(python_path)
        self._tools: dict[str, Tool] = {}
        self._aliases: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self._tools)

    def __iter__(self) -> Iterator[Tool]:
        return iter(list(self._tools.values()))

    def __contains__(self, name: object) -> bool:
        return name in self._tools

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all tools, in the order in which they were added."""
        return tuple(self._tools)

    def make(self, target: Target, name: str | None = None, **options: Any) -> Tool:
        """Make a tool of a target without adding it; one that its module's text shows not to be there is refused."""
        if isinstance(target, Tool):
            tool = replace(target, name=name or target.name)
        else:
            if isinstance(target, os.PathLike):
                target = os.fspath(target)
            tool = load(target, python_path=self._python_path, name=name)
            if isinstance(target, str):
                _must_be_there(tool)
        return replace(tool, **options) if options else tool

    def add(self, tools: Iterable[Tool], *, replace_existing: bool = False) -> list[Tool]:
        """Add tools, all of them or none.

        Raises
        ------
        ToolHandlerError
            Another tool has one of the names already.
        """
        new: dict[str, Tool] = {}
        for tool in tools:
            if not isinstance(tool.name, str) or not tool.name:
                raise ToolHandlerError(f"the name of a tool is text, not {tool.name!r}")
            if (other := new.get(tool.name)) is not None and other != tool:
                raise _clash(other, tool, Hint("name"))
            known = None if replace_existing else self._tools.get(tool.name)
            if known is not None and known != tool:
                raise _clash(known, tool, Hint("name"), Hint("replace"))
            new[tool.name] = tool
        for name, tool in new.items():
            self._tools[name] = tool
            self._note_aliases(name)
        return list(new.values())

    def _note_aliases(self, name: str) -> None:
        # Providers admit fewer characters in names: what they were told must lead back here.
        for pattern, longest in (
            (r"[^a-zA-Z0-9_-]", 64),
            (r"[^a-zA-Z0-9_.-]", 64),
            (r"[^A-Za-z0-9_.-]", 128),
        ):
            alias = safe_name(name, pattern=pattern, longest=longest)
            if alias != name:
                self._aliases[alias] = name

    def remove(self, name: str) -> Tool:
        """Take a tool out.

        Raises
        ------
        ToolNotFoundError
        """
        tool = self.get(name)
        del self._tools[tool.name]
        self._aliases = {alias: name for alias, name in self._aliases.items() if name in self._tools}
        return tool

    def get(self, name: str) -> Tool:
        """Return the tool called `name`.

        Raises
        ------
        ToolNotFoundError
            With the nearest name there is.
        """
        found = self._tools.get(name) or self._tools.get(self._aliases.get(name, ""))
        if found is not None:
            return found
        raise ToolNotFoundError(f"there is no tool {name!r}; {_instead(str(name), self._tools)}")

    # -- many at once --

    def find(self, source: Any, broken: dict[str, str] | None = None) -> Iterator[Tool]:
        """Make a tool of every public function of a module, file or folder, or of each item of a list.

        Parameters
        ----------
        source : object
        broken : dict, optional
            Where given, the files of a folder that cannot be read or do not parse are left out, and put there with
            the reason.

        Raises
        ------
        ModuleLoadError
            There is no such place, it does not parse, or holds no function.
        """
        if isinstance(source, types.ModuleType):
            yield from self._of_context(self._context_of_live(source))
        elif isinstance(source, (list, tuple, set, frozenset)):
            for item in source:
                yield from self.find(item, broken)
        elif callable(source) or isinstance(source, Tool):
            yield self.make(source)
        elif isinstance(source, (str, os.PathLike)):
            yield from self._of_place(os.fspath(source), broken)
        else:
            raise ToolHandlerError(
                f"no tools can be made of {source!r:.80}: pass a function, module, file or folder, or a list of these"
            )

    def _of_place(self, place: str, broken: dict[str, str] | None) -> Iterator[Tool]:
        _, colon, path = place.rpartition(":")
        if os.path.isdir(place):
            yield from self._of_folder(place, broken)
        elif colon and os.sep not in path and not place.endswith(".py"):
            yield self.make(place)
        elif is_file_target(place):
            yield from self._of_context(context_of_file(place, python_path=self._python_path))
        else:
            yield from self._of_module(place)

    def _of_folder(self, folder: str, broken: dict[str, str] | None) -> Iterator[Tool]:
        try:
            entries = os.listdir(folder)
        except OSError as error:
            raise ModuleLoadError(f"cannot read the folder {folder!r}: {error.strerror}") from error
        names = sorted(filter(_holds_tools, entries))
        found = False
        for entry in names:
            path = os.path.join(folder, entry)
            try:
                context = context_of_file(path, python_path=self._python_path)
                tools = list(self._of_context(context, empty_ok=True))
            except ModuleLoadError as error:
                if broken is None:
                    raise
                broken[path] = str(error)
                found = True  # that it is broken is told
            else:
                yield from tools
                found |= bool(tools)
        if not found:
            what = "public function in the files of" if names else "Python file in"
            raise ModuleLoadError(f"there is no {what} the folder {folder!r}{_below(folder, entries)}")

    def _of_module(self, name: str) -> Iterator[Tool]:
        context = context_of_module(name, "", python_path=self._python_path)
        if not context.path.startswith("<"):
            yield from self._of_context(context)
            return
        # Imported where the tool runs: what is read here is only the names in it.
        listing = read_listing(name, python_path=self._python_path)
        functions = public_functions(listing) if listing is not None else []
        if not functions:
            raise ModuleLoadError(
                f"module {name!r} has no source that tells its functions: name them: '{name}:function'"
            )
        for function in functions:
            yield Tool(function, context_by_name(name, function), function)

    def _context_of_live(self, module: types.ModuleType) -> ModuleContext:
        path = file_of_module(module)
        if path is not None:
            return context_of_module_file(module.__name__, path, self._python_path)
        for key in ("__source__", "source"):
            text = vars(module).get(key)
            if isinstance(text, str):
                return ModuleContext(module.__name__, text.encode(), f"<module {module.__name__}>")
        raise ModuleLoadError(f"module {module.__name__!r} has no source: add its functions one by one")

    def _of_context(self, context: ModuleContext, *, empty_ok: bool = False) -> Iterator[Tool]:
        names = public_functions(context)
        if not names and not empty_ok:
            raise ModuleLoadError(f"there is no public function in {context.path!r}: add tools by name")
        for name in names:
            yield Tool(name, context, name)


def _clash(one: Tool, other: Tool, *hints: Hint) -> ToolHandlerError:
    places = f"{one.context.path}:{one.path} and {other.context.path}:{other.path}"
    return ToolHandlerError(f"two tools are called {one.name!r}: {places}").with_hints(*hints)


def _must_be_there(tool: Tool) -> None:
    from elf_pysandbox._tools.static import look_at

    look = look_at(tool.context, tool.path)
    if look is not None and look.missing:
        raise ToolNotFoundError(
            f"{tool.context.name} has no {tool.path!r}; {_instead(tool.path, look.names)}"
        )


def _instead(name: str, names: Iterable[str]) -> str:
    from difflib import get_close_matches

    known = list(names)
    close = get_close_matches(name, known, n=1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"there are: {', '.join(known[:_NAMED]) or 'none'}{', …' * (len(known) > _NAMED)}"


def _holds_tools(entry: str) -> bool:
    """Whether a file of this name is looked through for tools, where a folder is given."""
    return entry.endswith(".py") and entry[0] not in "_."


def _below(folder: str, entries: Iterable[str]) -> str:
    """Say that folders in a folder are not looked through, if one of them may have tools."""
    for entry in sorted(entries):
        inner = os.path.join(folder, entry)
        with contextlib.suppress(OSError):
            if os.path.isdir(inner) and any(map(_holds_tools, os.listdir(inner))):
                return f"; folders in it are not looked through: name {inner!r}"
    return ""
