"""The policy as a transformer: RestrictedPython's closed set of syntax, with decisions made at compile time.

Every node type without a `visit_` method here or in `RestrictingNodeTransformer` stays refused, so new syntax
is not trusted before it was looked at. What changes in the tree:

- a guarded attribute read becomes a call of the guard; any other attribute, item, call and loop stays as
  written;
- import statements become calls of the importer, so `__import__` is left to the interpreter's own C code;
- the class of a positional class pattern is looked at before the match statement;
- annotations stay text when `from __future__ import annotations` makes them text.

Only this module and `compiler` import RestrictedPython, and only when something is compiled.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from RestrictedPython.transformer import RestrictingNodeTransformer

from elf_pysandbox_worker.restricted import names
from elf_pysandbox_worker.restricted.builtin_names import INTERACTIVE, REFUSED_BUILTINS, builtin_refusal
from elf_pysandbox_worker.restricted.diagnostics import RULES, DeniedAttribute, Diagnostic, Severity
from elf_pysandbox_worker.restricted.formatting import check_format

_Node = TypeVar("_Node", bound=ast.AST)

ImportVerdict = Callable[[str, int], "tuple[str, str, str] | None"]
"""(module name, relative level) -> (rule, message, hint), or None when the import is permitted."""

# Segmentation fault with a custom split() (https://github.com/python/cpython/issues/128049), never fixed in
# 3.11.
EXCEPT_STAR_UNSAFE = sys.version_info < (3, 12, 9) or (3, 13) <= sys.version_info < (3, 13, 2)

_Base: Any = RestrictingNodeTransformer
_GUARD = names.guard_name("getattr")
_FORMAT = names.guard_name("format")
_FORMATTER = names.guard_name("formatter")
_TEXT = names.guard_name("text")
_IMPORT = names.guard_name("import")
_FROM = names.guard_name("from")
_STAR = names.guard_name("star")
_PATTERN = names.guard_name("pattern")
_LOCALS = names.guard_name("locals")
_VISIBLE = names.guard_name("visible")


class PolicyTransformer(_Base):  # type: ignore[misc]
    """Check a module and rewrite the few places that need a guard.

    Parameters
    ----------
    import_verdict : callable, optional
        Says whether an import is permitted; None permits all.
    files_granted : bool
        Whether `open` may be used.
    learn : bool
        Record the findings and leave the code as it is.
    generated : bool
        The tree will not run, only the text it came from: what needs a guard is a finding.
    """

    def __init__(
        self,
        import_verdict: ImportVerdict | None = None,
        *,
        files_granted: bool = True,
        learn: bool = False,
        generated: bool = False,
    ) -> None:
        super().__init__()
        self.findings: list[Diagnostic] = []
        self.refused = False
        self._import_verdict = import_verdict
        self._files_granted = files_granted
        self._learn = learn
        self._generated = generated
        self._scopes: list[str] = ["module"]
        self._bound: frozenset[str] = frozenset()
        self._text_annotations = False
        self._plain_reads = 0
        self._no_walrus = 0
        self._hoists: list[ast.stmt] | None = None
        self._top_level: set[int] = set()
        self._class_globals: list[set[str]] = []
        self._temporaries = 0

    def _accept(self, node: ast.AST) -> ast.AST:
        """Accept a node as it is written; what it holds is visited."""
        self.node_contents_visit(node)  # visits in place
        return node

    # -- findings ------------------------------------------------------------------------------------------

    def report(
        self, node: ast.AST, rule: str, message: str, hint: str = "", severity: Severity = "error"
    ) -> None:
        """Record a finding at a node (or at the start of the file, for nodes without a place)."""
        line, column = getattr(node, "lineno", 1), getattr(node, "col_offset", 0)
        end_line = getattr(node, "end_lineno", None) or line
        end_column = getattr(node, "end_col_offset", None)
        end_column = column if end_column is None else end_column
        self.refused |= severity == "error"
        self.findings.append(
            Diagnostic(rule, severity, line, column, end_line, end_column, message, hint or RULES[rule].hint)
        )

    def error(self, node: ast.AST, info: str) -> None:
        """Record what the base class refuses (syntax that it does not know)."""
        self._report_unknown(node)

    def _report_unknown(self, node: ast.AST) -> None:
        message = f"`{type(node).__name__}` is syntax of a later Python, and not known to the policy."
        self.report(node, "PSB001", message, "Use syntax of Python 3.13 or earlier.")

    def warn(self, node: ast.AST, info: str) -> None:
        """Drop the base class's warnings: each of them comes with an error."""

    # -- modules and scopes --------------------------------------------------------------------------------

    def visit_Module(self, node: ast.Module) -> ast.AST:  # noqa: N802
        """Visit a module, after learning which names it binds anywhere."""
        self._bound = frozenset(_bound_names(node))
        self._text_annotations = _future_annotations(node)
        self._top_level = {id(statement) for statement in node.body}
        return self._accept(node)

    def visit_Expression(self, node: ast.Expression) -> ast.AST:  # noqa: N802
        """Visit one expression: of an `eval`, or of an annotation that is text."""
        self._bound = frozenset(_bound_names(node))
        return self._accept(node)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> ast.AST:  # noqa: N802
        """Accept functions; what the header evaluates belongs to the scope around it."""
        self._check_binding(node, node.name)
        node.decorator_list = self._visit_all(node.decorator_list)
        self._visit_parameters(node.args)
        self._visit_annotation(node, "returns")
        self._visit_type_parameters(node)
        node.body = self._visit_scope("function", node.body)
        return node

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def visit_Lambda(self, node: ast.Lambda) -> ast.AST:  # noqa: N802
        """Accept lambdas."""
        self._visit_parameters(node.args)
        (node.body,) = self._visit_scope("function", [node.body])
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:  # noqa: N802
        """Accept classes with their keywords, metaclass included: it runs only the tool's own code."""
        self._check_binding(node, node.name)
        node.decorator_list = self._visit_all(node.decorator_list)
        node.bases = self._visit_all(node.bases)
        node.keywords = self._visit_all(node.keywords)
        self._visit_type_parameters(node)
        self._class_globals.append(set())
        node.body = self._visit_scope("class", node.body)
        if made := sorted(self._class_globals.pop()):
            # A metaclass's `__prepare__` chooses what the names of a class body mean, but not the global ones.
            node.body.insert(ast.get_docstring(node) is not None, ast.copy_location(ast.Global(made), node))
        return node

    def _visit_all(self, nodes: list[Any]) -> list[Any]:
        """Visit nodes in order; one statement may become several."""
        visited: list[Any] = []
        for node in nodes:
            result = self.visit(node)
            visited.extend(result if isinstance(result, list) else [result])
        return visited

    def _visit_scope(self, kind: str, body: list[Any]) -> list[Any]:
        self._scopes.append(kind)
        hoists, self._hoists = self._hoists, None
        try:
            return self._visit_all(body)
        finally:
            self._scopes.pop()
            self._hoists = hoists

    def _visit_parameters(self, node: ast.arguments) -> None:
        self.node_contents_visit(node)

    def _visit_type_parameters(self, node: Any) -> None:
        if getattr(node, "type_params", None):
            self._no_walrus += 1
            node.type_params = self._visit_scope("function", node.type_params)
            self._no_walrus -= 1

    def visit_arg(self, node: ast.arg) -> ast.AST:
        """Check a parameter's name; its annotation may be text."""
        self._check_binding(node, node.arg)
        self._visit_annotation(node, "annotation")
        return node

    def _visit_annotation(self, node: ast.AST, field: str) -> None:
        value = getattr(node, field)
        if value is None:
            return
        self._no_walrus += 1
        self._plain_reads += self._text_annotations
        visited = self.visit(value)
        self._plain_reads -= self._text_annotations
        self._no_walrus -= 1
        if not self._text_annotations:
            setattr(node, field, visited)

    def visit_Return(self, node: ast.Return) -> ast.AST:  # noqa: N802
        """Accept return."""
        return self._accept(node)

    def generic_visit(self, node: ast.AST) -> ast.AST:
        """Refuse a node type that has no method here or in the base class."""
        self._report_unknown(node)
        return self._accept(node)

    # -- names ---------------------------------------------------------------------------------------------

    def _check_binding(self, node: ast.AST, name: str | None) -> None:
        if name in names.RESERVED_VARIABLES:
            self.report(node, "PSB102", f"`{name}` is read by the interpreter itself and cannot be bound.")

    def visit_Name(self, node: ast.Name) -> ast.AST:  # noqa: N802
        """Accept variable names, underscores included; refuse reserved ones and builtins that run text."""
        name = node.id
        if name == "__import__" and isinstance(node.ctx, ast.Load):
            self.report(node, "PSB101", *builtin_refusal(name))
        elif name in names.RESERVED_VARIABLES and name not in ("__loader__", "__spec__"):
            self.report(node, "PSB102", f"`{name}` is read by the interpreter itself.")
        elif isinstance(node.ctx, ast.Load):
            if name in self._bound:
                return node
            if name in REFUSED_BUILTINS:
                severity: Severity = "warning" if name in INTERACTIVE else "error"
                self.report(node, "PSB101", *builtin_refusal(name), severity=severity)
            elif name == "eval":
                message = "`eval` takes one expression, which is checked as the module is."
                self.report(node, "PSB104", message, severity="warning")
            elif name == "open" and not self._files_granted:
                message = "`open` needs a file grant, and there is none."
                self.report(node, "PSB103", message, severity="warning")
        else:
            self._check_binding(node, name)
        return node

    def visit_Global(self, node: ast.Global | ast.Nonlocal) -> ast.AST:  # noqa: N802
        """Accept global and nonlocal, with checked names."""
        for name in node.names:
            self._check_binding(node, name)
        return node

    visit_Nonlocal = visit_Global  # noqa: N815

    def visit_ExceptHandler(self, node: ast.ExceptHandler) -> ast.AST:  # noqa: N802
        """Accept exception handlers."""
        self._check_binding(node, node.name)
        return self._accept(node)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> ast.AST:  # noqa: N802
        """Accept assignment expressions; the target is a checked name."""
        return self._accept(node)

    # -- attributes ----------------------------------------------------------------------------------------

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:  # noqa: N802
        """Decide a constant attribute name: plain, guarded or refused."""
        name = node.attr
        if not isinstance(node.ctx, ast.Load):
            if name in names.REFUSED_WRITES:
                message, hint = names.refusal(name)
                self.report(node, "PSB202", f"{message[:-1]}, and may not be assigned.", hint)
            node.value = self.visit(node.value)
            return node
        verdict = names.decide(name)
        node.value = self.visit(node.value)
        if verdict == names.REFUSED:
            self.report(node, "PSB201", *names.refusal(name))
        elif verdict == names.GUARDED and self._generated and name not in ("__setattr__", "__delattr__"):
            self.report(node, "PSB404", f"It reads `{name}`.")
        elif verdict == names.GUARDED and not self._plain_reads and not self._learn:
            return self._guarded(node, name)
        return node

    def _guarded(self, node: ast.Attribute, name: str) -> ast.AST:
        """Guard a read; the format method of a literal is decided here and now."""
        if name not in names.FORMAT_NAMES:
            return _call(node, _GUARD, node.value, ast.Constant(name))
        template = node.value.value if isinstance(node.value, ast.Constant) else None
        if isinstance(template, str):
            try:
                check_format(template)
            except DeniedAttribute as denied:
                (found,) = denied.diagnostics
                self.report(node.value, found.rule, found.message, found.hint)
            return node
        if name != "format":
            return _call(node, _GUARD, node.value, ast.Constant(name))
        if self._scopes[-1] != "function" or self._no_walrus:
            return _call(node, _FORMAT, node.value)
        return self._guarded_in_line(node)

    def _guarded_in_line(self, node: ast.Attribute) -> ast.AST:
        """Turn `x.format` into `(t if type(t := x) is str and "." not in t else formatter(t)).format`.

        It stays a method load, so the usual case costs no call of Python code. Only in a function's own scope: there
        `t` is a local variable, which no other thread can change between the look and the use.
        """
        text = ast.Name(_TEXT, ast.Store())
        exact = _call(node, names.guard_name("type"), ast.NamedExpr(text, node.value))
        is_text = ast.Compare(exact, [ast.Is()], [ast.Name(names.guard_name("str"), ast.Load())])
        reads_none = ast.Compare(ast.Constant("."), [ast.NotIn()], [ast.Name(_TEXT, ast.Load())])
        safe = ast.BoolOp(ast.And(), [is_text, reads_none])
        other = _call(node, _FORMATTER, ast.Name(_TEXT, ast.Load()))
        chosen = ast.IfExp(safe, ast.Name(_TEXT, ast.Load()), other)
        made = [
            part for part in ast.walk(chosen) if "lineno" in part._attributes and not hasattr(part, "lineno")
        ]
        node.value = _placed(node, chosen, *made)
        return node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:  # noqa: N802
        """Accept augmented assignment; a guarded attribute would be read without its guard."""
        target = node.target
        if isinstance(target, ast.Attribute) and names.decide(target.attr) == names.GUARDED:
            hint = f"Write `x.{target.attr} = x.{target.attr} + value`."
            self.report(
                target, "PSB203", f"`.{target.attr}` is guarded and cannot be updated in place.", hint
            )
        return self._accept(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:  # noqa: N802
        """Accept annotated assignment; the annotation may be text."""
        node.target = self.visit(node.target)
        if node.value is not None:
            node.value = self.visit(node.value)
        self._visit_annotation(node, "annotation")
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:  # noqa: N802
        """Accept calls; `locals()`, `vars()` and `dir()` mean the caller's own scope."""
        bare = isinstance(node.func, ast.Name) and not node.args and not node.keywords
        called = node.func.id if bare else ""  # type: ignore[attr-defined]
        if called in {"locals", "vars"} - self._bound:
            if self._scopes[-1] == "module":
                return _call(node, names.guard_name("globals"))
            read = _call(node, _LOCALS)  # that of a class body is written through
            return read if self._scopes[-1] == "class" else _call(node, _VISIBLE, read)
        if called == "dir" and called not in self._bound:
            return _call(node, _VISIBLE, node)
        return self._accept(node)

    visit_Subscript = visit_Assign = visit_For = visit_AsyncFor = visit_comprehension = _accept  # noqa: N815
    visit_With = visit_AsyncWith = visit_Await = visit_Starred = visit_JoinedStr = _accept  # noqa: N815

    def _visit_comprehension(self, node: ast.AST) -> ast.AST:
        self._no_walrus += 1
        self._accept(node)
        self._no_walrus -= 1
        return node

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _visit_comprehension  # noqa: N815

    def visit_TryStar(self, node: ast.AST) -> ast.AST:  # noqa: N802
        """Accept `except*` where the interpreter survives it."""
        if EXCEPT_STAR_UNSAFE:
            version = ".".join(map(str, sys.version_info[:3]))
            message = f"`except*` can crash Python {version} (fixed in 3.12.9 and 3.13.2)."
            self.report(node, "PSB401", message)
        return self._accept(node)

    # -- type parameters (PEP 695, 696)
    # -----------------------------------------------------------------------

    def visit_TypeAlias(self, node: Any) -> Any:  # noqa: N802
        """Accept type aliases: their value is code of a scope of its own, checked like any other."""
        node.name = self.visit(node.name)
        self._visit_type_parameters(node)
        self._no_walrus += 1
        (node.value,) = self._visit_scope("function", [node.value])
        self._no_walrus -= 1
        return node

    def _visit_type_parameter(self, node: Any) -> ast.AST:
        self._check_binding(node, node.name)
        return self._accept(node)

    visit_TypeVar = visit_ParamSpec = visit_TypeVarTuple = _visit_type_parameter  # noqa: N815

    # -- imports -------------------------------------------------------------------------------------------

    def _check_import(self, node: ast.stmt, module: str, level: int) -> None:
        verdict = self._import_verdict(module, level) if self._import_verdict else None
        if verdict:
            # Code may try an import and go on without it: only what surely fails keeps the module from
            # loading.
            severity: Severity = "error" if id(node) in self._top_level else "warning"
            self.report(node, *verdict, severity=severity)

    def visit_Import(self, node: ast.Import) -> ast.AST | list[ast.stmt]:  # noqa: N802
        """Turn `import a.b` and `import a.b as c` into calls of the importer."""
        statements: list[ast.stmt] = []
        for alias in node.names:
            self._check_import(node, alias.name, 0)
            target = alias.asname or alias.name.partition(".")[0]
            self._check_binding(node, target)
            leaf = ast.Constant(alias.asname is not None)
            value = _call(node, _IMPORT, ast.Constant(alias.name), leaf)
            statements.append(_assign(node, ast.Name(target, ast.Store()), value))
        return statements

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | list[ast.stmt]:  # noqa: N802
        """Turn `from a import b, c as d` into one call of the importer and an unpacking."""
        module = node.module or ""
        if module == "__future__" and not node.level:
            return node
        self._check_import(node, module, node.level)
        where = [ast.Constant(module), ast.Constant(node.level)]
        if node.names[0].name == "*":
            return _placed(node, ast.Expr(_call(node, _STAR, *where)))
        for alias in node.names:
            self._check_binding(node, alias.asname or alias.name)
            if names.decide(alias.name) == names.REFUSED:
                self.report(node, "PSB201", *names.refusal(alias.name))
        wanted = ast.Constant(tuple([alias.name for alias in node.names]))  # type: ignore[arg-type]
        targets: list[ast.expr] = [ast.Name(alias.asname or alias.name, ast.Store()) for alias in node.names]
        value = _call(node, _FROM, *where, wanted)
        return _assign(node, ast.Tuple(targets, ast.Store()), value, *targets)

    # -- match ---------------------------------------------------------------------------------------------

    def visit_Match(self, node: ast.Match) -> ast.AST | list[ast.stmt]:  # noqa: N802
        """Accept match; classes of positional patterns are looked at before it."""
        node.subject = self.visit(node.subject)
        hoists: list[ast.stmt] = []
        for case in node.cases:
            self._hoists = hoists
            case.pattern = self.visit(case.pattern)
            self._hoists = None
            case.guard = self.visit(case.guard) if case.guard else None
            case.body = self._visit_all(case.body)
        return [*hoists, node] if hoists else node

    def visit_MatchClass(self, node: ast.MatchClass) -> ast.AST:  # noqa: N802
        """Keyword patterns read attributes; positional ones read those that `__match_args__` names."""
        for name in node.kwd_attrs:
            if names.decide(name) != names.PLAIN:
                hint = f"Match the class alone and use `if subject.{name} == ...` inside."
                self.report(node, "PSB403", f"A pattern cannot read `{name}`: patterns have no guard.", hint)
        self._visit_pattern_expression(node.cls)
        if node.patterns and not self._learn and self._hoists is not None:
            self._temporaries += 1
            name = names.guard_name(f"class{self._temporaries}")
            if self._scopes[-1] == "class":
                self._class_globals[-1] |= {name, _PATTERN}
            checked = _call(node.cls, _PATTERN, node.cls)
            self._hoists.append(_assign(node.cls, ast.Name(name, ast.Store()), checked))
            node.cls = ast.copy_location(ast.Name(name, ast.Load()), node.cls)
        node.patterns = self._visit_all(node.patterns)
        node.kwd_patterns = self._visit_all(node.kwd_patterns)
        return node

    def _visit_pattern_expression(self, node: ast.expr) -> None:
        """Check an expression that must stay a constant or a dotted name."""
        for part in ast.walk(node):
            if isinstance(part, ast.Attribute) and names.decide(part.attr) != names.PLAIN:
                hint = "Compare with `if subject == ...` instead."
                self.report(
                    part, "PSB403", f"A pattern cannot read `{part.attr}`: patterns have no guard.", hint
                )
            elif isinstance(part, ast.Name):
                self.visit_Name(part)

    def visit_MatchValue(self, node: ast.MatchValue) -> ast.AST:  # noqa: N802
        """Accept literals and dotted names."""
        self._visit_pattern_expression(node.value)
        return node

    def visit_MatchMapping(self, node: ast.MatchMapping) -> ast.AST:  # noqa: N802
        """Accept mapping patterns."""
        for key in node.keys:
            self._visit_pattern_expression(key)
        self._check_binding(node, node.rest)
        node.patterns = self._visit_all(node.patterns)
        return node

    def visit_MatchAs(self, node: ast.MatchAs) -> ast.AST:  # noqa: N802
        """Accept captures and wildcards."""
        self._check_binding(node, node.name)
        return self._accept(node)

    def visit_MatchStar(self, node: ast.MatchStar) -> ast.AST:  # noqa: N802
        """Accept captures of the rest."""
        self._check_binding(node, node.name)
        return node

    visit_MatchSequence = visit_MatchOr = visit_MatchSingleton = visit_match_case = _accept  # noqa: N815


def _placed(place: ast.AST, node: _Node, *fresh: ast.AST) -> _Node:
    """Give a new node, and the new nodes inside it, the place of an old one."""
    ast.copy_location(node, place)
    for new in fresh:
        ast.copy_location(new, place)
    return node


def _call(place: ast.AST, function: str, *args: ast.expr) -> ast.Call:
    guard = ast.Name(function, ast.Load())
    constants = [arg for arg in args if not hasattr(arg, "lineno")]
    return _placed(place, ast.Call(guard, list(args), []), guard, *constants)


def _assign(place: ast.AST, target: ast.expr, value: ast.expr, *fresh: ast.AST) -> ast.Assign:
    return _placed(place, ast.Assign([target], value), target, *fresh)


def _future_annotations(module: ast.AST) -> bool:
    return any(
        isinstance(statement, ast.ImportFrom)
        and statement.module == "__future__"
        and any(alias.name == "annotations" for alias in statement.names)
        for statement in getattr(module, "body", ())
        if isinstance(statement, ast.AST)
    )


def _bound_names(module: ast.AST) -> Iterable[str]:
    """Yield every name that the module binds in any scope."""
    for node in ast.walk(module):
        if isinstance(node, ast.Name):
            if not isinstance(node.ctx, ast.Load):
                yield node.id
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.alias):
            yield node.asname or node.name.partition(".")[0]
        elif isinstance(node, (ast.ExceptHandler, ast.MatchAs, ast.MatchStar)):
            yield node.name or ""
        elif isinstance(node, ast.MatchMapping):
            yield node.rest or ""
