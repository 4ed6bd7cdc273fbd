"""Exceptions as data: what a failure looks like on the wire, bounded in every direction.

An exception is the tool's object: its `__str__`, notes and even its class attributes may run code, raise,
or be huge. Nothing here lets that out: each look at it is guarded, each text is cut.
"""

from __future__ import annotations

import errno
import importlib
import os
import sys
from collections.abc import Sequence
from types import TracebackType

import msgspec

from elf_pysandbox_worker.errors import BadArguments, BadResult, ToolMissing
from elf_pysandbox_worker.report.origin import is_denial, is_out_of_memory, is_tools_own, told_of
from elf_pysandbox_worker.wire.messages import Bundle, ErrorData, FrameData, encode
from elf_pysandbox_worker.wire.values import UnsupportedValue, ValueTooLarge

_REPORT = 200_000  # of MAX_REPORT_BYTES; the rest of the message is small
_MESSAGE = 16_384
_NAME = 200
_NOTES = 20
_FRAMES = 50
_SOURCE_LINE = 400
_CAUSES = 6
_HINTS = 10
_OWN = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_OURS = (_OWN, "<frozen importlib", importlib.__file__)
"""Files whose frames are no tool's: what imports its module is among them."""
_PARSER = os.path.join(os.path.dirname(os.path.dirname(importlib.__file__)), "ast.py")
UNDECODABLE = "Save the file as UTF-8, or correct its coding cookie (PEP 263)."
"""The way out of source that does not decode; as in the rule PSB003, which a native tool's process does not import."""


def describe(error: BaseException) -> ErrorData:
    """Return the exception as data that fits a report (`wire.decode.MAX_REPORT_BYTES`); MemoryError: not even that."""
    try:
        data = _describe(error, 0)
    except BaseException as broken:
        # Its class answers for itself (`__class__`, a metaclass), and does not answer.
        return ErrorData(_name_of(error), "", f"<the exception's own class raised {_name_of(broken)}>")
    for shorter in (_without_cause, _without_notes, _with_last_frames):
        if len(encode(data)) <= _REPORT:
            break
        data = shorter(data)
    return data


def _without_cause(data: ErrorData) -> ErrorData:
    return msgspec.structs.replace(data, cause=None)


def _without_notes(data: ErrorData) -> ErrorData:
    return msgspec.structs.replace(data, notes=[], problems=data.problems[:20])


def _with_last_frames(data: ErrorData) -> ErrorData:
    return msgspec.structs.replace(data, traceback=data.traceback[-10:])


def _describe(error: BaseException, depth: int) -> ErrorData:
    problems = error.problems if isinstance(error, (BadArguments, BadResult)) else []
    why, hints = _refusal(error)
    return ErrorData(
        type=_name_of(error),
        module=_cut(str(type(error).__module__), _NAME),
        message=_message(error),
        notes=[*_notes(error), why] if why else _notes(error),
        traceback=_frames(error.__traceback__),
        cause=_cause(error, depth),
        problems=[(_cut(path, 1000), _cut(text, 4000)) for path, text in problems[:200]],
        hints=[(_cut(name, _NAME), _cut(value, 1000)) for name, value in hints[:_HINTS]],
    )


def _name_of(error: BaseException) -> str:
    """Return the name of its class as the interpreter holds it: a metaclass may say anything, and raise."""
    name: str = type.__dict__["__name__"].__get__(type(error))
    return _cut(name, _NAME)


def classify(error: BaseException) -> str:
    """Return the status with which a call ends that raised `error`."""
    try:
        return _classify(error)
    except BaseException:
        return "raised"  # It is the tool's own, since its class does not answer.


def _classify(error: BaseException) -> str:
    if is_out_of_memory(error):
        return "memory_limit"
    if isinstance(error, BadArguments):
        return "invalid_arguments"
    if isinstance(error, ToolMissing):
        return "not_found"
    if isinstance(error, (UnsupportedValue, ValueTooLarge, BadResult)):
        return "bad_result"
    restricted = sys.modules.get("elf_pysandbox_worker.restricted")
    if restricted is not None and isinstance(error, restricted.PolicyDenied):
        return "denied"
    if is_denial(error):
        return "denied"
    return "raised"


def describe_load(error: BaseException, bundle: Bundle) -> tuple[str, ErrorData]:
    """Return status and data of an exception that ended the loading of a bundle."""
    status = classify(error)
    data = describe(error)
    if isinstance(error, SyntaxError):
        data = _as_compilers_say(error, data, bundle)
        if "codec" in data.message or "encoding" in data.message:
            data = msgspec.structs.replace(data, notes=[*data.notes, UNDECODABLE])
    elif isinstance(error, UnicodeDecodeError):
        data = _as_decoders_say(error, data, bundle)
    return (status if status in ("memory_limit", "denied") else "load_failed"), data


def _as_compilers_say(error: SyntaxError, data: ErrorData, bundle: Bundle) -> ErrorData:
    """Tell a module that does not compile by its own file, line and column, not by who compiled it."""
    own = {name for file in bundle.files for name in (file.path, f"<{file.name}>")}
    importers = [each for each in data.traceback if each.file in own]
    if error.filename in own and not error.lineno:
        # An unknown encoding: no line could be read.
        message = _cut(f"{error.msg} ({os.path.basename(error.filename)})", _MESSAGE)
        return msgspec.structs.replace(data, message=message, traceback=importers)
    if error.filename is None:
        # NUL bytes: the compiler gives up before it looks at a line.
        whole = [file.path or f"<{file.name}>" for file in bundle.files if b"\0" in file.source]
        place = f" ({os.path.basename(whole[0])})" if whole else ""
        return msgspec.structs.replace(data, message=f"{data.message}{place}", traceback=importers)
    if error.filename not in own or error.lineno is None:
        return data
    column = f", column {error.offset}" if error.offset and error.offset > 0 else ""
    place = f"{os.path.basename(error.filename)}, line {error.lineno}{column}"
    frame = FrameData(_cut(error.filename, 1000), error.lineno, "", _marked(error))
    message = _cut(f"{error.msg} ({place})", _MESSAGE)
    return msgspec.structs.replace(data, message=message, traceback=[*importers, frame])


