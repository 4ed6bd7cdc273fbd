"""Library code that reads attributes by a caller's names, or runs generated text, gets the guarded functions.

`functools.update_wrapper(assigned=...)`, `copy` with a forged state, `dataclasses.asdict` with forged fields,
and the code that `dataclasses`, `typing` and `inspect` make from strings would all act with the library's own
builtins. A name in a module's globals shadows the builtin, so each of these modules gets its guarded version
there, once, when its facade is made. Code that stays within the policy sees no difference.
"""

from __future__ import annotations

import ast
import builtins
import importlib
import sys
from collections.abc import Callable
from types import CodeType, FrameType, ModuleType
from typing import Any

from elf_pysandbox_worker.restricted import relays
from elf_pysandbox_worker.restricted.diagnostics import DeniedAttribute, PolicyDenied, finding
from elf_pysandbox_worker.restricted.guards import (
    admit,
    check_write,
    dataclass_setattr,
    guarded_delattr,
    guarded_getattr,
    guarded_setattr,
    guarded_vars,
    plain_text,
)
from elf_pysandbox_worker.restricted.names import PLAIN, decide, guard_name
from elf_pysandbox_worker.restricted.published import SEALED_MODULES
from elf_pysandbox_worker.restricted.sealed import seal_module
from elf_pysandbox_worker.restricted.state import STATE
from elf_pysandbox_worker.restricted.views import (
    class_namespace,
    module_namespace,
    namespace_of,
    real_namespace,
)

_GUARD = guard_name("getattr")
_installed: set[str] = set()
_sealed: set[str] = set()


def install(name: str) -> None:
    """Shadow the builtins that a module applies to names and text of its caller; never in a host's process."""
    if not STATE.confined:
        return
    root = name.partition(".")[0]
    for needed in _TOGETHER.get(name) or _TOGETHER.get(root, (root, name)):
        if needed not in _installed and needed in _SHADOWS:
            _installed.add(needed)
            _SHADOWS[needed](vars(importlib.import_module(needed)))
    if name in SEALED_MODULES and name not in _sealed:
        _sealed.add(name)
        seal_module(name, vars(importlib.import_module(name)))


def install_loaded() -> None:
    """Shadow what is loaded already: library code uses it, whether a tool imports it or not."""
    for name in (*_SHADOWS, *SEALED_MODULES):
        if name in sys.modules or name == "copy":  # which much of the library imports when it gets there
            install(name)


def _reads_and_writes(space: dict[str, Any]) -> None:
    space["getattr"] = guarded_getattr
    space["setattr"] = guarded_setattr
    space["delattr"] = guarded_delattr
    space["vars"] = guarded_vars


