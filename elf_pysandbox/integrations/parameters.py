"""A node's configured parameters against the signature of its function."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from elf_pysandbox.config.problems import listed, nearest


def mistakes(function: str, given: Collection[str], order: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with the names of parameters: (the name given, or "" for what is missing; message).

    Parameters
    ----------
    function : str
    given : collection of str
    order : list of dict
        Name, kind and required of each parameter of the function, as its description has them.
    """
    names = [entry["name"] for entry in order if entry["kind"] in ("positional_or_keyword", "keyword_only")]
    if not any(entry["kind"] == "var_keyword" for entry in order):
        for name in given:
            if name not in names:
                hint = nearest(name, names) or f" There is {listed(names)}." if names else " It takes none."
                yield name, f"{function} has no parameter {name!r}.{hint}"
    missing = [entry["name"] for entry in order if entry["required"] and entry["name"] in names]
    missing = [name for name in missing if name not in given]
    if missing:
        yield "", f"{function}: parameters lack {listed(missing)}"
