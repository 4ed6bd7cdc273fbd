"""A fork by the C library where there is nothing for the interpreter to put right after one.

Decided here and nowhere else: by what a template forks. `os.fork` makes the interpreter's own locks anew in the child,
and `threading`, `logging` and others register functions that do so for theirs, as a thread that was not copied may hold
one: 20 pages that are copied for it in a worker, 150 more if the tool's module has imported `threading` or `logging`,
which is up to a third of a call. In a process without a second thread nobody holds a lock, and all of them are as they
should be. The handlers that C libraries have registered run in any case (pthread_atfork(3)), and so does what makes
random numbers others in each process.

Where a process is not known to be such a one, `os.fork` does it.
"""

from __future__ import annotations

import _thread
import ctypes
import gc
import os
import posix
import sys
from collections.abc import Callable
from types import BuiltinMethodType, FunctionType, MethodType
from typing import Any

from elf_pysandbox_worker import ownfiles

_KNOWN_TO = (3, 14)
"""The first version whose PyOS_AfterFork_Child (Modules/posixmodule.c) has not been read for what it puts right."""

_FOR_OTHER_THREADS = {
    "threading": ("_after_fork",),
    "logging": (
        "_after_at_fork_child_reinit_locks",
        "_acquireLock",
        "_releaseLock",
        "_prepareFork",
        "_afterFork",
    ),
}
_OF_A_LOCK = ("acquire", "release", "_at_fork_reinit")

# Found now: to look for one is an event that a tool may listen to. The child's one thread holds the interpreter's lock,
# as this one does while the call lasts.
_fork = ctypes.PyDLL(None).fork


Fork = tuple[Callable[[], int], tuple[Callable[[], object], ...]]
"""What does as `os.fork` does, but may return -1 instead of raising OSError; and what is to be called in the child."""


def prepare(files: list[ownfiles.OwnFile]) -> Fork:
    """Return the cheapest way to fork that is right in this process, for as long as it starts no thread.

    Parameters
    ----------
    files : list of OwnFile
        Of `ownfiles.opened`.

    Returns
    -------
    fork : callable
    hooks : tuple of callable
        Without parameters.
    """
    plain: Fork = os.fork, ()
    if sys.version_info >= _KNOWN_TO or os.fork is not posix.fork or not files:
        return plain
    try:
        if ownfiles.threads(files[0]) != 1:
            return plain
        hooks = [_known(hook) for hook in _registered() if not _is_for_other_threads(hook)]
    except Exception:  # one is not known; a tool's module can make anything of what is looked at here
        return plain
    return _fork, tuple(hooks)


def _registered() -> list[Any]:
    """Return what os.register_at_fork has been given; raises LookupError if it cannot be told.

    The interpreter keeps it in three lists of which no module tells. What is registered now is the last of each.
    """

    def before() -> None: ...
    def parent() -> None: ...
    def child() -> None: ...

    os.register_at_fork(before=before, after_in_parent=parent, after_in_child=child)
    found: list[Any] = []
    gc.unfreeze()  # what is frozen is not looked at
    try:
        for mark in (before, parent, child):
            (hooks,) = (one for one in gc.get_referrers(mark) if type(one) is list and one[-1] is mark)
            hooks.pop()
            found += hooks
    finally:
        gc.freeze()
    return found


def _is_for_other_threads(hook: Any) -> bool:
    if type(hook) is FunctionType:
        module = hook.__module__
        return any(
            hook is getattr(sys.modules[module], name, None) for name in _FOR_OTHER_THREADS.get(module, ())
        )
    if type(hook) is BuiltinMethodType:
        return type(hook.__self__) in (_thread.LockType, _thread.RLock) and hook.__name__ in _OF_A_LOCK
    return False


def _known(hook: Any) -> Any:
    """Return what does the same as this function, registered for the child; LookupError for one that is not known."""
    modules: Any = sys.modules  # of which none is imported for this
    if type(hook) is FunctionType and hook is getattr(modules.get("asyncio.events"), "on_fork", None):
        return hook
    if type(hook) is MethodType and hook.__func__ is modules["random"].Random.seed:
        generator: Any = hook.__self__
        kind: Any = type(generator)
        if kind is modules["random"].Random and generator.gauss_next is None:
            # What is left of it then, without the pages that its lines in Python touch: `_random.Random`'s.
            return kind.__base__.seed.__get__(generator)
    raise LookupError(hook)