def _as_decoders_say(error: UnicodeDecodeError, data: ErrorData, bundle: Bundle) -> ErrorData:
    """Tell a module that neither compiles nor decodes by its own file: the parser fails at telling the first.

    A module's own code may raise this error as well: then the last frame is its own.
    """
    file = next((file for file in bundle.files if error.object and error.object in file.source), None)
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if file is None or last is None or not last.tb_frame.f_code.co_filename.startswith((*_OURS, _PARSER)):
        return data
    importers = [each for each in data.traceback if not each.file.startswith(_PARSER)]
    name = os.path.basename(file.path) if file.path else f"<{file.name}>"
    message = _cut(f"{data.message} ({name})", _MESSAGE)
    return msgspec.structs.replace(
        data, message=message, traceback=importers, notes=[*data.notes, UNDECODABLE]
    )


def _marked(error: SyntaxError) -> str:
    """Return the line that does not compile, with carets below what is wrong in it."""
    line = (error.text or "").rstrip("\n")
    shown = line.lstrip()
    start = (error.offset or 0) - 1 - (len(line) - len(shown))
    if not shown or len(shown) > _SOURCE_LINE or start < 0:
        return _cut(shown, _SOURCE_LINE)
    same_line = error.end_lineno == error.lineno and (error.end_offset or 0) > (error.offset or 0)
    width = min((error.end_offset or 0) - (error.offset or 0), len(shown) - start) if same_line else 1
    # Tabs stay, so that the carets stand below what they mark.
    before = "".join(each if each.isspace() else " " for each in shown[:start]).ljust(start)
    return _cut(f"{shown}\n{before}{'^' * max(width, 1)}", 2 * _SOURCE_LINE + 1)


def _cut(text: str, limit: int) -> str:
    # Lone surrogates are legal in str and not in UTF-8; they are shown, not sent.
    text = text if len(text) <= limit else f"{text[:limit]}… ({len(text) - limit} more characters)"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _message(error: BaseException) -> str:
    try:
        text = str(error)
        if isinstance(error, BaseExceptionGroup):
            text += "".join(f"\n  - {_name_of(part)}: {part}" for part in error.exceptions[:20])
        return _cut(text, _MESSAGE)
    except BaseException as broken:
        return f"<the exception's own __str__ raised {_name_of(broken)}>"


def _notes(error: BaseException) -> list[str]:
    try:
        notes = [
            _cut(note, _MESSAGE) for note in getattr(error, "__notes__", ())[:_NOTES] if isinstance(note, str)
        ]
    except BaseException:
        notes = []
    return notes


def _refusal(error: BaseException) -> tuple[str, Sequence[tuple[str, str]]]:
    """Return why the sandbox refused something, where it did, and the settings that would allow it."""
    restricted = sys.modules.get("elf_pysandbox_worker.restricted")
    if restricted is not None and isinstance(error, restricted.PolicyDenied):
        return "", error.hints  # Its message says why.
    found = _explained(error)
    if found is None:
        found = next((told for inner in told_of(error) if (told := _explained(inner, network=True))), None)
    return found or ("", ())


def _explained(
    error: BaseException, *, network: bool = False
) -> tuple[str, Sequence[tuple[str, str]]] | None:
    """Return why something was refused; with `network`, only where that was the network."""
    if not isinstance(error, OSError) or is_tools_own(error):
        return None
    if error.errno == errno.EMFILE:
        # The explanation could not be imported: that takes a descriptor.
        return None if network else ("layer rlimits: too many open files", [("open_files", "")])
    try:
        from elf_pysandbox_worker.isolation import explain

        found = explain.explain_error(error)
        return found if found is not None and (not network or explain.is_about_network(found)) else None
    except Exception:
        return None


def _frames(traceback: TracebackType | None) -> list[FrameData]:
    frames: list[FrameData] = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        own = code.co_filename.startswith(_OURS)
        if not own:
            line = traceback.tb_lineno or 0
            source = _source_line(traceback)
            name = getattr(code, "co_qualname", code.co_name)
            frames.append(
                FrameData(_cut(code.co_filename, 1000), line, _cut(name, _NAME), _cut(source, _SOURCE_LINE))
            )
            if len(frames) > 2 * _FRAMES:
                del frames[_FRAMES]  # deep recursion: the first and the last calls tell most
        traceback = traceback.tb_next
    return frames


def _source_line(traceback: TracebackType) -> str:
    import linecache

    frame = traceback.tb_frame
    try:
        # The module's globals name its loader, which has the source where there is no file.
        return linecache.getline(frame.f_code.co_filename, traceback.tb_lineno or 0, frame.f_globals).strip()
    except Exception:
        return ""


def _cause(error: BaseException, depth: int) -> ErrorData | None:
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is None or cause is error or depth >= _CAUSES:
        return None
    return _describe(cause, depth + 1)
