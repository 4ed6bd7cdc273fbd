"""What a source says about its functions, without running it.

This file is itself sent into the sandbox and run there, so it imports the standard library only: parsing a
source is the first thing that a hostile one attacks.
"""

import ast
import doctest
import inspect
import re
from collections.abc import Iterator
from typing import Any

_Def = ast.FunctionDef | ast.AsyncFunctionDef
_SECTION = re.compile(
    r"^(Args|Arguments|Parameters|Params|Returns|Return|Yields|Raises|Examples?|Notes?):?\s*$"
)
_GOOGLE = re.compile(r"^(\*{0,2}\w+)\s*(?:\([^)]*\))?:\s*(.*)$")
_NUMPY = re.compile(r"^(\*{0,2}\w+)\s*(?::.*)?$")


def extract(source: bytes | str, filename: str = "<unknown>") -> dict[str, Any]:
    """Return the module's docstring and its public functions, as plain data."""
    tree = ast.parse(source, filename)
    published = _published(tree)
    functions = [
        _function(node)
        for node in tree.body
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and (node.name in published if published is not None else not node.name.startswith("_"))
    ]
    return {"doc": ast.get_docstring(tree) or "", "functions": functions}


def _published(tree: ast.Module) -> set[str] | None:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(
            isinstance(t, ast.Name) and t.id == "__all__" for t in node.targets
        ):
            try:
                return set(ast.literal_eval(node.value))
            except (ValueError, TypeError):
                return None
    return None


def _function(node: _Def) -> dict[str, Any]:
    doc = ast.get_docstring(node) or ""
    described = _described(doc)
    return {
        "name": node.name,
        "line": node.lineno,
        "kind": _kind(node),
        "signature": f"{node.name}({ast.unparse(node.args)})"
        + (f" -> {ast.unparse(node.returns)}" if node.returns else ""),
        "summary": doc.partition("\n\n")[0].replace("\n", " "),
        "text": _text(doc),
        "parameters": [
            {**parameter, "doc": described.get(parameter["name"].lstrip("*"), "")}
            for parameter in _parameters(node.args)
        ],
        "returns": ast.unparse(node.returns) if node.returns else "",
        "returns_doc": " ".join(_sections(doc).get("Returns", [])).strip(),
        "examples": _examples(doc, node.name),
    }


def _kind(node: _Def) -> str:
    yields = any(isinstance(inner, (ast.Yield, ast.YieldFrom)) for inner in _own_nodes(node))
    prefix = "async " if isinstance(node, ast.AsyncFunctionDef) else ""
    return prefix + ("generator" if yields else "function")


def _own_nodes(node: _Def) -> Iterator[ast.AST]:
    """Yield the nodes of a function without those of functions in it."""
    todo: list[ast.AST] = list(node.body)
    while todo:
        found = todo.pop()
        yield found
        if not isinstance(found, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
            todo.extend(ast.iter_child_nodes(found))


def _parameters(args: ast.arguments) -> list[dict[str, Any]]:
    positional = [*args.posonlyargs, *args.args]
    defaults: list[ast.expr | None] = [None] * (len(positional) - len(args.defaults)) + list(args.defaults)
    rows: list[tuple[ast.arg, ast.expr | None]] = list(zip(positional, defaults, strict=True))
    rows += zip(args.kwonlyargs, args.kw_defaults, strict=True)
    found = [_parameter(arg.arg, arg, default) for arg, default in rows]
    if args.vararg:
        found.append(_parameter("*" + args.vararg.arg, args.vararg, None))
    if args.kwarg:
        found.append(_parameter("**" + args.kwarg.arg, args.kwarg, None))
    return found


def _parameter(name: str, arg: ast.arg, default: ast.expr | None) -> dict[str, Any]:
    return {
        "name": name,
        "type": ast.unparse(arg.annotation) if arg.annotation else "",
        "default": ast.unparse(default) if default is not None else "",
        "required": default is None and not name.startswith("*"),
    }


def _text(doc: str) -> str:
    """Return what stands between the summary and the first section or example."""
    lines = []
    for line in doc.partition("\n\n")[2].splitlines():
        if _SECTION.match(line) or line.lstrip().startswith(">>>"):
            break
        lines.append(line)
    return "\n".join(lines).strip()


def _sections(doc: str) -> dict[str, list[str]]:
    sections: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in doc.splitlines():
        match = _SECTION.match(line)
        if match:
            name = {"Arguments": "Args", "Parameters": "Args", "Params": "Args", "Return": "Returns"}
            current = sections.setdefault(name.get(match[1], match[1]), [])
        elif line.startswith(">>>"):
            current = None  # an example below the last section belongs to none
        elif current is not None and set(line.strip()) != {"-"}:
            current.append(line.rstrip())
    return sections


def _described(doc: str) -> dict[str, str]:
    """Return parameter -> text, from Google or NumPy sections."""
    found: dict[str, str] = {}
    name: str | None = None
    lines = _sections(doc).get("Args", [])
    indents = [len(line) - len(line.lstrip()) for line in lines if line.strip()]
    base = min(indents, default=0)
    for line in lines:
        stripped = line.strip()
        if not stripped:
            continue
        if len(line) - len(line.lstrip()) == base:
            match = _GOOGLE.match(stripped) if base else _NUMPY.match(stripped)
            name = match[1].lstrip("*") if match else None
            if name and match:
                found[name] = match[2] if base else ""
        elif name:
            found[name] = f"{found[name]} {stripped}".strip()
    return found


def _examples(doc: str, name: str) -> list[dict[str, Any]]:
    try:
        parsed = doctest.DocTestParser().get_examples(inspect.cleandoc(doc))
    except ValueError:
        return []
    return [
        {
            "source": e.source.rstrip(),
            "want": e.want.rstrip(),
            "call": None if e.options.get(doctest.SKIP) else _call(e.source, name),
            "raises": (e.exc_msg or "").rstrip(),
        }
        for e in parsed
    ]


def _call(source: str, name: str) -> list[Any] | None:
    """Return (args, kwargs) of an example that calls the function with literals; None for any other."""
    try:
        node = ast.parse(source.strip(), mode="eval").body
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id != name:
            return None
        args = [ast.literal_eval(arg) for arg in node.args]
        return [
            args,
            {keyword.arg: ast.literal_eval(keyword.value) for keyword in node.keywords if keyword.arg},
        ]
    except (ValueError, SyntaxError, TypeError):
        return None
