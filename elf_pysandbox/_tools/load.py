"""A target to a `Tool`: by module name, by file, by source text, or a live callable. Reads, never runs.

A source that does not decode or compile is not found out here: the confined side compiles it, and the call
ends as `load_failed`. A file or module that does not exist is an error at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from elf_pysandbox._errors import ConfigurationError, ModuleLoadError, ToolNotFoundError
from elf_pysandbox._tools.context import ModuleContext
from elf_pysandbox._tools.locate import (
    RESERVED,
    Located,
    import_roots,
    is_installed,
    is_standard,
    locate,
    name_in_namespace,
    name_of_file,
    own_roots,
)
from elf_pysandbox._tools.siblings import find_siblings, read_source
from elf_pysandbox._tools.tool import Tool


def load(
    target: str | Callable[..., Any],
    *,
    python_path: Sequence[str] = (),
    name: str | None = None,
    requirements: Sequence[str] = (),
    requires_python: str = "",
    environment: str = "host",
    strict: bool = True,
) -> Tool:
    """Make a tool of a target.

    Parameters
    ----------
    target : str or callable
        ``"package.module:function"``, ``"folder/file.py:function"`` or a live callable. The part after the
        colon may be dotted: ``"shop.py:Cart.empty"``, a class method, or ``"shop.py:cart.total"``, a method of an
        object that the module makes.
    python_path : sequence of str
        Folders to search modules in, before `sys.path`. What lies in them is the tool's own project and
        travels.
    name : str, optional
        What the tool is called; its function's name when left out.
    requirements, requires_python
        What it needs installed (PEP 508, PEP 440), besides what its source says (PEP 723). Checked before its first
        call.
    environment : {"host", "managed"}
        "managed" builds an environment with the requirements by uv, and runs the tool there.
    strict : bool
        False also takes text for numbers; see `Tool`.

    Returns
    -------
    Tool

    Raises
    ------
    ModuleLoadError
        There is no such file or module, or it cannot be read.
    ToolNotFoundError
        The target names no function, or a callable that cannot be shipped.
    """
    tool = _load(target, python_path, name)
    if not strict:
        from dataclasses import replace

        tool = replace(tool, strict=False)
    if requirements or requires_python or environment != "host":
        return tool.needing(requirements, requires_python, environment)
    return tool


def _load(target: str | Callable[..., Any], python_path: Sequence[str], name: str | None) -> Tool:
    if not isinstance(target, (str, os.PathLike)):
        from elf_pysandbox._tools.capture import capture

        return capture(target, python_path=python_path, name=name)
    place, path = split_target(os.fspath(target))
    if is_file_target(place):
        context = context_of_file(place, python_path=python_path)
    else:
        context = context_of_module(place, path, python_path=python_path)
    return Tool(name or path.rpartition(".")[2], context, path)


def load_source(source: str | bytes, path: str, *, name: str) -> Tool:
    """Make a tool of a source text.

    Parameters
    ----------
    source : str or bytes
        The whole module.
    path : str
        Attribute path of the callable in it.
    name : str
        The name the module is loaded under.
    """
    if not isinstance(source, (str, bytes)):
        raise ConfigurationError(f"source must be text or bytes, not {type(source).__name__}")
    if isinstance(source, str):
        source = source.encode("utf-8", "surrogatepass")
    if name in sys.stdlib_module_names or name in RESERVED:
        name += "_source"
    return Tool(path.rpartition(".")[2], ModuleContext(name, source, f"<source {name}>"), path)


def split_target(target: str) -> tuple[str, str]:
    """Split ``"place:function"``."""
    place, colon, path = target.rpartition(":")
    if not colon or not place or not path:
        raise ToolNotFoundError(
            f"{target!r} names no function: write 'package.module:function' or 'folder/file.py:function'"
        )
    return place, path


def is_file_target(place: str) -> bool:
    """Whether the part before the colon is a file or folder, not a module's name."""
    return place.endswith(".py") or os.sep in place


def context_of_file(path: str | os.PathLike[str], *, python_path: Sequence[str] = ()) -> ModuleContext:
    """Read the module in a file, with its siblings."""
    path = os.path.abspath(os.fspath(path))
    if os.path.isdir(path):
        path = _package_file(path)
    name, root = name_of_file(path)
    source = read_source(path, name)
    configured = tuple(map(os.path.abspath, python_path))
    spaced = name_in_namespace(path, source, python_path) if "." not in name else None
    if spaced is not None:
        context = _context(spaced[0], source, path, False, (spaced[1], *configured))
        if any(sibling.path.endswith(".py") for sibling in context.siblings):
            return context
    roots = (root, *configured)
    if is_installed(root):
        roots = (*_only(name, root), *configured)
    return _context(name, source, path, os.path.basename(path) == "__init__.py", roots)


def _package_file(folder: str) -> str:
    path = os.path.join(folder, "__init__.py")
    try:
        os.stat(path)
    except FileNotFoundError:
        raise ModuleLoadError(
            f"{folder!r} is a folder without __init__.py: it holds no function; name a file in it"
        ) from None
    except OSError:  # told by whoever reads it
        pass
    return path


