"""JSON that people write: on the command line, in files it names, in the rows of a map."""

from __future__ import annotations

import json
from typing import Any


def strict_json(text: str | bytes) -> Any:
    """Parse JSON; a key that an object has twice is an error, where Python would let the last one win.

    RFC 8259 (section 4) leaves the meaning of such an object open.

    Raises
    ------
    ValueError
        It is no JSON, or has a key twice.
    RecursionError
        It is nested too deeply.
    """
    return json.loads(text, object_pairs_hook=_object)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {json.dumps(twice, ensure_ascii=False)} stands there twice")
    return found
