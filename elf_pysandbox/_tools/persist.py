"""A set of tools as JSON: versioned, deterministic, without pickle, vouched for by digests.

Layout: ``format``, ``version``; ``modules``: key -> module with its siblings; ``tools``: list, each with its
module's key, the limits and policy it asks for (see `wishes`), and a digest of all that concerns it; ``history``;
``digest`` over the whole set. A digest is SHA-256 of the canonical JSON (sorted keys, no blanks, ASCII), or its
HMAC when a key is given: then only who has the key can make a set that loads.

Nothing of a set is run by loading it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from elf_pysandbox._errors import ConfigurationError, ModuleLoadError, SandboxError, ToolHandlerError
from elf_pysandbox._hints import Hint
from elf_pysandbox._tools.context import ModuleContext, Sibling
from elf_pysandbox._tools.schema import Description, description_of
from elf_pysandbox._tools.tool import Tool
from elf_pysandbox._tools.wishes import Wishes

FORMAT = "elf_pysandbox tools"
VERSION = 2
"""2 added what a tool asks for (`limits`, `policy`) to version 1, which loads as it did."""
MAX_FILE = 256 << 20

JSON = dict[str, Any]


@dataclass(frozen=True)
class Saved:
    """What a set holds.

    Attributes
    ----------
    tools : list of Tool
    descriptions : dict of tool name to Description
    history : list of dict
    refused : dict of tool name to reason
        Tools that did not pass verification and are in none of the others.
    """

    tools: list[Tool]
    descriptions: dict[str, Description] = field(default_factory=dict)
    history: list[JSON] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


def canonical(data: Any) -> bytes:
    """Return the one spelling of `data` in JSON that digests are made of."""
    return json.dumps(
        data, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    ).encode()


def digest(data: Any, key: bytes | None) -> str:
    """Return the digest of `data`: ``sha256:…``, or ``hmac-sha256:…`` with a key."""
    if key is not None and not key:
        raise ConfigurationError(
            "the key is empty: such a digest vouches for nothing; pass a secret, or None"
        )
    if key is None:
        return "sha256:" + hashlib.sha256(canonical(data)).hexdigest()
    return "hmac-sha256:" + hmac.new(key, canonical(data), hashlib.sha256).hexdigest()


# -- writing --


def dump(saved: Saved, key: bytes | None = None) -> JSON:
    """Return the set as JSON types.

    Raises
    ------
    ToolHandlerError
        A tool has no source: it was pickled, and pickles are not saved.
    """
    modules: JSON = {}
    tools = []
    for tool in saved.tools:
        modules[tool.context.key] = module = _module(tool)
        entry: JSON = {
            "name": tool.name,
            "path": tool.path,
            "module": tool.context.key,
            "strict": tool.strict,
            "check_result": tool.check_result,
            "environment": tool.environment,
            "requirements": list(tool.context.requirements),
            "requires_python": tool.context.requires_python,
            **(tool.wishes or Wishes(tool.policy, tool.limits)).to_dict(),
        }
        known = saved.descriptions.get(tool.name)
        if known is not None:
            entry["description"] = known.to_dict()
        tools.append({**entry, "digest": digest([entry, module], key)})
    body = {
        "format": FORMAT,
        "version": VERSION,
        "modules": modules,
        "tools": tools,
        "history": saved.history,
    }
    return {**body, "digest": digest(body, key)}


def _module(tool: Tool) -> JSON:
    context = tool.context
    if context.pickled:
        raise ToolHandlerError(
            f"tool {tool.name!r} has no source and cannot be saved: put its function into a file and add it from there"
        )
    return {
        "name": context.name,
        "path": context.path,
        "is_package": context.is_package,
        "code_hash": context.code_hash,
        **_source(context.source_bytes),
        "values": base64.b64encode(context.values).decode("ascii"),
        "siblings": [
            {
                "name": s.name,
                "path": s.path,
                "is_package": s.is_package,
                "code_hash": s.code_hash,
                **_source(s.source),
            }
            for s in context.siblings
        ],
    }


def _source(source: bytes) -> JSON:
    """Sources are text that people read in the file, unless they are not UTF-8."""
    try:
        return {"source": source.decode("utf-8")}
    except UnicodeDecodeError:
        return {"source_base64": base64.b64encode(source).decode("ascii")}


# -- reading --


def parse(text: str | bytes) -> JSON:
    """Read the text of a saved set.

    Raises
    ------
    ToolHandlerError
        It is no JSON object: garbage, or cut off.
    """
    if len(text) > MAX_FILE:
        raise ToolHandlerError(f"the saved tools have {len(text)} bytes; {MAX_FILE} are allowed")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ToolHandlerError(f"these are no saved tools, or they were cut off: {error}") from error
    if not isinstance(data, dict):
        raise ToolHandlerError(f"these are no saved tools: a {type(data).__name__} instead of an object")
    return data


def restore(
    data: Mapping[str, Any],
    key: bytes | None = None,
    *,
    accept_changes: bool = False,
    drop_damaged: bool = False,
) -> Saved:
    """Make the tools of a set, after holding every digest against what it vouches for.

    Parameters
    ----------
    data : mapping
    key : bytes, optional
        The key the set was saved with.
    accept_changes : bool
        Take the set as it is, whatever the digests say, and record its hashes anew.
    drop_damaged : bool
        Leave out tools that fail verification, schema and all, instead of refusing the set; its history is left
        out too then.

    Raises
    ------
    ToolHandlerError
        It is no set, from a newer version, or not what its digest says.
    """
    _check_head(data)
    body = {name: value for name, value in data.items() if name != "digest"}
    whole = _vouched(body, data.get("digest"), key)
    if not whole and not accept_changes and not drop_damaged:
        raise _damaged(data.get("digest"), key)
    saved = Saved([], history=list(data.get("history", [])) if whole or accept_changes else [])
    for entry in data["tools"]:
        name = str(entry.get("name", "?")) if isinstance(entry, dict) else "?"
        try:
            tool, described = _tool(
                entry, data["modules"], None if accept_changes else (key,), accept_changes
            )
        except (SandboxError, KeyError, TypeError, ValueError) as error:
            if not drop_damaged:
                raise ToolHandlerError(f"tool {name!r} cannot be restored: {error}") from error
            saved.refused[name] = str(error)
            continue
        saved.tools.append(tool)
        if described is not None:
            saved.descriptions[tool.name] = described
    return saved


def _check_head(data: Mapping[str, Any]) -> None:
    if not isinstance(data, Mapping) or data.get("format") != FORMAT:
        raise ToolHandlerError(f"these are no saved tools: 'format' is not {FORMAT!r}")
    version = data.get("version")
    if type(version) is not int or version < 1:
        raise ToolHandlerError(f"these saved tools have no usable version: {version!r}")
    if version > VERSION:
        raise ToolHandlerError(
            f"these tools were saved by a newer release (version {version} of the format, this one reads up to "
            f"{VERSION}): upgrade elf-pysandbox"
        )
    for name, kind in (("modules", dict), ("tools", list), ("history", list)):
        if not isinstance(data.get(name), kind):
            raise ToolHandlerError(
                f"these saved tools are damaged: {name!r} is missing or not a {kind.__name__}"
            )


def _vouched(data: Any, recorded: Any, key: bytes | None) -> bool:
    if not isinstance(recorded, str):
        return False
    try:
        expected = digest(data, key)
    except ConfigurationError:
        raise
    except (TypeError, ValueError, RecursionError):
        return False
    return hmac.compare_digest(expected.encode(), recorded.encode("utf-8", "replace"))


def _damaged(recorded: Any, key: bytes | None) -> ToolHandlerError:
    text = str(recorded)
    if key is None and text.startswith("hmac-"):
        error = ToolHandlerError("these tools were saved with a key: pass the same key to load them")
        return error.with_hints(Hint("key"))
    if key is not None and text.startswith("sha256:"):
        return ToolHandlerError(
            "these tools were saved without a key: load them without one, look at them, and save them with the key"
        )
    other = ", or the key is another" if key is not None else ""
    return ToolHandlerError(
        f"these saved tools are not what their digest says: they were changed or damaged after they were saved{other}. "
        "Nothing of them is loaded before you have looked at them"
    ).with_hints(*([Hint("key")] if key is not None else []), Hint("accept_changes"))


def _tool(
    entry: JSON, modules: JSON, verify: tuple[bytes | None] | None, accept_changes: bool
) -> tuple[Tool, Description | None]:
    module = modules[entry["module"]]
    bare = {name: value for name, value in entry.items() if name != "digest"}
    if verify is not None and not _vouched([bare, module], entry.get("digest"), verify[0]):
        raise ModuleLoadError("it is not what its digest says")
    context = _context(module, entry).verify(accept_changes=accept_changes)
    tool = Tool(
        str(entry["name"]),
        context,
        str(entry["path"]),
        strict=bool(entry.get("strict")),
        check_result=bool(entry.get("check_result")),
        environment=str(entry["environment"]),
        wishes=Wishes.from_dict(entry),
    )
    data = entry.get("description")
    return tool, None if data is None else description_of(data, name=tool.name)


def _context(module: JSON, entry: JSON) -> ModuleContext:
    siblings = tuple(
        Sibling(str(s["name"]), str(s["path"]), _source_of(s), bool(s["is_package"]), str(s["code_hash"]))
        for s in module["siblings"]
    )
    return ModuleContext(
        str(module["name"]),
        _source_of(module),
        str(module["path"]),
        siblings,
        tuple(map(str, entry["requirements"])),
        str(entry["requires_python"]),
        bool(module["is_package"]),
        _decoded(module["values"]),
        code_hash=str(module["code_hash"]),
    )


def _source_of(part: JSON) -> bytes:
    if "source" in part:
        return str(part["source"]).encode("utf-8", "surrogatepass")
    return _decoded(part["source_base64"])


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ModuleLoadError(f"a part of it is no base64: {error}") from error
