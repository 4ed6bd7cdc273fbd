"""Functions, lambdas and classes written as they were, with live values in place of what their text refers
to.

The live object decides, not its text: a function's decorators are left out (what they made is an object of
its own), its default values are the live ones, its closure cells become the parameters of a factory.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import dis
import functools
import sys
import types
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from elf_pysandbox._tools.definitions import (
    Definition,
    NoSource,
    definition_of_class,
    definition_of_function,
)

if TYPE_CHECKING:
    from elf_pysandbox._tools.emit import Emitter

_FUTURE_ANNOTATIONS = 0x1000000
_NAME_LOADS = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS", "LOAD_CLASSDEREF"})
_Edit = tuple[ast.expr, str]


def write_function(emitter: Emitter, function: types.FunctionType, where: str, name: str) -> str:
    """Write a function and the globals it uses; returns its name."""
    from elf_pysandbox._tools.emit import CannotShip

    try:
        definition = definition_of_function(function)
    except NoSource as missing:
        raise CannotShip(f"{where}: {missing}", only_text=True) from missing
    emitter.uses.function(function)
    if function.__code__.co_flags & _FUTURE_ANNOTATIONS:
        emitter.future = True
    text = _edited(definition, _edits(emitter, function, definition.node, where))
    with emitter.inside(function, where):
        cells = _cells(emitter, function, where)
    target = _define(emitter, function, name, definition, text, cells)
    _restore_attributes(emitter, function, target, where)
    namespace = function.__globals__
    for used in sorted(_global_names(function.__code__)):
        emitter.uses.name(namespace, used)
        if used in namespace and not (used.startswith("__") and used.endswith("__")):
            emitter.global_name_later(used, namespace[used], f"{where}: global {used!r}")
    return target


def _define(
    emitter: Emitter,
    function: types.FunctionType,
    name: str,
    definition: Definition,
    text: str,
    cells: dict[str, str],
) -> str:
    own, indent = function.__code__.co_name, definition.indent
    is_lambda = isinstance(definition.node, ast.Lambda)
    if _is_replaced(function) and emitter.pass_through(own):
        # Its body means by its name what replaced it, so the name is free again once it is defined.
        target = name if name and name != own else emitter.fresh(own)
        emitter.lines += ["", "", f"if True:\n{text}" if indent else text, f"{target} = {own}"]
    else:
        target = _target(emitter, function, own.strip("<>"), name, fixed=not (is_lambda or indent))
        if is_lambda:
            _factory(emitter, target, cells, f"    return (\n{text}\n    )")
        elif indent:
            _factory(emitter, target, cells, f"{text}\n{indent}return {own}")
        else:
            emitter.lines += ["", "", text]
    emitter.settle(target)
    emitter.remember(function, target)  # a recursive function names itself
    return target


def _is_replaced(function: types.FunctionType) -> bool:
    """Whether a module's function has given its name to something else, as to what a decorator made of it."""
    own = function.__code__.co_name
    at_top = function.__code__.co_qualname == own != "<lambda>"
    return at_top and function.__globals__.get(own, function) is not function


def _target(emitter: Emitter, function: types.FunctionType, own: str, name: str, *, fixed: bool) -> str:
    """The global name of the function: the reserved one, its own, or a new one. The name in a top-level
    ``def`` is `fixed`: moving its lines into a factory would indent the strings in it."""
    from elf_pysandbox._tools.emit import two_things

    if fixed:
        if not emitter.reserve(own, function):
            raise two_things(own, own)
        return own
    if name:
        return name
    return (
        own
        if own.isidentifier() and own != "lambda" and emitter.reserve(own, function)
        else emitter.fresh(own)
    )


def _factory(emitter: Emitter, target: str, cells: dict[str, str], body: str) -> None:
    factory = emitter.fresh(f"make_{target}")
    emitter.lines += ["", "", f"def {factory}({', '.join(cells)}):", body, ""]
    emitter.lines.append(f"{target} = {factory}({', '.join(cells.values())})")


