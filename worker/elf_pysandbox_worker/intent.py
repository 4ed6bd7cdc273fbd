"""Whether the code that failed wanted to write: a reading of its traceback, since an OSError keeps the path alone.

Decided here and nowhere else: what is taken for writing. Like all that is told of a refusal it decides nothing.
"""

from __future__ import annotations

import ast
import errno
import linecache
import os
from types import FrameType, TracebackType

from elf_pysandbox_worker.report.origin import innermost

_LETTERS = frozenset("rwaxbt+")
_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_FLAG_NAMES = frozenset({"O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC", "O_APPEND"})
_CALLS = frozenset(
    {
        "hardlink_to", "link", "makedirs", "mkdir", "mkdtemp", "mkfifo", "mknod", "mkstemp", "remove", "removedirs",
        "rename", "renames", "replace", "rmdir", "rmtree", "symlink", "symlink_to", "touch", "truncate", "unlink",
        "write_bytes", "write_text",
    }
)  # fmt: skip
_NAME_OF_FOLDER = {"makedirs": "name", "mkdir": "self"}  # in os and pathlib, which make one by one


def is_writing(mode: object) -> bool:
    """Whether a mode of `open`, or flags of `os.open`, ask for more than reading."""
    if type(mode) is int:
        return bool(mode & _FLAGS)
    return (
        type(mode) is str and 0 < len(mode) < 5 and _LETTERS.issuperset(mode) and not set(mode) <= set("rbt")
    )


def wanted_to_write(error: BaseException) -> bool:
    """Whether what failed was to make, change or remove something."""
    if isinstance(error, OSError) and error.errno == errno.EROFS:
        return True
    last = innermost(error.__traceback__)
    if last is None:
        return False
    if last.tb_frame.f_code.co_name in _CALLS:
        return True
    call = _call_of(last)
    if call is None:
        return is_writing(last.tb_frame.f_locals.get("mode"))
    called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if called in _CALLS:
        return True
    mode = next((word.value for word in call.keywords if word.arg in ("mode", "flags")), None)
    if mode is None and len(call.args) > 1:
        mode = call.args[1]
    return mode is not None and any(_says_so(part, last.tb_frame) for part in ast.walk(mode))


def folder_asked_for(error: BaseException) -> str | None:
    """Return the folder that `os.makedirs` or `Path.mkdir` was to make: they fail at one above it."""
    traceback = error.__traceback__
    while traceback is not None:
        frame = traceback.tb_frame
        name = _NAME_OF_FOLDER.get(frame.f_code.co_name)
        if name is not None:
            found = frame.f_locals.get(name)
            return os.fsdecode(found) if isinstance(found, (str, bytes, os.PathLike)) else None
        traceback = traceback.tb_next
    return None


def _says_so(part: ast.AST, frame: FrameType) -> bool:
    """Whether a part of the second argument stands for a mode that writes."""
    if isinstance(part, ast.Constant):
        return is_writing(part.value)
    if isinstance(part, ast.Name):
        return part.id in _FLAG_NAMES or is_writing(frame.f_locals.get(part.id))
    return isinstance(part, ast.Attribute) and part.attr in _FLAG_NAMES


def _call_of(traceback: TracebackType) -> ast.Call | None:
    """Return the call that failed, which may be part of a line or of several; None where its source is not known."""
    code = traceback.tb_frame.f_code
    first, last, left, right = list(code.co_positions())[traceback.tb_lasti // 2]
    if first is None or last is None:
        return None
    # Columns count bytes of UTF-8.
    lines = [
        linecache.getline(code.co_filename, number, traceback.tb_frame.f_globals).encode()
        for number in range(first, last + 1)
    ]
    lines[-1] = lines[-1][:right]
    lines[0] = lines[0][left:]
    try:
        found = ast.parse(b"(" + b"".join(lines) + b")", mode="eval").body
    except (SyntaxError, ValueError):
        return None
    return found if isinstance(found, ast.Call) else None
