"""Walk everything that tool code can reach from the default modules by attributes, items and empty calls.

Run as a program, in a process of its own; prints one JSON object: objects seen, and paths to what must not be had.
"""

from __future__ import annotations

import builtins
import collections
import importlib
import json
import operator
import os
import sys
import types
import warnings

from elf_pysandbox_worker.restricted import guards, names, published
from elf_pysandbox_worker.restricted.importer import Importer
from elf_pysandbox_worker.restricted.namespace import module_builtins
from elf_pysandbox_worker.restricted.state import STATE
from elf_pysandbox_worker.wire.messages import Bundle

LEAVES = (str, bytes, int, float, complex, bool, type(None), type(...), type(NotImplemented))
CONTAINERS = (list, tuple, set, frozenset, dict, types.MappingProxyType, collections.deque)
INTERNAL_HOMES = frozenset(
    names.words(
        """
os posix sys subprocess importlib _frozen_importlib _frozen_importlib_external _imp pickle _pickle marshal ctypes
_ctypes socket _socket shutil signal gc code codeop runpy pkgutil multiprocessing
"""
    )
)
# String functions of posixpath that 3.13 writes in C, and a tuple of numbers.
PURE = ("_path_normpath", "_path_splitroot_ex", "stat_result")
PUBLISHED_FUNCTIONS: set[int] = set()
READERS = (operator.attrgetter, operator.methodcaller)
SLOTS = (types.WrapperDescriptorType, types.MethodWrapperType)


def forbidden(value: object) -> str | None:
    """Return what a value is that no tool may hold, or None."""
    if isinstance(value, types.ModuleType) and not STATE.is_published(value):
        return "module"
    if isinstance(value, (types.FrameType, types.CodeType)):
        return type(value).__name__
    if isinstance(value, dict) and (
        "__builtins__" in value or "__build_class__" in value or value is sys.modules
    ):
        return "namespace"
    if value in READERS if isinstance(value, type) else isinstance(value, READERS):
        return "reader of any name"
    if isinstance(value, SLOTS) and value.__name__ in names.ACCESSOR_NAMES:
        return "reader of any name"
    if isinstance(value, types.GetSetDescriptorType) and value.__name__ == "__dict__":
        return "reader of namespaces"
    if isinstance(value, types.BuiltinFunctionType) and value.__module__ == "builtins":
        real = vars(builtins).get(value.__name__)
        return "builtin" if real is value and id(value) not in PUBLISHED_FUNCTIONS else None
    if isinstance(value, (type, types.FunctionType, types.BuiltinFunctionType)):
        home = getattr(value, "__module__", None)
        internal = isinstance(home, str) and home.partition(".")[0] in INTERNAL_HOMES
        if internal and value.__name__ not in PURE:
            return f"part of {home}"
    return None


METHODS = (
    types.MethodType,
    types.BuiltinMethodType,
    types.MethodWrapperType,
    types.WrapperDescriptorType,
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
)


def key(value: object) -> object:
    """Return what makes a value the same as one already seen: methods are made anew at each reading."""
    if isinstance(value, METHODS):
        owner = getattr(value, "__self__", None)
        return (
            type(value),
            getattr(value, "__qualname__", ""),
            id(getattr(value, "__func__", None)),
            type(owner),
        )
    if isinstance(value, types.FunctionType):
        return (id(value.__code__), value.__qualname__, value.__module__)
    return id(value)


def names_of(value: object) -> list[str]:
    if isinstance(value, METHODS):
        return ["__self__", "__func__", "__objclass__", "__wrapped__", "__dict__", "__module__"]
    return dir(value)


def parts(value: object):
    """Yield (step, value) for all that tool code gets from a value in one step."""
    if isinstance(value, CONTAINERS):
        items = value.values() if hasattr(value, "values") else value
        yield from ((f"[{i}]", item) for i, item in enumerate(list(items)[:2000]))
    for name in names_of(value):
        if names.decide(name) == names.REFUSED:
            continue
        try:
            yield f".{name}", guards.guarded_getattr(value, name)
        except BaseException:
            continue
    if isinstance(value, type) and value not in (type, object) and not issubclass(value, BaseException):
        try:
            yield "()", value()
        except BaseException:
            pass


