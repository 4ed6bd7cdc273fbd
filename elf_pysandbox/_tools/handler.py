"""`ToolHandler`: a bot's tools. Requests of any provider in, answers of the same shape out."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from elf_pysandbox._errors import ToolHandlerError, ToolNotFoundError
from elf_pysandbox._outcome import Outcome
from elf_pysandbox._tools import persist, providers
from elf_pysandbox._tools.calls import Arguments, Call
from elf_pysandbox._tools.jsonable import to_json
from elf_pysandbox._tools.providers.common import Reply, Request
from elf_pysandbox._tools.report import error_text, result_text
from elf_pysandbox._tools.schema import Description, check_format, describe, describe_all
from elf_pysandbox._tools.tool import Tool
from elf_pysandbox._tools.toolset import Target, Toolset
from elf_pysandbox._tools.tracing import Hooks, Tracer
from elf_pysandbox._tools.wishes import grant

if TYPE_CHECKING:
    from elf_pysandbox._limits import Limits
    from elf_pysandbox._policy import Policy
    from elf_pysandbox._pool import SandboxPool
    from elf_pysandbox._tools.retry import Retry

_PARALLEL = 32
_ONE_CALL_PROVIDERS = frozenset({"openai", "openai-responses", "anthropic"})
"""Providers whose ids are never used again: a request that comes twice gets the answer it got before."""


@dataclass(frozen=True)
class Exchange:
    """One request with its answer, as history keeps it. JSON types only."""

    provider: str
    id: Any
    name: str
    arguments: dict[str, Any]
    status: str
    result: Any


class ToolHandler:
    """Keeps Python functions as tools and runs them for models, each call confined.

    Parameters
    ----------
    pool : SandboxPool, optional
        Where calls run. Without one the handler makes its own with `policy` and `limits`, and closes it with itself.
    policy, limits : Policy, Limits, optional
        What tools may reach and use; with a given pool, a view of it.
    python_path : sequence of str
        Folders to search modules in, before `sys.path`.
    retry : Retry, optional
        When a call is made again; never by default.
    hooks : Hooks or sequence of Hooks
        Who is told of calls.
    max_history : int
        Exchanges kept; the oldest are forgotten.

    Examples
    --------
    >>> handler = ToolHandler()
    >>> handler.add_tool("tools/text.py:word_count")
    >>> handler.execute("word_count", {"text": "to be or not to be"})
    """

    def __init__(
        self,
        pool: SandboxPool | None = None,
        *,
        policy: Policy | None = None,
        limits: Limits | None = None,
        python_path: Sequence[str] = (),
        retry: Retry | None = None,
        hooks: Hooks | Sequence[Hooks] = (),
        max_history: int = 10_000,
    ) -> None:
        self._given = pool
        self._options: dict[str, Any] = {"policy": policy, "limits": limits}
        self._pool: SandboxPool | None = None
        self._set = Toolset(python_path)
        self._retry = retry
        self._tracer = Tracer((hooks,) if isinstance(hooks, Hooks) else tuple(hooks))
        self._descriptions: dict[tuple[str, str], Description] = {}
        self._limited: dict[tuple[str, float], Tool] = {}
        self._history: list[Exchange] = []
        self._answered: dict[tuple[Any, ...], Reply] = {}
        self._max_history = max_history
        self._refused: dict[str, str] = {}
        self._withheld: dict[str, tuple[str, ...]] = {}

    @property
    def pool(self) -> SandboxPool:
        """The pool that runs the tools, made when it is first needed."""
        if self._pool is None:
            from elf_pysandbox._pool import SandboxPool

            options: dict[str, Any] = {
                name: value for name, value in self._options.items() if value is not None
            }
            if self._given is None:
                self._pool = SandboxPool(**options)
            else:
                self._pool = self._given.with_options(**options) if options else self._given
        return self._pool

    def close(self) -> None:
        """End the pool, if it is the handler's own."""
        if self._pool is not None and self._given is None:
            self._pool.shutdown()
            self._pool = None

    def __enter__(self) -> ToolHandler:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # -- the tools --

    def add_tool(
        self,
        func: Target,
        *,
        name: str | None = None,
        replace: bool = False,
        strict: bool = True,
        check_result: bool = False,
        limits: Limits | None = None,
        policy: Policy | None = None,
        requirements: Sequence[str] = (),
        environment: str = "host",
    ) -> Tool:
        """Add one tool: a live callable, ``"pkg.mod:function"``, ``"file.py:function"``, or a `Tool`.

        Parameters
        ----------
        func : callable, str or Tool
        name : str, optional
            What models call it; its function's name when left out.
        replace : bool
            Take the place of another tool of that name.
        strict, check_result : bool
            See `Tool`: ``strict=False`` also takes "3" for an int.
        limits, policy : Limits, Policy, optional
            The tool's own. They are saved with it, and hold after loading as far as the pool there permits.
        requirements, environment
            What it needs installed, and where; see `Tool`.

        Raises
        ------
        ModuleLoadError, ToolNotFoundError
            It cannot be read, or not be shipped.
        ToolHandlerError
            Another tool has the name.
        """
        wanted: dict[str, Any] = {"check_result": check_result, "limits": limits, "policy": policy}
        options = {key: value for key, value in wanted.items() if value}
        if limits is not None or policy is not None:
            options["wishes"] = None
        if not strict:
            options["strict"] = False
        tool = self._set.make(func, name, named=True, **options)
        if requirements or environment != "host":
            tool = tool.needing(requirements, environment=environment)
        return self._set.add([tool], replace_existing=replace)[0]

    def add_tools(
        self, source: Any, *, replace: bool = False, drop_broken: bool = False, strict: bool = True
    ) -> list[Tool]:
        """Add every public function of a module, a file or a folder, or each item of a list; all of them or none.

        Parameters
        ----------
        source : module, path, target, callable or list of these
        replace : bool
            Take the place of other tools of those names.
        drop_broken : bool
            Leave out the files of a folder that cannot be read or do not parse (see `refused`) instead of adding none.
        strict : bool
            As of `add_tool`.
        """
        from dataclasses import replace as changed

        broken: dict[str, str] = {}
        found = self._set.find(source, broken if drop_broken else None)
        tools = [changed(tool, named=True, strict=tool.strict and strict) for tool in found]
        added = self._set.add(tools, replace_existing=replace)
        self._refused |= broken
        return added

    def find(self, source: Any, *, drop_broken: bool = False) -> list[Tool]:
        """Return what `add_tools` would add, without adding it; two of them may have one name."""
        broken: dict[str, str] = {}
        tools = list(self._set.find(source, broken if drop_broken else None))
        self._refused |= broken
        return list(dict.fromkeys(tools))

    def remove(self, name: str) -> Tool:
        """Take a tool out, schema and all."""
        tool = self._set.remove(name)
        self._descriptions.pop((tool.name, tool.key), None)
        return tool

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all tools."""
        return self._set.names

    @property
    def refused(self) -> dict[str, str]:
        """What was left out, with the reason: tools of a loaded set that did not pass verification, by name; files
        of a folder that could not be read, by path."""
        return dict(self._refused)

    @property
    def withheld(self) -> dict[str, tuple[str, ...]]:
        """What tools of a loaded set were saved with and do not get here: the pool's policy and limits are narrower."""
        return dict(self._withheld)

    def get(self, name: str) -> Tool:
        """Return a tool by name; `ToolNotFoundError` when there is none."""
        return self._set.get(name)

    def __len__(self) -> int:
        return len(self._set)

    def __contains__(self, name: object) -> bool:
        return name in self._set

    def merge(self, other: ToolHandler, *, on_conflict: str = "error") -> list[Tool]:
        """Add the tools of another handler.

        Parameters
        ----------
        on_conflict : {"error", "keep", "replace"}
            What to do about a name that both have for different tools.
        """
        if on_conflict not in ("error", "keep", "replace"):
            raise ToolHandlerError(f"on_conflict must be error, keep or replace, not {on_conflict!r}")
        tools = [tool for tool in other._set if not (on_conflict == "keep" and tool.name in self._set)]
        added = self._set.add(tools, replace_existing=on_conflict == "replace")
        for tool in added:
            known = other._descriptions.get((tool.name, tool.key))
            if known is not None:
                self._descriptions[tool.name, tool.key] = known
        return added

    # -- what they are --

    def describe(self, name: str | None = None, format: str = "json", *, strict: bool = False) -> Any:
        """Return the declaration of one tool, or the list of all, in a provider's shape.

        Parameters
        ----------
        name : str, optional
        format : {"json", "openai", "openai-responses", "anthropic", "gemini", "mcp"}
        strict : bool
            Ask for the provider's strict mode.
        """
        check_format(format)
        if name is not None:
            return self.description(name).render(format, strict=strict)
        unknown = [tool for tool in self._set if (tool.name, tool.key) not in self._descriptions]
        for tool, told in zip(unknown, describe_all(self.pool, unknown), strict=True):
            self._descriptions[tool.name, tool.key] = told
        return [self.description(tool.name).render(format, strict=strict) for tool in self._set]

    def description(self, name: str) -> Description:
        """Return what a worker told of a tool; asked once."""
        tool = self._set.get(name)
        found = self._descriptions.get((tool.name, tool.key))
        if found is None:
            found = self._descriptions[tool.name, tool.key] = describe(self.pool, tool)
        return found

    # -- calls by name --

    def execute(self, name: str, arguments: Arguments = None, *, result_type: Any = None) -> Any:
        """Run a tool with arguments by name and return its value.

        Parameters
        ----------
        name : str
        arguments : mapping or str, optional
            Text is a JSON object, as models write it.
        result_type : type, optional
            Make the value one of this type: the caller's own class for what came as data.

        Raises
        ------
        CallError
            It did not end well; the class says how.
        """
        return _typed(self.outcome(name, arguments).unwrap(), result_type)

    async def aexecute(self, name: str, arguments: Arguments = None, *, result_type: Any = None) -> Any:
        """`execute` for a running event loop."""
        return _typed((await self.aoutcome(name, arguments)).unwrap(), result_type)

    def outcome(self, name: str, arguments: Arguments = None) -> Outcome:
        """Run a tool and return how that ended; never raises for what the tool does."""
        call = Call(self, name, arguments)
        if call.refusal is not None:
            return call.finish(call.refusal)
        if self._retry is None:
            return call.finish(self.pool.outcome(call.tool, **call.arguments))
        return call.finish(self._retry.run(call.attempt, call.notice))

    async def aoutcome(self, name: str, arguments: Arguments = None) -> Outcome:
        """`outcome` for a running event loop."""
        call = Call(self, name, arguments)
        if call.refusal is not None:
            return call.finish(call.refusal)
        if self._retry is None:
            return call.finish(await self.pool.aoutcome(call.tool, **call.arguments))
        return call.finish(await self._retry.arun(call.aattempt, call.notice))

    # -- requests of models --

    def execute_many(self, requests: Any, *, parallel: int = _PARALLEL) -> list[dict[str, Any]]:
        """Run every tool request in a message, or a list of messages, and answer each in its own shape.

        Parameters
        ----------
        requests : object
            Responses, messages or requests of OpenAI (chat and responses), Anthropic, Gemini or MCP, or
            ``{"id", "name", "arguments"}``; as dicts, JSON text or the provider's own objects; one or a list of them.
        parallel : int
            Calls in flight at once.

        Returns
        -------
        list of dict
            One answer for each request, in their order. A malformed request is answered with what is wrong with it; one
            that came before is not run again.
        """
        found = providers.parse(requests)
        unique = {
            request.key if request.id is not None else (index,): request
            for index, request in enumerate(found)
        }
        keys = [request.key if request.id is not None else (index,) for index, request in enumerate(found)]
        if len(unique) == 1:
            replies = {key: self._reply(request) for key, request in unique.items()}
        else:
            with ThreadPoolExecutor(max(1, min(parallel, len(unique) or 1))) as threads:
                replies = dict(zip(unique, threads.map(self._reply, unique.values()), strict=True))
        self._remember([replies[key] for key in unique])
        return [providers.answer(replies[key]) for key in keys]

    async def aexecute_many(self, requests: Any, *, parallel: int = _PARALLEL) -> list[dict[str, Any]]:
        """`execute_many` for a running event loop."""
        import asyncio

        found = providers.parse(requests)
        keys = [request.key if request.id is not None else (index,) for index, request in enumerate(found)]
        unique = dict(zip(keys, found, strict=True))
        gate = asyncio.Semaphore(parallel)

        async def run(request: Request) -> Reply:
            async with gate:
                return await self._areply(request)

        replies = dict(zip(unique, await asyncio.gather(*map(run, unique.values())), strict=True))
        self._remember([replies[key] for key in unique])
        return [providers.answer(replies[key]) for key in keys]

    def _reply(self, request: Request) -> Reply:
        known = self._known(request)
        if known is not None:
            return known
        return _reply_of(request, self.outcome(request.name, self._meant(request)))

    async def _areply(self, request: Request) -> Reply:
        known = self._known(request)
        if known is not None:
            return known
        return _reply_of(request, await self.aoutcome(request.name, self._meant(request)))

    def _known(self, request: Request) -> Reply | None:
        if request.problem:
            text = f"Error (invalid_arguments): the request cannot be run: {request.problem}"
            return Reply(request, "invalid_arguments", None, text)
        return self._answered.get(request.key) if request.provider in _ONE_CALL_PROVIDERS else None

    def _meant(self, request: Request) -> dict[str, Any]:
        """In OpenAI's strict mode every parameter is given; null for one that may be left out means left out."""
        if not request.provider.startswith("openai") or None not in request.arguments.values():
            return request.arguments
        try:
            tool = self._set.get(request.name)
        except ToolNotFoundError:
            return request.arguments
        known = self._descriptions.get((tool.name, tool.key))
        schema = known.parameters if known is not None else {}
        required = schema.get("required", ())
        return {
            name: value
            for name, value in request.arguments.items()
            if value is not None
            or name in required
            or _admits_null(schema.get("properties", {}).get(name, {}))
        }

    def _remember(self, replies: Iterable[Reply]) -> None:
        for reply in replies:
            request = reply.request
            if reply.request.problem or self._answered.get(request.key) is reply:
                continue
            if request.provider in _ONE_CALL_PROVIDERS:
                self._answered[request.key] = reply
            result = reply.value if reply.ok else reply.text
            arguments = to_json(request.arguments)
            self._history.append(
                Exchange(request.provider, to_json(request.id), request.name, arguments, reply.status, result)
            )
        while len(self._history) > self._max_history:
            self._history.pop(0)
        while len(self._answered) > self._max_history:
            self._answered.pop(next(iter(self._answered)))

    @property
    def history(self) -> tuple[Exchange, ...]:
        """Requests and their answers, oldest first."""
        return tuple(self._history)

    # -- saving --

    def to_dict(self, *, key: bytes | None = None) -> dict[str, Any]:
        """Return tools, schemas and history as JSON types, vouched for by a digest (an HMAC with `key`)."""
        known = {tool.name: self._descriptions.get((tool.name, tool.key)) for tool in self._set}
        descriptions = {name: description for name, description in known.items() if description is not None}
        history = [asdict(exchange) for exchange in self._history]
        return persist.dump(persist.Saved(list(self._set), descriptions, history), key)

    @classmethod
    def from_dict(
        cls,
        data: Mapping[str, Any],
        *,
        key: bytes | None = None,
        accept_changes: bool = False,
        drop_damaged: bool = False,
        **options: Any,
    ) -> ToolHandler:
        """Make a handler of what `to_dict` returned; nothing of it is run.

        Parameters
        ----------
        data : mapping
        key : bytes, optional
            The key it was saved with.
        accept_changes : bool
            Take it as it is, whatever its digests say.
        drop_damaged : bool
            Leave out the tools that fail verification (see `refused`) instead of refusing all.
        **options
            As for the constructor.

        Raises
        ------
        ToolHandlerError
            It is damaged, changed, from a newer release, or no saved set at all.
        """
        saved = persist.restore(data, key, accept_changes=accept_changes, drop_damaged=drop_damaged)
        handler = cls(**options)
        handler._set.add(handler._granted(replace(tool, named=True)) for tool in saved.tools)
        for tool in handler._set:
            known = saved.descriptions.get(tool.name)
            if known is not None:
                handler._descriptions[tool.name, tool.key] = known
        handler._history = [_exchange(entry) for entry in saved.history]
        handler._refused = saved.refused
        return handler

    def _granted(self, tool: Tool) -> Tool:
        """Give a saved tool what it asks for, as far as the pool permits."""
        if tool.wishes is None:
            return tool
        policy, limits = self._bounds()
        granted = grant(tool.wishes, policy, limits)
        if granted.withheld:
            self._withheld[tool.name] = granted.withheld
        return replace(tool, policy=granted.policy, limits=granted.limits)

    def _bounds(self) -> tuple[Policy, Limits]:
        """The policy and limits of the pool, which need not have been made yet."""
        from elf_pysandbox._limits import Limits
        from elf_pysandbox._policy import Policy

        given = self._given
        policy = self._options["policy"] or (given.policy if given is not None else Policy())
        limits = self._options["limits"] or (given.limits if given is not None else Limits())
        return policy, limits

    def save(self, path: str | os.PathLike[str], *, key: bytes | None = None) -> None:
        """Write `to_dict` to a file, whole or not at all."""
        text = persist.canonical(self.to_dict(key=key))
        folder = os.path.dirname(os.path.abspath(path))
        try:
            handle, temporary = tempfile.mkstemp(dir=folder, prefix=".tools-")
        except OSError as error:
            error.filename = os.fspath(path)  # The caller's name for it, not the temporary one.
            raise
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(text + b"\n")
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise

    @classmethod
    def load(cls, path: str | os.PathLike[str], **options: Any) -> ToolHandler:
        """Make a handler of a saved file; options as for `from_dict`."""
        try:
            with open(path, "rb") as file:
                text = file.read(persist.MAX_FILE + 1)
        except OSError as error:
            raise ToolHandlerError(f"cannot read the saved tools {os.fspath(path)!r}: {error}") from error
        return cls.from_dict(persist.parse(text), **options)


def _reply_of(request: Request, outcome: Outcome) -> Reply:
    if outcome.ok:
        return Reply(request, "ok", to_json(outcome.value), result_text(outcome.value))
    return Reply(request, outcome.status, None, error_text(outcome))


def _admits_null(schema: Any) -> bool:
    if not isinstance(schema, dict):
        return True
    if not {"type", "anyOf", "enum", "$ref"} & set(schema):
        return True
    return schema.get("type") == "null" or any(_admits_null(part) for part in schema.get("anyOf", ()))


def _exchange(entry: Any) -> Exchange:
    try:
        return Exchange(**entry)
    except TypeError as error:
        raise ToolHandlerError(f"the saved history is damaged: {error}") from error


def _typed(value: Any, result_type: Any) -> Any:
    if result_type is None:
        return value
    from elf_pysandbox._tools.binding import to_type

    return to_type(value, result_type)