def _cells(emitter: Emitter, function: types.FunctionType, where: str) -> dict[str, str]:
    from elf_pysandbox._tools.emit import CannotShip

    cells = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            value = cell.cell_contents
        except ValueError:
            raise CannotShip(f"{where}: closure variable {name!r} has no value yet") from None
        if (
            value is not function or name != function.__code__.co_name
        ):  # else the inner definition names itself
            cells[name] = emitter.expression(value, f"{where}: closure variable {name!r}")
    return cells


def _edits(emitter: Emitter, function: types.FunctionType, node: Any, where: str) -> list[_Edit]:
    """Live default values in place of their expressions; annotations that mean nothing here become
    ``object``."""
    arguments: ast.arguments = node.args
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = zip(reversed(positional), reversed(arguments.defaults), strict=False)
    written = {argument.arg: default for argument, default in defaults}
    for argument, keyword_default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if keyword_default is not None:
            written[argument.arg] = keyword_default
    named = zip(reversed(positional), reversed(function.__defaults__ or ()), strict=False)
    live: dict[str, object] = {argument.arg: value for argument, value in named}
    live |= function.__kwdefaults__ or {}
    edits: list[_Edit] = []
    for parameter, expression in written.items():
        if parameter in live and not _says(expression, live[parameter]):
            edits.append(
                (expression, emitter.expression(live[parameter], f"{where}: default of {parameter!r}"))
            )
    for one in (*positional, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg):
        if one is not None and one.annotation is not None:
            edits += _annotation(emitter, function, one.arg, one.annotation, where)
    if getattr(node, "returns", None) is not None:
        edits += _annotation(emitter, function, "return", node.returns, where)
    return edits


def _says(expression: ast.expr, value: object) -> bool:
    """Whether an expression is a constant that is this very value."""
    if not isinstance(expression, ast.Constant):
        return False
    return type(expression.value) is type(value) and bool(expression.value == value)


def _annotation(
    emitter: Emitter, function: types.FunctionType, parameter: str, node: ast.expr, where: str
) -> list[_Edit]:
    from elf_pysandbox._tools.emit import CannotShip

    where = f"{where}: annotation of {parameter!r}"
    for name in _forward_names(node):
        emitter.uses.name(function.__globals__, name)
        if name in function.__globals__:
            with contextlib.suppress(CannotShip):
                emitter.global_name(name, function.__globals__[name], where)
    try:
        for name in sorted({one.id for one in ast.walk(node) if isinstance(one, ast.Name)}):
            emitter.uses.name(function.__globals__, name)
            if name in function.__globals__:
                emitter.global_name(name, function.__globals__[name], where)
            elif not hasattr(builtins, name):
                live = function.__annotations__.get(parameter)
                if isinstance(node, ast.Name) and isinstance(live, type):
                    return [(node, emitter.expression(live, where))]
                return [(node, "object")]
    except CannotShip:
        return [(node, "object")]
    return []


def _forward_names(annotation: ast.expr) -> set[str]:
    """Names in the text that an annotation has in place of types: ``"list[Node]"``."""
    found: set[str] = set()
    waiting: list[ast.AST] = [annotation]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
                waiting.append(ast.parse(node.value.strip(), mode="eval").body)
                found |= {one.id for one in ast.walk(waiting[-1]) if isinstance(one, ast.Name)}
        elif isinstance(node, ast.Subscript):
            name = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", "")
            inside = node.slice.elts[:1] if isinstance(node.slice, ast.Tuple) else [node.slice]
            # The text of a Literal is a value; so is what follows the type in Annotated.
            waiting += {"Literal": [], "Annotated": inside}.get(name, [node.slice])
        else:
            waiting += ast.iter_child_nodes(node)
    return found


def _edited(definition: Definition, edits: list[_Edit]) -> str:
    node: Any = definition.node
    shift = node.col_offset if isinstance(node, ast.Lambda) else 0
    lines = [line.encode() for line in definition.text.split("\n")]
    for expression, text in sorted(
        edits, key=lambda edit: (edit[0].lineno, edit[0].col_offset), reverse=True
    ):
        row, last = expression.lineno - node.lineno, (expression.end_lineno or 0) - node.lineno
        start = expression.col_offset - (0 if row else shift)
        end = (expression.end_col_offset or 0) - (0 if last else shift)
        lines[row : last + 1] = [lines[row][:start] + text.encode() + lines[last][end:]]
    return b"\n".join(lines).decode()