def walk(roots: dict[str, object], limit: int) -> tuple[int, dict[str, str]]:
    """Walk breadth-first; return how many objects were seen and what was found, by path."""
    seen: dict[object, object] = {}
    found: dict[str, str] = {}
    queue = collections.deque((name, value, 0) for name, value in roots.items())
    made: collections.Counter[type] = collections.Counter()
    while queue and len(seen) < limit:
        path, value, depth = queue.popleft()
        if key(value) in seen or isinstance(value, LEAVES):
            continue
        seen[key(value)] = value
        kind = forbidden(value)
        if kind is not None:
            found[path] = kind
            continue
        # Two instances of a class show what the others would.
        if not isinstance(value, (type, types.ModuleType, types.FunctionType)):
            made[type(value)] += 1
            if made[type(value)] > (40 if isinstance(value, CONTAINERS) else 2) and depth > 2:
                continue
        if depth < 8:
            queue.extend((path + step, part, depth + 1) for step, part in parts(value))
    return len(seen), found


def instances(modules: dict[str, object]) -> dict[str, object]:
    """Return objects that tool code gets by calling what is published, and not by a class without arguments."""
    asyncio, pathlib, logging = modules["asyncio"], modules["pathlib"], modules["logging"]
    found: dict[str, object] = {}

    async def look() -> None:
        task = asyncio.current_task()
        found["an event loop"], found["a task"] = task.get_loop(), task

    asyncio.run(look())
    path = pathlib.Path("/usr/lib")
    found["a path"], found["a path's status"] = path, path.stat()
    found["a logger"] = logging.getLogger("tool")
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("{message}", style="{"))
    found["a handler"] = handler
    parser = modules["argparse"].ArgumentParser("tool")
    parser.add_argument("x")
    found["a parser of arguments"], found["its result"] = parser, parser.parse_args(["1"])
    found["a thread"] = modules["threading"].Thread(target=print)
    found["the main thread"] = modules["threading"].main_thread()
    with modules["concurrent.futures"].ThreadPoolExecutor(1) as executor:
        found["an executor"], found["a future"] = executor, executor.submit(int)
    tree = modules["xml.etree.ElementTree"]
    found["an element tree"] = tree.ElementTree(tree.fromstring("<a><b/></a>"))
    found["a document"] = modules["xml.dom.minidom"].parseString("<a><b c='d'>e</b></a>")
    codecs, stream = modules["codecs"], modules["io"].BytesIO()
    found["a codec"] = codecs.lookup("utf-8")
    found["a recoder"] = codecs.EncodedFile(stream, "utf-8", "latin-1")
    found["a reader"] = codecs.getreader("utf-8")(stream)
    found["a scanner"] = modules["re"].Scanner([("a", None)])
    try:
        raise ValueError
    except ValueError as error:
        found["an exception"] = error
    return found


def main() -> None:
    warnings.simplefilter("ignore")
    STATE.confined = True
    importer = Importer(Bundle("tool", []), ())
    table = module_builtins({}, importer)
    PUBLISHED_FUNCTIONS.update(map(id, table.values()))
    roots: dict[str, object] = {"builtins": [v for k, v in table.items() if names.GUARD_OPEN not in k]}
    for name in published.DEFAULT:
        roots[name] = importer.import_name(name, True)
    roots.update(instances(roots))
    if sys.argv[1:2] == ["--real"]:  # the positive control: the library's module as it is
        roots = {name: vars(importlib.import_module(name)).copy() for name in sys.argv[2:]}
        for space in roots.values():
            space.pop("__builtins__")
    count, found = walk(roots, 400_000)
    json.dump({"seen": count, "roots": list(roots), "found": found}, sys.stdout)
    sys.stdout.flush()
    os._exit(0)  # Among what it made are threads that never ran, for which the interpreter would wait.


if __name__ == "__main__":
    main()
