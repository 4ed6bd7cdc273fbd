"""Builtin exceptions that a tool raised, as classes of the host that are builtin exceptions, too.

Decided here and nowhere else: which builtin classes are mirrored, and what of an exception is read from its text. Each
class is made when it is first needed, also when pickle looks for it by its name.
"""

from __future__ import annotations

import builtins
import os

from elf_pysandbox._errors import ErrorInfo, ToolRaised

TYPE_CHECKING = False  # see `_records`
if TYPE_CHECKING:
    from typing import Any

# They would end the host or a loop of it if raised there, or are looked into by the interpreter.
_NOT_MIRRORED = {"SystemExit", "KeyboardInterrupt", "GeneratorExit", "BaseExceptionGroup", "ExceptionGroup",
                 "StopIteration", "StopAsyncIteration"}  # fmt: skip
# Their constructors ask for what does not cross.
_AS_BASE = dict.fromkeys(
    ("UnicodeDecodeError", "UnicodeEncodeError", "UnicodeTranslateError"), "UnicodeError"
)
_PREFIX = "Tool"

_ESCAPES = r"\\(?:[\\'\"nrt]|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})"
_LITERAL = rf"""b?'(?:[^'\\]|{_ESCAPES})*'|b?"(?:[^"\\]|{_ESCAPES})*"|-?[0-9]{{1,18}}"""
"""What `repr` makes of text, bytes and numbers, and no other expression."""
_LONGEST = 5000
"""Characters of a text that is looked into: a path has 4096 at most. Reading any takes milliseconds then."""


def raised(info: ErrorInfo) -> ToolRaised:
    """Return the error that stands for an exception of the tool's own."""
    kind = _mirror_of(info.type) if info.module == "builtins" else None
    if kind is None:
        name = info.type if info.module == "builtins" else f"{info.module}.{info.type}"
        return ToolRaised(f"{name}: {info.message}", info)
    error = kind(info.message, info)
    if len(info.message) <= _LONGEST:
        _restore(error, info)
    return error


def _mirror_of(name: str) -> type[ToolRaised] | None:
    base: Any = getattr(builtins, _AS_BASE.get(name, name), None)
    if name in _NOT_MIRRORED or not (isinstance(base, type) and issubclass(base, Exception)):
        return None
    own = f"{_PREFIX}{name}"
    if own not in globals():
        # Two threads may both make it: the first stays.
        globals().setdefault(own, type(own, (ToolRaised, base), {"__module__": __name__, "_told": _told}))
    found: type[ToolRaised] = globals()[own]
    return found


def _told(self: ToolRaised) -> str:
    """Return the tool's text as it was: some builtins make theirs of their arguments."""
    return self.info.message if self.info is not None else str(self.args[0])


def __getattr__(name: str) -> type[ToolRaised]:
    mirrored = _mirror_of(name.removeprefix(_PREFIX)) if name.startswith(_PREFIX) else None
    if mirrored is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return mirrored


# -- what the text tells ------------------------------------------------------------------------------


def _restore(error: ToolRaised, info: ErrorInfo) -> None:
    """Give an error what the builtin has besides its text, as far as the text has it: nothing else is sent."""
    if info.type == "KeyError":
        key = _value_of(info.message)
        if key is not None:
            error.args = (key,)
    elif isinstance(error, OSError):
        _restore_os_error(error, info.message)


def _restore_os_error(error: OSError, text: str) -> None:
    import re

    found = re.fullmatch(r"\[Errno (-?[0-9]{1,9})\] (.*)", text, re.DOTALL)
    if found is None:
        return
    number, rest = int(found[1]), found[2]
    usual = os.strerror(number)
    files = re.fullmatch(
        rf"({re.escape(usual)}|.*?)(?:: ({_LITERAL})(?: -> ({_LITERAL}))?)?", rest, re.DOTALL
    )
    if files is None:
        return
    # Its arguments stay the whole text: `repr` shows them, and not the file.
    error.errno, error.strerror = number, files[1]
    error.filename, error.filename2 = (_value_of(part) if part else None for part in files.groups()[1:])


def _value_of(text: str) -> Any:
    """Return the text, bytes or number that `repr` writes like this; None where it is none of them."""
    import ast
    import re

    if not re.fullmatch(_LITERAL, text):
        return None
    try:
        value = ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return None
    return value if repr(value) == text else None