def _restore_attributes(emitter: Emitter, function: types.FunctionType, target: str, where: str) -> None:
    attributes = dict(function.__dict__)
    original = attributes.pop("__wrapped__", None)
    if original is not None:
        update = emitter.expression(functools.update_wrapper, where)
        wrapped = emitter.expression(original, f"{where}: __wrapped__")
        emitter.lines.append(f"{update}({target}, {wrapped})")
    for key, value in attributes.items():
        if key.isidentifier() and not key.startswith("__"):
            emitter.lines.append(
                f"{target}.{key} = {emitter.expression(value, f'{where}: attribute {key!r}')}"
            )


def write_class(emitter: Emitter, cls: type, where: str) -> str:
    """Write a class with its decorators and the globals it uses; returns its name."""
    from elf_pysandbox._tools.emit import CannotShip, two_things

    try:
        definition = definition_of_class(cls)
    except NoSource as missing:
        raise CannotShip(f"{where}: {missing}", only_text=True) from missing
    if not emitter.reserve(cls.__name__, cls):
        raise two_things(cls.__name__, where)
    emitter.remember(cls, cls.__name__)
    text = f"if True:\n{definition.text}" if definition.indent else definition.text
    for name in _names_of_text(text):
        if name != cls.__name__:
            _name_in_class(emitter, cls, name, f"{where}: {name!r} in class {cls.__name__}")
    for annotation in _annotations_of_text(text):
        for name in _forward_names(annotation) - {cls.__name__}:
            with contextlib.suppress(CannotShip):
                _name_in_class(emitter, cls, name, f"{where}: {name!r} in class {cls.__name__}")
    emitter.lines += ["", "", text]
    return cls.__name__


def _name_in_class(emitter: Emitter, cls: type, name: str, where: str) -> None:
    """Bind a name that the class's text uses: from its methods' globals and cells, its bases, its module."""
    for function in _functions_of(cls):
        if function.__code__.co_flags & _FUTURE_ANNOTATIONS:
            emitter.future = True
        emitter.uses.name(function.__globals__, name)
        if name in function.__globals__:
            return emitter.global_name_later(name, function.__globals__[name], where)
        for free, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            if free == name != "__class__":
                emitter.uses.function(function)  # the cell is one of its
                return emitter.global_name_later(name, cell.cell_contents, where)
    module = vars(sys.modules[cls.__module__]) if cls.__module__ in sys.modules else {}
    emitter.uses.name(module, name)
    for known in ({base.__name__: base for base in cls.__bases__}, module):
        if name in known:
            return emitter.global_name_later(name, known[name], where)
    return None


def _global_names(code: types.CodeType) -> set[str]:
    found = {step.argval for step in dis.get_instructions(code) if step.opname in _NAME_LOADS}
    # pytest compiles a test file's `assert` into code that uses `@pytest_ar`: of the text that is written, no name.
    found = {name for name in found if name.isidentifier()}
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            found |= _global_names(constant)
    return found


def _names_of_text(text: str) -> list[str]:
    from elf_pysandbox._tools.emit import CannotShip

    try:
        code = compile(text, "<class>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise CannotShip(f"the source of a class does not compile: {error}") from error
    return sorted(_global_names(code) - set(dir(builtins)))


def _annotations_of_text(text: str) -> Iterator[ast.expr]:
    for node in ast.walk(ast.parse(text)):
        for field in ("annotation", "returns"):
            annotation = getattr(node, field, None)
            if annotation is not None:
                yield annotation


def _functions_of(cls: type) -> Iterator[types.FunctionType]:
    for value in vars(cls).values():
        function = getattr(value, "__func__", None) or getattr(value, "fget", None) or value
        if isinstance(function, types.FunctionType):
            yield function
