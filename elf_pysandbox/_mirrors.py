"""Builtin exceptions that a tool raised, as classes of the host that are builtin exceptions, too.

Decided here and nowhere else: which builtin classes are mirrored. Each class is made when it is first needed, also when
pickle looks for it by its name.
"""

from __future__ import annotations

import builtins

from elf_pysandbox._errors import ErrorInfo, ToolRaised

TYPE_CHECKING = False  # see `_records`
if TYPE_CHECKING:
    from typing import Any

# Builtins whose constructors take more than a message, or that would end the host if raised there.
_NOT_MIRRORED = {"SystemExit", "KeyboardInterrupt", "GeneratorExit", "UnicodeDecodeError",
                 "UnicodeEncodeError", "UnicodeTranslateError", "BaseExceptionGroup", "ExceptionGroup",
                 "StopIteration", "StopAsyncIteration"}  # fmt: skip
_PREFIX = "Tool"


def raised_class(info: ErrorInfo) -> type[ToolRaised]:
    """Return `ToolRaised`, or its subclass that is also the builtin exception `info` names."""
    mirrored = _mirror_of(info.type) if info.module == "builtins" else None
    return mirrored or ToolRaised


def _mirror_of(name: str) -> type[ToolRaised] | None:
    base: Any = getattr(builtins, name, None)
    if name in _NOT_MIRRORED or not (isinstance(base, type) and issubclass(base, Exception)):
        return None
    own = f"{_PREFIX}{name}"
    # Two threads may both make it: the first stays.
    made: type[ToolRaised] = globals().setdefault(
        own, globals().get(own) or type(own, (ToolRaised, base), {"__module__": __name__})
    )
    return made


def __getattr__(name: str) -> type[ToolRaised]:
    mirrored = _mirror_of(name.removeprefix(_PREFIX)) if name.startswith(_PREFIX) else None
    if mirrored is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return mirrored
