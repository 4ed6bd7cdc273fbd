"""Pages of tools as Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterator

from elf_pysandbox import Limits, Outcome, Policy
from elf_pysandbox._docs.gather import Example, ModuleFacts, ToolFacts
from elf_pysandbox._docs.promise import broken, printed

_SHOWN_LIMITS = ("wall_s", "cpu_s", "memory_mb", "output_bytes", "result_bytes")


def page_name(module: ModuleFacts, tool: ToolFacts) -> str:
    """Return the name of a tool's page, without its ending."""
    stem = module.path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return f"{stem}.{tool.name}"


def index(modules: list[ModuleFacts], ending: str = ".md") -> str:
    """Return the page that lists all tools."""
    lines = ["# Tools", ""]
    for module in modules:
        lines += [f"## {module.path}", ""]
        if module.doc:
            lines += [module.doc.partition("\n\n")[0], ""]
        if module.problem:
            lines += [f"*Not described: {escape(module.problem)}*", ""]
        lines += [
            f"- [{tool.name}]({page_name(module, tool)}{ending}): {escape(tool.summary)}"
            for tool in module.functions
        ]
        lines.append("")
    return "\n".join(lines)


def page(module: ModuleFacts, tool: ToolFacts, policy: Policy, limits: Limits) -> str:
    """Return the page of one tool."""
    parts = [f"# {tool.name}", f"```python\n{tool.signature}\n```"]
    parts += [text for text in (escape(tool.summary), escape(tool.text)) if text]
    parts.append(f"A {tool.kind} of `{module.path}`, line {tool.line}.")
    if tool.parameters:
        parts.append("## Parameters\n\n" + "\n".join(_parameters(tool)))
    if tool.returns or tool.returns_doc:
        kind = f"`{tool.returns}` " if tool.returns else ""
        parts.append(f"## Returns\n\n{kind}{escape(tool.returns_doc)}".rstrip())
    if tool.examples:
        parts.append("## Examples\n\n" + "\n\n".join(_example(example) for example in tool.examples))
    if tool.schema is not None:
        parts.append(f"## Schema\n\n```json\n{json.dumps(tool.schema, indent=2, default=str)}\n```")
    parts.append("## Limits\n\n" + "\n".join(_limits(policy, limits)))
    return "\n\n".join(parts) + "\n"


def escape(text: str) -> str:
    """Keep text from being read as markup."""
    return text.replace("&", "&amp;").replace("<", "&lt;")


def _cell(text: str, code: bool = False) -> str:
    text = text.replace("\n", " ").replace("|", "\\|")
    return f"`{text}`" if code and text else escape(text)


def _parameters(tool: ToolFacts) -> Iterator[str]:
    yield "| name | type | default | |"
    yield "|---|---|---|---|"
    for item in tool.parameters:
        default = _cell(item.default, code=True) if not item.required else "*required*"
        yield f"| `{item.name}` | {_cell(item.type, code=True)} | {default} | {_cell(item.doc)} |"


def _example(example: Example) -> str:
    return f"```pycon\n{_prompted(example.source)}\n{_result(example)}\n```\n\n{_verdict(example)}"


def _prompted(source: str) -> str:
    first, *rest = source.splitlines() or [""]
    return "\n".join([f">>> {first}", *(f"... {line}" for line in rest)])


def _result(example: Example) -> str:
    return printed(example.outcome) if isinstance(example.outcome, Outcome) else example.want


def _verdict(example: Example) -> str:
    outcome = example.outcome
    if not isinstance(outcome, Outcome):
        return "Not run: only calls with literal arguments are."
    ran = f"Run in the sandbox: {outcome.status}, {1000 * outcome.usage.wall_s:.1f} ms"
    if broken(example):
        promised = f" `{_cell(example.want)}`" if example.want else ""
        return f"{ran}. **The source promises something else:**{promised}"
    return ran + "."


def _limits(policy: Policy, limits: Limits) -> Iterator[str]:
    yield f"Profile `{policy.profile}`; each call in a fresh process."
    yield ""
    yield "| limit | value |"
    yield "|---|---|"
    for name in _SHOWN_LIMITS:
        yield f"| `{name}` | {getattr(limits, name):,} |"
    grants = [f"imports {', '.join(policy.allowed_imports)}"] if policy.allowed_imports else []
    grants += [f"reads {', '.join(policy.files.read)}"] if policy.files.read else []
    grants += [f"writes {', '.join(policy.files.write)}"] if policy.files.write else []
    yield ""
    yield f"Granted beyond the default: {'; '.join(grants) or 'nothing'}."
