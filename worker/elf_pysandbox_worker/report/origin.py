"""Who made an exception: the tool's own code, or a system call that was refused.

Decided here and nowhere else: what is taken for an exception of the tool's own making. An errno alone does not tell,
since `raise PermissionError(13, …)` has one as well, and then no layer refused anything. A tool can mislead this; it
misleads its own caller then, and no decision hangs on it.
"""

from __future__ import annotations

import errno
import importlib
import os
from contextlib import suppress
from types import CodeType, TracebackType

_OWN = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_LIBRARY = os.path.dirname(os.path.dirname(importlib.__file__)) + os.sep
_INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")
_DENIALS = frozenset({errno.EPERM, errno.EACCES, errno.EROFS})
_CHAIN = 20


def innermost(traceback: TracebackType | None) -> TracebackType | None:
    """Return the entry of a traceback where its error came up."""
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback


def is_denial(error: BaseException) -> bool:
    """Whether the kernel refused something."""
    if not isinstance(error, OSError) or error.errno is None:
        return False
    return (error.errno in _DENIALS or _is_refused_lookup(error)) and not is_tools_own(error)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether there was no memory for something."""
    return _says_no_memory(error) and not is_tools_own(error)


def is_tools_own(error: BaseException) -> bool:
    """Whether code that is no library's made this error and raised it, not in answer to one that it met.

    Code of the standard library tells what it has learnt in another process (`subprocess`), in another thread
    (`concurrent.futures`) or by trying (`tempfile`) in errors that it makes itself.
    """
    try:
        own = _is_raised(error.__traceback__) and not _is_library(error.__traceback__)
        return own and not any(map(_is_met, _before(error)))
    except Exception:
        return False  # no memory, or no descriptor left to import with


def told_of(error: BaseException) -> list[BaseException]:
    """Return the errors that this one tells of in its own words: its causes, and what its text repeats."""
    found: list[BaseException] = []
    with suppress(Exception):  # the texts are the tool's own
        while len(found) < _CHAIN and (inner := _told_by(error)) is not None:
            found.append(inner)
            error = inner
    return found


def _told_by(error: BaseException) -> BaseException | None:
    reason = getattr(error, "reason", None)  # of urllib's URLError, which has no cause
    if isinstance(reason, BaseException):
        return reason
    if error.__cause__ is not None or error.__context__ is None:
        return error.__cause__
    text = str(error.__context__)
    return error.__context__ if text and text in str(error) else None


def _is_refused_lookup(error: OSError) -> bool:
    if type(error).__module__ != "socket":
        return False
    from elf_pysandbox_worker.isolation.explain import is_refused_lookup

    return is_refused_lookup(error)


def _before(error: BaseException) -> list[BaseException]:
    """Return the errors in whose handling this one was raised, suppressed (`from None`) or not."""
    found: list[BaseException] = []
    cause = error.__cause__ or error.__context__
    while cause is not None and len(found) < _CHAIN:
        found.append(cause)
        cause = cause.__cause__ or cause.__context__
    return found


def _is_met(error: BaseException) -> bool:
    told = isinstance(error, OSError) or _says_no_memory(error)
    return told and not (_is_raised(error.__traceback__) and not _is_library(error.__traceback__))


def _says_no_memory(error: BaseException) -> bool:
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)


def _is_raised(traceback: TracebackType | None) -> bool:
    """Whether a `raise` is where the error comes from: one that a call in C made has that call there.

    To raise it again adds an entry further out.
    """
    last = innermost(traceback)
    # Compiled extensions (Cython) add frames that never ran, and have no place in their code.
    return last is not None and last.tb_lasti >= 0 and _is_raise(last.tb_frame.f_code, last.tb_lasti)


def _is_raise(code: CodeType, place: int) -> bool:
    import opcode  # not before: a zygote would pay for what few calls need

    return code.co_code[place] == opcode.opmap["RAISE_VARARGS"]


def _is_library(traceback: TracebackType | None) -> bool:
    last = innermost(traceback)
    file = last.tb_frame.f_code.co_filename if last is not None else ""
    if file.startswith(("<frozen ", _OWN)):
        return True
    return file.startswith(_LIBRARY) and not any(folder in file for folder in _INSTALLED)
