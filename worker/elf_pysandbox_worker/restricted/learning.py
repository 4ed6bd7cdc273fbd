"""The operation `learn`: one call of a tool that refuses nothing at the language level, and notes what it
would have.

The template has loaded the tool as plain Python; this worker loads it again, under the policy in learn mode.
Every kernel layer holds as for any call, so a file that was not granted is still denied, and noted.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from typing import Any

from elf_pysandbox_worker.errors import BadArguments
from elf_pysandbox_worker.intent import folder_asked_for, wanted_to_write
from elf_pysandbox_worker.loading import LoadedTool, Target
from elf_pysandbox_worker.restricted import learned, load
from elf_pysandbox_worker.restricted.state import STATE
from elf_pysandbox_worker.wire import values
from elf_pysandbox_worker.wire.messages import Call


def run(tool: LoadedTool, target: Target, call: Call, buffers: Sequence[bytes]) -> dict[str, Any]:
    """Make the call; return how it ended and what it needed, as text."""
    args, kwargs = values.unpack(call.arguments, buffers)
    status, told = "ok", ""
    try:
        function = _again(tool, call.path)
        convert = LoadedTool(sys.modules[function.__module__], tool.load).target(call.path).convert
        if convert is not None:
            args, kwargs = convert(args, kwargs, call.options)
        _finish(function(*args, **kwargs))
    except BadArguments:
        raise  # The caller's, not the tool's.
    except Exception as error:
        status, told = "raised", f"{type(error).__name__}: {error}"
        _note_file(error)
    needs = learned()
    return {"status": status, "error": told, **{kind: dict(noted) for kind, noted in needs.items()}}


def _again(tool: LoadedTool, path: str) -> Any:
    """Load the bundle anew, in learn mode, and return what the path names."""
    bundle = tool.load.bundle
    for file in bundle.files:
        sys.modules.pop(file.name, None)
    value: Any = load(
        bundle,
        allowed_imports=tool.load.allowed_imports,
        search=tool.load.search,
        files_granted=tool.load.files_granted,
        learn=True,
    )
    for name in path.split("."):
        value = getattr(value, name)
    return value


def _finish(result: Any) -> None:
    """Run what the call returned to its end: a coroutine, or the items of a generator."""
    if inspect.iscoroutine(result):
        import asyncio

        asyncio.run(result)
    elif inspect.isasyncgen(result):
        import asyncio

        async def drain() -> None:
            async for _ in result:
                pass

        asyncio.run(drain())
    elif inspect.isgenerator(result):
        for _ in result:
            pass


def _note_file(error: BaseException | None) -> None:
    """Note the files that the kernel denied, along the chain of causes."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        name = getattr(error, "filename", None)
        if isinstance(error, OSError) and isinstance(name, str):
            STATE.note("files", folder_asked_for(error) or name, "w" if wanted_to_write(error) else "r")
        error = error.__cause__ or error.__context__
