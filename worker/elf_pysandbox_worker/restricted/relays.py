"""Library methods that hand what they read from one object to code of the caller's.

`logging.PercentStyle._format` gives `record.__dict__` to `self._fmt`, and both may be anything: of a built-in class,
that dict holds the descriptors that read frames and namespaces. A method of a library class takes any object for
`self`, and calls the methods that a subclass, or whoever changed the class, put in the place of its own. So what such
methods read is read through the guards here. Each does what the library's own does, for the objects that it is for.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from functools import wraps
from types import FrameType, GenericAlias, SimpleNamespace
from typing import Any

from elf_pysandbox_worker.restricted.diagnostics import DeniedAttribute, finding
from elf_pysandbox_worker.restricted.guards import guarded_getattr, guarded_vars
from elf_pysandbox_worker.restricted.sealed import seal
from elf_pysandbox_worker.restricted.untouched import dict_of, mro_of


def argparse_methods(space: dict[str, Any]) -> None:
    """Let namespaces and help texts read no other object's dict."""
    space["_AttributeHolder"]._get_kwargs = lambda self: list(guarded_vars(self).items())


def collections_methods(space: dict[str, Any]) -> None:
    """Copy `UserDict` and `UserList`, and format `UserString`, by the guards."""

    def copying(copied: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def copy(self: Any) -> Any:
            made = self.__class__.__new__(self.__class__)
            ours, theirs = guarded_vars(made), guarded_vars(self)
            ours.update(theirs)
            ours["data"] = copied(theirs["data"])
            return made

        copy.__name__ = "__copy__"
        return copy

    def safe(method: str) -> Callable[..., str]:
        def formatted(self: Any, /, *args: Any, **kwargs: Any) -> str:
            return guarded_getattr(self.data, method)(*args, **kwargs)  # type: ignore[no-any-return]

        formatted.__name__ = method
        return formatted

    space["UserDict"].__copy__ = copying(lambda data: data.copy())
    space["UserList"].__copy__ = copying(lambda data: data[:])
    user_string = space["UserString"]
    user_string.format, user_string.format_map = safe("format"), safe("format_map")


def logging_methods(space: dict[str, Any]) -> None:
    """Format records by the guards: not their `format`, which calls these and tells what is missing."""

    def values(self: Any, record: Any) -> dict[str, Any]:
        return {**(self._defaults or {}), **guarded_vars(record)}

    space["PercentStyle"]._format = lambda self, record: self._fmt % values(self, record)
    space["StrFormatStyle"]._format = lambda self, record: guarded_getattr(self._fmt, "format")(
        **values(self, record)
    )
    space["StringTemplateStyle"]._format = lambda self, record: self._tpl.substitute(**values(self, record))


def pprint_methods(space: dict[str, Any]) -> None:
    """Print no other object's dict as that of a `SimpleNamespace`."""
    printer = space["PrettyPrinter"]
    real = printer._pprint_simplenamespace

    def simple_namespace(
        self: Any, object: Any, stream: Any, indent: int, allowance: int, context: Any, level: int
    ) -> None:
        name = "namespace" if type(object) is SimpleNamespace else object.__class__.__name__
        stream.write(f"{name}(")
        items = guarded_vars(object).items()
        self._format_namespace_items(items, stream, indent + len(name) + 1, allowance, context, level)
        stream.write(")")

    for key, method in printer._dispatch.items():
        if method is real:
            printer._dispatch[key] = simple_namespace
    printer._pprint_simplenamespace = simple_namespace


def functools_methods(space: dict[str, Any]) -> None:
    """Bind a `partialmethod` by the guard, and look for a class's dispatch without showing other classes to it."""
    partial = space["partial"]

    def bound(self: Any, obj: Any, cls: Any = None) -> Any:
        get = guarded_getattr(self.func, "__get__", None)
        function = self.func if get is None else get(obj, cls)
        if function is self.func:
            return self._make_unbound_method().__get__(obj, cls)
        made = partial(function, *self.args, **self.keywords)
        try:
            made.__self__ = guarded_getattr(function, "__self__")
        except AttributeError:
            pass
        return made

    # By identity: whatever a metaclass gives for bases would be asked whether it equals each subclass there is.
    def compose(cls: Any, types: Any) -> Any:
        known = set(map(id, mro_of(cls)))
        related = [
            each
            for each in types
            if id(each) not in known and not isinstance(each, GenericAlias) and issubclass(cls, each)
        ]
        related = [
            each
            for each in related
            if not any(each is not other and id(each) in set(map(id, mro_of(other))) for other in related)
        ]
        wanted = set(map(id, related))
        found: list[Any] = []
        for each in related:
            below = [sub for sub in each.__subclasses__() if id(sub) not in known and issubclass(cls, sub)]
            lists = [[base for base in mro_of(sub) if id(base) in wanted] for sub in below]
            for candidate in (
                one for bases in sorted(lists, key=len, reverse=True) or [[each]] for one in bases
            ):
                if all(candidate is not one for one in found):
                    found.append(candidate)
        return space["_c3_mro"](cls, abcs=found)

    space["partialmethod"].__get__ = bound
    space["_compose_mro"] = compose


def typing_methods(space: dict[str, Any]) -> None:
    """Keep the code that a forward reference is given from a subclass's `__setattr__` and properties."""
    reference = space["ForwardRef"]
    real = reference.__init__
    slots = [dict_of(reference)[name] for name in reference.__slots__]

    @wraps(real)
    def init(self: Any, *args: Any, **options: Any) -> None:
        if type(self) is reference:
            real(self, *args, **options)
            return
        made = reference(*args, **options)
        for slot in slots:
            slot.__set__(self, slot.__get__(made))

    reference.__init__ = init


@seal
class PipeEnd:
    """One end of the pair by which an event loop wakes itself: the socket's class makes others."""

    __module__ = "socket"  # the guard keeps it from tools as it would the socket
    __slots__ = ("__globals__",)

    def __init__(self, end: Any) -> None:
        self.__globals__ = end
        end.setblocking(False)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self.__globals__.fileno()  # type: ignore[no-any-return]

    def send(self, data: bytes) -> int:
        """Write."""
        return self.__globals__.send(data)  # type: ignore[no-any-return]

    def recv(self, size: int) -> bytes:
        """Read."""
        return self.__globals__.recv(size)  # type: ignore[no-any-return]

    def close(self) -> None:
        """Close it; also when it is dropped, as a warning would have the socket for its source."""
        self.__globals__.close()

    __del__ = close


def selector_events_methods(space: dict[str, Any]) -> None:
    """Give event loops no socket of which tool code could have the class."""
    socketpair = space["socket"].socketpair

    def make_self_pipe(self: Any) -> None:
        self._ssock, self._csock = map(PipeEnd, socketpair())
        self._internal_fds += 1
        self._add_reader(self._ssock.fileno(), self._read_from_self)

    space["BaseSelectorEventLoop"]._make_self_pipe = make_self_pipe


def codecs_methods(space: dict[str, Any]) -> None:
    """Take the real `getattr` out of the defaults of the readers' and writers' methods."""
    for name in ("StreamReader", "StreamWriter", "StreamReaderWriter", "StreamRecoder"):
        space[name].__getattr__.__defaults__ = (guarded_getattr,)


def xmlbuilder_methods(space: dict[str, Any]) -> None:
    """Fetch no entity: what opens files and addresses is `urllib.request`, which is not published."""
    import copy

    def refused(self: Any) -> None:
        raise DeniedAttribute([finding("PSB205", "A document's parts are not fetched from elsewhere.")])

    def parse(self: Any, input: Any) -> Any:
        options = copy.copy(self._options)
        options.filter, options.errorHandler = self.filter, self.errorHandler
        stream = input.byteStream
        return refused(self) if stream is None else self._parse_bytestream(stream, options)

    space["DOMEntityResolver"]._create_opener = refused
    space["DOMBuilder"].parse = parse


def pathlib_methods(space: dict[str, Any]) -> None:
    """Replace the readers and callers that paths and their globbers hold: the classes of those read any name."""
    import operator

    from elf_pysandbox_worker.restricted import standins

    made = {operator.attrgetter: standins.attrgetter, operator.methodcaller: standins.methodcaller}

    def stand_in(value: Any) -> Any:
        return made[type(value)](*value.__reduce__()[1])

    for cls in (*space.values(), *vars(sys.modules.get("glob", operator)).values()):
        for name, value in list(vars(cls).items()) if isinstance(cls, type) else ():
            if type(value) in made:
                setattr(cls, name, staticmethod(stand_in(value)))
            elif type(value) is property and type(value.fget) in made:
                setattr(cls, name, property(stand_in(value.fget), doc=value.__doc__))


@seal
class Shown:
    """A local variable for `traceback`, which writes it out and does nothing else with it."""

    __slots__ = ("__globals__",)

    def __init__(self, value: Any) -> None:
        self.__globals__ = value

    def __repr__(self) -> str:
        return repr(self.__globals__)


@seal
class Frame:
    """A frame for `traceback`, whose classes tools may change; every name here is one that they cannot read."""

    __slots__ = ("f_back",)

    def __init__(self, frame: FrameType) -> None:
        self.f_back = frame

    f_code = property(lambda self: self.f_back.f_code)
    f_lineno = property(lambda self: self.f_back.f_lineno)
    f_globals = property(lambda self: self.f_back.f_globals)
    f_locals = property(lambda self: {name: Shown(value) for name, value in self.f_back.f_locals.items()})


def traceback_methods(space: dict[str, Any]) -> None:
    """Give `StackSummary` frames that nothing can be read from, and compare no other object's dict."""

    def wrapped(walk: Callable[[Any], Iterator[tuple[FrameType, Any]]]) -> Callable[[Any], Any]:
        def frames(start: Any) -> Iterator[tuple[Frame, Any]]:
            for frame, place in walk(start):
                yield Frame(frame), place

        return frames

    def equal(self: Any, other: Any) -> Any:
        exception = space["TracebackException"]
        return guarded_vars(self) == guarded_vars(other) if isinstance(other, exception) else NotImplemented

    for name in ("walk_tb", "_walk_tb_with_full_positions", "walk_stack"):
        space[name] = wrapped(space[name])
    space["TracebackException"].__eq__ = equal
