"""One document with what it includes, as one tree: `include`, `defaults` and relative paths are settled here.

Decided here and nowhere else: what an included document may hold, which value wins, and what a relative path
counts from (the folder of the file it is written in).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from elf_pysandbox.config.problems import DocumentError, listed
from elf_pysandbox.config.text import Place, parse, read_text

MAX_INCLUDED = 50
"""Documents one workflow may be made of."""

_INCLUDABLE = ("version", "name", "description", "include", "defaults", "python_path", "functions")


def read_tree(path: Path) -> tuple[Place, tuple[Path, ...]]:
    """Read a document with its includes.

    Returns
    -------
    tuple of Place and paths
        The merged tree, and every file that was read.

    Raises
    ------
    DocumentError
    """
    files: list[Path] = []
    tree = _read(path, [], files)
    _spread_defaults(tree)
    return tree, tuple(files)


def tree_of(text: str, file: str) -> Place:
    """Parse text that stands in no file; its includes count from the working directory."""
    tree = _with_includes(parse(text, file), Path(file).absolute().parent, [], [])
    _spread_defaults(tree)
    return tree


def _read(path: Path, above: list[Path], files: list[Path]) -> Place:
    files.append(path)
    return _with_includes(
        parse(read_text(path), str(path)), path.absolute().parent, [*above, path.resolve()], files
    )


def _with_includes(tree: Place, folder: Path, above: list[Path], files: list[Path]) -> Place:
    if not isinstance(tree.value, dict):
        raise DocumentError([tree.problem("a workflow document is a mapping: 'functions:', 'workflow:', …")])
    _settle_paths(tree, folder)
    include = tree.get("include")
    wanted = [] if include is None else include.value if isinstance(include.value, list) else [include]
    for place in wanted:
        if not isinstance(place.value, str) or not place.value:
            raise DocumentError([place.problem("include takes paths of documents")])
        target = folder / place.value
        if target.resolve() in above:
            raise DocumentError([place.problem(f"{place.value!r} includes itself, by way of this document")])
        if len(files) >= MAX_INCLUDED:
            raise DocumentError([place.problem(f"more than {MAX_INCLUDED} documents are included")])
        if not target.is_file():
            raise DocumentError([place.problem(f"there is no file {place.value!r} in {folder}")])
        _take_in(tree, _read(target, above, files))
    return tree


def _take_in(tree: Place, included: Place) -> None:
    """Put an included tree under `tree`: lists grow, what `tree` says itself wins."""
    for key in included.value:
        if key not in _INCLUDABLE:
            message = (
                f"an included document holds {listed(_INCLUDABLE)}; {key!r} belongs in the including one"
            )
            raise DocumentError([included.key_problem(key, message)])
    _put_under(tree, included, "defaults")
    _extend(tree, included, "python_path")
    theirs = included.get("functions")
    if theirs is None:
        return
    if "functions" not in tree.value:
        tree.value["functions"], tree.keys["functions"] = theirs, included.keys["functions"]
    elif isinstance(tree.value["functions"].value, dict) and isinstance(theirs.value, dict):
        _extend(tree.value["functions"], theirs, "python_functions")


def _put_under(tree: Place, included: Place, key: str) -> None:
    ours, theirs = tree.get(key), included.get(key)
    if theirs is None:
        return
    if ours is None:
        tree.value[key], tree.keys[key] = theirs, included.keys[key]
    elif isinstance(ours.value, dict) and isinstance(theirs.value, dict):
        tree.value[key] = replace(
            ours, value={**theirs.value, **ours.value}, keys={**theirs.keys, **ours.keys}
        )


def _extend(tree: Place, included: Place, key: str) -> None:
    ours, theirs = tree.get(key), included.get(key)
    if theirs is None:
        return
    if ours is None:
        tree.value[key], tree.keys[key] = theirs, included.keys[key]
    elif isinstance(ours.value, list) and isinstance(theirs.value, list):
        tree.value[key] = replace(ours, value=[*theirs.value, *ours.value])


def _spread_defaults(tree: Place) -> None:
    """Write `defaults` into every function that says nothing else."""
    defaults, functions = tree.get("defaults"), tree.get("functions")
    listing = functions.get("python_functions") if functions is not None else None
    if (
        defaults is None
        or not isinstance(defaults.value, dict)
        or listing is None
        or not isinstance(listing.value, list)
    ):
        return
    for position, function in enumerate(listing.value):
        if isinstance(function.value, dict):
            value = {**defaults.value, **function.value}
            listing.value[position] = replace(function, value=value, keys={**defaults.keys, **function.keys})


def _settle_paths(tree: Place, folder: Path) -> None:
    """Make every relative path of one document absolute."""
    _absolute_list(tree.get("python_path"), folder)
    _settle_settings(tree.get("defaults"), folder)
    for outer, inner in (("functions", "python_functions"), ("workflow", "nodes")):
        holder = tree.get(outer)
        listing = holder.get(inner) if holder is not None else None
        for item in listing.value if listing is not None and isinstance(listing.value, list) else ():
            _settle_settings(item, folder)


def _settle_settings(settings: Place | None, folder: Path) -> None:
    if settings is None or not isinstance(settings.value, dict):
        return
    _absolute(settings.get("file"), folder)
    _absolute_list(settings.get("python_path"), folder)
    files = settings.get("files")
    _absolute_list(files, folder)
    for kind in ("read", "write"):
        _absolute_list(files.get(kind) if files is not None else None, folder)


def _absolute_list(place: Place | None, folder: Path) -> None:
    items: Any = place.value if place is not None else None
    for item in items if isinstance(items, list) else ():
        _absolute(item, folder)


def _absolute(place: Place | None, folder: Path) -> None:
    # An aliased value may be met twice: joining an absolute path changes nothing.
    if place is not None and isinstance(place.value, str) and place.value and "\0" not in place.value:
        place.value = str(folder / Path(place.value).expanduser())