def context_of_module(name: str, attribute: str, *, python_path: Sequence[str] = ()) -> ModuleContext:
    """Find a module on the python path and read it with its siblings, importing nothing.

    The standard library and installed distributions are not read: for them, the context is a module that
    imports `attribute` by name.
    """
    if not all(part.isidentifier() for part in name.split(".")):
        raise ModuleLoadError(
            f"{name!r} is no module name: write 'package.module:function' or 'folder/file.py:function'"
        )
    if name.partition(".")[0] in RESERVED:
        return context_by_name(name, attribute)
    configured = tuple(map(os.path.abspath, python_path))
    located = locate(name, configured)
    if located is None and not is_standard(name):
        located = locate(name, import_roots()) or _by_finders(name)
    if located is None and not is_standard(name):
        raise ModuleLoadError(_not_found(name, python_path))
    own = located is not None and (not is_installed(located.path) or _below(located.path, configured))
    if located is None or not own or located.kind == "compiled":
        return context_by_name(name, attribute)
    if located.kind == "namespace":
        raise ModuleLoadError(
            f"{name!r} is a folder without __init__.py ({located.path}): it holds no function"
        )
    source = read_source(located.path, name)
    roots = (_root_of(located), *configured, *own_roots(import_roots()))
    return _context(name, source, located.path, located.kind == "package", tuple(dict.fromkeys(roots)))


def read_listing(name: str, *, python_path: Sequence[str] = ()) -> ModuleContext | None:
    """Read a module of the standard library or of an installed distribution for the names in it; None when it has
    no source. It does not travel: `context_by_name` makes the context of each of its functions."""
    located = locate(name, import_roots(python_path)) or _by_finders(name)
    if located is None or located.kind not in ("source", "package"):
        return None
    return ModuleContext(
        name, read_source(located.path, name), located.path, is_package=located.kind == "package"
    )


def context_of_module_file(name: str, path: str | None, python_path: Sequence[str] = ()) -> ModuleContext:
    """Read a module that is known by name and file: one that this process has imported."""
    if path is None:
        raise ModuleLoadError(f"module {name!r} is in no source file")
    is_package = os.path.basename(path) == "__init__.py"
    located = Located(name, "package" if is_package else "source", path)
    if is_standard(name):
        return context_of_file(path, python_path=python_path)
    roots = (_root_of(located), *map(os.path.abspath, python_path), *own_roots(import_roots(), python_path))
    return _context(name, read_source(path, name), path, is_package, tuple(dict.fromkeys(roots)))


def context_by_name(module: str, attribute: str) -> ModuleContext:
    """Make a module that imports the first part of `attribute` from an installed or standard module."""
    first = attribute.partition(".")[0]
    text = f"{first} = {first}\n" if module == "builtins" else f"from {module} import {first}\n"
    return ModuleContext("by_name_" + module.replace(".", "_"), text.encode(), f"<{module}.{attribute}>")


def _context(name: str, source: bytes, path: str, is_package: bool, roots: Sequence[str]) -> ModuleContext:
    requirements: tuple[str, ...] = ()
    requires_python = ""
    if b"# /// script" in source:
        from elf_pysandbox._tools.dependencies import script_metadata

        requirements, requires_python = script_metadata(source)
    siblings = find_siblings(name, source, is_package=is_package, roots=roots)
    return ModuleContext(name, source, path, siblings, requirements, requires_python, is_package)


def _only(name: str, root: str) -> tuple[str, ...]:
    """An installed file's root holds everybody's packages: it counts only when the file is in a package of
    its own."""
    return (root,) if "." in name else ()


def _below(path: str, folders: Sequence[str]) -> bool:
    return any(path.startswith(folder + os.sep) for folder in folders)


def _root_of(located: Located) -> str:
    """The folder that the module's dotted name counts from."""
    folder = os.path.dirname(located.path)
    up = located.name.count(".") + (located.kind == "package")
    for _ in range(up):
        folder = os.path.dirname(folder)
    return folder


def _by_finders(name: str) -> Located | None:
    """Ask the import system for the top-level package only (an editable install): that runs nothing."""
    from importlib.util import find_spec

    top, _, rest = name.partition(".")
    try:
        spec = find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if not rest:
        if spec.origin and spec.origin.endswith(".py"):
            kind = "package" if spec.submodule_search_locations else "source"
            return Located(name, kind, spec.origin)  # type: ignore[arg-type]
        return None
    folders = list(spec.submodule_search_locations or ())
    roots = [os.path.dirname(folder) for folder in folders if os.path.basename(folder) == top]
    return locate(name, roots)


def _not_found(name: str, python_path: Sequence[str]) -> str:
    if os.path.isfile(name):
        return f"{name!r} is a file, but none of Python: the name of one ends in .py"
    searched = [os.path.relpath(p) if p.startswith(os.getcwd()) else p for p in (*python_path, "")]
    top, _, rest = name.partition(".")
    where = f"the python path ({', '.join(p or 'sys.path' for p in searched)})"
    message = f"no module {name!r} on {where}"
    if rest and locate(top, import_roots(python_path)):
        message = f"there is a package {top!r}, but no module {name!r} in it"
    return f"{message}: check the spelling, put its folder on PYTHONPATH, or name the file: 'folder/file.py:function'"