def _functools(space: dict[str, Any]) -> None:
    _reads_and_writes(space)
    missing = object()

    def read(self: Any, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self
        if self.attrname is None:
            raise TypeError("Cannot use cached_property instance without calling __set_name__ on it.")
        name = plain_text(self.attrname)
        if isinstance(instance, (type, ModuleType)) or not hasattr(instance, "__dict__"):
            message = (
                f"No '__dict__' attribute on {type(instance).__name__!r} instance to cache {name!r} property."
            )
            raise TypeError(message)
        found = instance.__dict__.get(name, missing)
        if found is missing:
            found = instance.__dict__[name] = self.func(instance)
        return found if decide(name) == PLAIN else guarded_getattr(instance, name)

    # It reads any name from the dict of any object; after the first time, the interpreter reads that dict itself.
    space["cached_property"].__get__ = read
    relays.functools_methods(space)


def _copy(space: dict[str, Any]) -> None:
    _reads_and_writes(space)
    real = space["_reconstruct"]

    def reconstruct(x: Any, memo: Any, func: Callable[..., Any], *args: Any, **options: Any) -> Any:
        def make(*values: Any) -> Any:
            made = func(*values)
            if isinstance(made, ModuleType):  # its state would be written into the namespace itself
                raise DeniedAttribute([finding("PSB202", "A module cannot be made from a state.")])
            return made

        return real(x, memo, make, *args, **options)

    space["_reconstruct"] = reconstruct


def _dataclasses(space: dict[str, Any]) -> None:
    fields = space["fields"]

    def set_state(self: Any, state: Any) -> None:
        for field, value in zip(fields(self), state, strict=False):
            check_write(field.name)
            object.__setattr__(self, plain_text(field.name), value)

    space["_dataclass_setstate"] = set_state
    _reads_and_writes(space)
    space["setattr"] = dataclass_setattr
    space["exec"] = checked_exec


def _contextlib(space: dict[str, Any]) -> None:
    # redirect_stdout reads and writes the attribute of `sys` that a subclass's `_stream` names.
    def stream_name(name: Any) -> str:
        text = plain_text(name)
        if text not in ("stdout", "stderr", "stdin") and not STATE.permits(text, "redirects it", ""):
            message = f"Only standard streams can be redirected, not `{text}`."
            raise DeniedAttribute([finding("PSB205", message)])
        return text

    def read(obj: Any, name: str, *default: Any) -> Any:
        return getattr(obj, stream_name(name)) if obj is sys else guarded_getattr(obj, name, *default)

    def write(obj: Any, name: str, value: Any) -> None:
        setattr(obj, stream_name(name), value) if obj is sys else guarded_setattr(obj, name, value)

    space["getattr"], space["setattr"] = read, write


def _opens_files(space: dict[str, Any]) -> None:
    from elf_pysandbox_worker.restricted import namespace

    space["open"] = namespace.tool_open


def _typing(space: dict[str, Any]) -> None:
    # Forward references are asked to evaluate themselves, by a method that a subclass may override.
    def read(obj: Any, name: str, *default: Any) -> Any:
        value = getattr(obj, name, *default)
        if name not in ("__globals__", "__dict__") or type(value) is not dict:
            return value
        public = _public_globals(value)
        return module_namespace(public) if "__builtins__" in public else public

    space["getattr"] = read
    space["setattr"] = guarded_setattr
    space["vars"] = guarded_vars
    space["compile"] = checked_compile
    space["eval"] = checked_eval
    relays.typing_methods(space)


def _inspect(space: dict[str, Any]) -> None:
    space["eval"] = checked_eval
    space["vars"] = guarded_vars


def _logging(space: dict[str, Any]) -> None:
    relays.logging_methods(space)
    _opens_files(space)


def _argparse(space: dict[str, Any]) -> None:
    # An argument's destination is a name, on a namespace that is the caller's.
    _names_and_files(space)
    relays.argparse_methods(space)


def _names_and_files(space: dict[str, Any]) -> None:
    _reads_and_writes(space)
    _opens_files(space)


def _pprint(space: dict[str, Any]) -> None:
    _reads_and_writes(space)
    relays.pprint_methods(space)


def _xmlbuilder(space: dict[str, Any]) -> None:
    # The settings of a builder are names, and what they are set on is an attribute of it.
    _reads_and_writes(space)
    relays.xmlbuilder_methods(space)


_SHADOWS: dict[str, Callable[[dict[str, Any]], None]] = {
    "functools": _functools,
    "copy": _copy,
    "enum": _reads_and_writes,
    "pprint": _pprint,
    "ast": _reads_and_writes,
    "contextlib": _contextlib,
    "configparser": _names_and_files,
    "shlex": _opens_files,
    "dataclasses": _dataclasses,
    "typing": _typing,
    "inspect": _inspect,
    "collections": relays.collections_methods,
    "codecs": relays.codecs_methods,
    "asyncio.selector_events": relays.selector_events_methods,
    "pathlib": relays.pathlib_methods,
    "traceback": relays.traceback_methods,
    "logging": _logging,
    "argparse": _argparse,
    "xml.etree.ElementTree": _opens_files,
    "xml.dom.xmlbuilder": _xmlbuilder,
}

# A facade that hands out another library module's machinery needs that one's shadows too.
_TOGETHER = {
    "contextlib": ("contextlib", "functools"),
    "functools": ("functools", "typing"),
    "dataclasses": ("dataclasses", "functools", "copy", "inspect"),
    "types": ("functools", "enum"),
    "pprint": ("pprint", "dataclasses"),
    "asyncio": ("functools", "inspect", "asyncio.selector_events"),
    "xml.dom.minidom": ("xml.dom.xmlbuilder",),
}


def _checked(tree: ast.AST, source: str, *, generated: bool = True) -> None:
    """Refuse generated text with imports and refused names; where no guard can run, with guarded names, too."""
    from elf_pysandbox_worker.restricted.compiler import check_generated

    found = check_generated(tree, source, generated=generated)
    if found:
        reasons = " ".join(each.message for each in found[:3])
        message = f"The library would run text that the policy refuses: {reasons}"
        if not STATE.permits("generated code", message, ""):
            raise PolicyDenied([finding("PSB404", message)])


def checked_exec(source: Any, globals_: dict[str, Any], locals_: Any = None, /) -> None:
    """`exec` for the code that `dataclasses` generates, in the namespace of the class's module.

    `__module__` of a class is only a claim: the namespace of a standard library module is never used. Code in the
    namespace of a tool's module gets the guards of that module; elsewhere, names that need one are refused.
    """
    from elf_pysandbox_worker.restricted.namespace import annotation_builtins

    text = str.__str__(source)
    tree = ast.parse(text)
    globals_ = real_namespace(globals_)
    space = _public_globals(globals_)
    builtins_here = space.get("__builtins__")
    if type(builtins_here) is dict and _GUARD in builtins_here:
        _checked(tree, text, generated=False)
        exec(compile(tree, "<string>", "exec", dont_inherit=True), space, locals_)
        return
    _checked(tree, text)
    if space is not globals_ or "__builtins__" not in globals_:
        space = {**space, "__builtins__": annotation_builtins()}
    exec(text, space, locals_)


def checked_compile(source: Any, filename: Any, mode: str, *args: Any, **kwargs: Any) -> Any:
    """`compile` for the strings that `typing` takes for annotations."""
    text = str.__str__(source)
    _checked(ast.parse(text, mode=mode), text)
    return compile(text, filename, mode, *args, **kwargs)


def checked_eval(source: Any, globals_: Any = None, locals_: Any = None, /) -> Any:
    """`eval` for annotations: never with a library module's globals, never with the real builtins."""
    from elf_pysandbox_worker.restricted.namespace import annotation_builtins

    if type(source) is not CodeType:
        text = str.__str__(source)
        _checked(ast.parse(text.lstrip(" \t"), mode="eval"), text)
        source = compile(text, "<string>", "eval")
    space = dict(_public_globals(globals_ or {}))
    space["__builtins__"] = annotation_builtins()
    if type(locals_) is dict:  # that of a class may be among them
        locals_ = class_namespace(object, _public_globals(locals_), admit)
    return eval(source, space, locals_)


def _public_globals(space: Any) -> Any:
    """Return a namespace, or the published names when it is that of a module which is not the tool's.

    Such a one has the interpreter's own builtins; whose name it has is only a claim.
    """
    space = real_namespace(space)
    if type(space) is not dict:
        return space
    said = space.get("__name__")
    name: str = said if type(said) is str else ""
    tool = STATE.tool_modules.get(name)
    if tool is not None and name.partition(".")[0] in sys.stdlib_module_names:
        return namespace_of(tool)
    module = sys.modules.get(name)
    if not _is_of_library(space, module):
        return space
    root = name.partition(".")[0]
    if root in STATE.native_roots or _asks_for_itself(root):
        return space
    from elf_pysandbox_worker.restricted import facades, published

    if name not in published.DEFAULT or module is None or namespace_of(module) is not space:
        return {}
    return namespace_of(facades.facade(name))


def _is_of_library(space: dict[str, Any], module: ModuleType | None) -> bool:
    """Tell whether a namespace is that of a module which runs without the policy, or of none that imports know."""
    own = space.get("__builtins__")
    if type(own) is dict and _GUARD in own:
        return False
    if own is builtins or own is vars(builtins) or space.get("sys") is sys:
        return True
    # The namespaces of modules in C, the builtins among them, have no builtins of their own.
    if module is not None and isinstance(module, ModuleType) and namespace_of(module) is space:
        return True
    return any(
        isinstance(each, ModuleType) and namespace_of(each) is space for each in [*sys.modules.values()]
    )


def _asks_for_itself(root: str) -> bool:
    """Tell whether a package that the worker uses (pydantic) evaluates its own annotations, not for tool code."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        if frame.f_builtins is not vars(builtins):
            return False  # tool code
        top = str(frame.f_globals.get("__name__")).partition(".")[0]
        if top not in sys.stdlib_module_names and frame.f_globals is not globals():
            return top == root != "elf_pysandbox_worker"
        frame = frame.f_back
    return False
