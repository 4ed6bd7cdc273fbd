"""cloudpickle, for callables whose source is nowhere: host to confined side only, profile `native` only."""

from __future__ import annotations

import io
from typing import Any

import cloudpickle

from elf_pysandbox._tools.emit import CannotShip, unshippable

_FILES = (io.FileIO, io.BufferedIOBase, io.TextIOWrapper)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    def reducer_override(self, obj: Any) -> Any:
        # cloudpickle would read an open file and ship what it holds.
        if isinstance(obj, _FILES) and not isinstance(obj, io.BytesIO):
            raise unshippable(obj, "what it uses")
        return super().reducer_override(obj)


def dumps(function: Any, called: str, reason: CannotShip) -> bytes:
    """Pickle a callable by value.

    Raises
    ------
    CannotShip
        Naming what cannot be pickled, and why there was no source.
    """
    buffer = io.BytesIO()
    try:
        _Pickler(buffer).dump(function)
    except CannotShip as error:
        raise CannotShip(f"{called}: {error}") from error
    except Exception as error:
        raise CannotShip(f"{called} cannot be sent to another process: {error}; {reason}") from error
    return buffer.getvalue()
