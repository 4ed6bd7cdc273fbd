"""A fork by the C library where there is nothing for the interpreter to put right after one.

Decided here and nowhere else: by what a template forks. `os.fork` makes the interpreter's own locks anew in the child,
and `threading`, `logging` and others register functions that do so for theirs, as a thread that was not copied may hold
one: 20 pages that are copied for it in a worker, 150 more if the tool's module has imported `threading` or `logging`,
which is up to a third of a call. Where there is one thread, no lock is held, and nothing of the tool's runs any more
but in workers, all of it is as it should be. The handlers that C libraries have registered run in any case
(pthread_atfork(3)), and so does what makes random numbers others in each process.

Where a process is not known to be such a one, `os.fork` does it.
"""

from __future__ import annotations

import _thread
import gc
import os
import select
import sys
from collections.abc import Callable, Iterator
from types import BuiltinMethodType
from typing import Any

from elf_pysandbox_worker import alone, cdata, ownfiles

_KNOWN_TO = (3, 14)
"""The first version whose PyOS_AfterFork_Child (Modules/posixmodule.c) has not been read for what it puts right."""

# Found now: to look for one is an event that a tool may listen to. The child's one thread holds the interpreter's lock,
# as this one does while the call lasts.
_fork = cdata.PyDLL(None).fork

Fork = tuple[Callable[[], int], tuple[Callable[[], object], ...]]
"""What does as `os.fork` does, but may return -1 instead of raising OSError; and what is to be called in the child."""

Originals = tuple[Callable[[], int], Callable[..., None], Callable[..., object]]


def prepare(files: list[ownfiles.OwnFile], originals: Originals) -> Fork:
    """Return the cheapest way to fork that is right in this process.

    Parameters
    ----------
    files : list of OwnFile
        Of `ownfiles.opened`.
    originals : tuple
        What `os.fork` and `os.register_at_fork` were before any code of a tool ran, and the template's own handler of
        signals.

    Returns
    -------
    fork : callable
    hooks : tuple of callable
        Without parameters.
    """
    fork, register, handler = originals
    if (
        sys.version_info >= _KNOWN_TO
        or not files
        or os.fork is not fork
        or os.register_at_fork is not register
    ):
        return os.fork, ()
    try:
        if not (_runs_nothing_else(files[0], handler) and _threading_is_at_rest() and _logging_is_at_rest()):
            return fork, ()
        return _fork, tuple(_left_to_do())
    except Exception:  # a hook is not known; of what is looked at here, a tool's module can make anything
        return fork, ()


def _runs_nothing_else(stat: ownfiles.OwnFile, handler: Callable[..., object]) -> bool:
    """Whether no code of the tool's runs in this process from now on: what is so now stays so then."""
    if not alone.has_one_thread(stat) or alone.is_watched() or alone.may_be_interrupted(handler):
        return False
    if sys.version_info >= (3, 12) and sys.is_stack_trampoline_active():
        return False  # which a child gets anew
    used = os.waitpid, os.close, os.dup2, os.read, select.poll
    return all(type(function) is BuiltinMethodType for function in used)


def _threading_is_at_rest() -> bool:
    """Whether `threading` knows the one thread that there is, and no object of another."""
    threading: Any = sys.modules.get("threading")
    if threading is None:
        return True
    main = threading._main_thread
    known = {*threading._active.values(), *threading._limbo, *threading._dangling, main}
    return threading._active.get(_thread.get_ident()) is main and len(known) == 1


def _logging_is_at_rest() -> bool:
    """Whether nobody holds a lock of `logging`, nor has a handler other things to do in a child."""
    logging: Any = sys.modules.get("logging")
    if logging is None:
        return True
    own = logging.Handler._at_fork_reinit, logging.NullHandler._at_fork_reinit
    if not _is_free(logging._lock) or any(function.__globals__ is not vars(logging) for function in own):
        return False
    return all(
        getattr(handler._at_fork_reinit, "__func__", None) in own and _is_free(handler.lock)
        for handler in list(logging._at_fork_reinit_lock_weakset)
    )


def _is_free(lock: Any) -> bool:
    """Whether nobody holds a lock, nor this thread; a thread that has ended may."""
    if type(lock) is _thread.LockType:
        return not lock.locked()
    kind: Any = type(lock)
    if kind is not _thread.RLock or lock._is_owned() or not lock.acquire(False):
        return False
    lock.release()
    return True


def _left_to_do() -> Iterator[Callable[[], object]]:
    """Yield what is to be done in a child of all that is registered; LookupError for what is not known."""
    modules: Any = sys.modules  # of which none is imported for this
    for_other_threads = [
        getattr(modules.get(module), name, None)
        for module, names in (
            ("threading", "_after_fork"),
            (
                "logging",
                "_acquireLock _releaseLock _prepareFork _afterFork _after_at_fork_child_reinit_locks",
            ),
        )
        for name in names.split()
    ]
    lock = getattr(modules.get("concurrent.futures.thread"), "_global_shutdown_lock", None)
    if lock is not None and _is_free(lock):
        for_other_threads += [lock.acquire, lock.release, lock._at_fork_reinit]
    reset: Any = getattr(modules.get("asyncio.events"), "on_fork", None)
    for in_child, hook in _registered():
        if any(hook is known or _is_same_method(hook, known) for known in for_other_threads):
            continue
        if in_child and hook is reset is not None:
            yield hook
        elif in_child and getattr(hook, "__func__", None) is modules["random"].Random.seed:
            yield _seed(hook.__self__)
        else:
            raise LookupError(hook)


def _is_same_method(hook: Any, known: Any) -> bool:
    return (
        type(hook) is type(known) is BuiltinMethodType
        and hook.__self__ is known.__self__
        and hook.__name__ == known.__name__
    )


def _seed(generator: Any) -> Callable[[], object]:
    """Return what is left of its `seed` without a number, without the pages that its lines in Python touch."""
    kind: Any = type(generator)
    if kind is not sys.modules["random"].Random or generator.gauss_next is not None:
        raise LookupError(generator)
    seed: Callable[[], object] = kind.__base__.seed.__get__(generator)
    return seed


def _registered() -> list[tuple[bool, Any]]:
    """Return what os.register_at_fork has been given, and whether for the child; LookupError if it cannot be told.

    The interpreter keeps it in three lists of which no module tells. What is registered now is the last of each.
    """

    def before() -> None: ...
    def parent() -> None: ...
    def child() -> None: ...

    os.register_at_fork(before=before, after_in_parent=parent, after_in_child=child)
    lists = []
    collecting = gc.isenabled()
    gc.disable()
    gc.unfreeze()  # what is frozen is not looked at
    try:
        for mark in (before, parent, child):
            lists.append(
                [one for one in gc.get_referrers(mark) if type(one) is list and one and one[-1] is mark]
            )
    finally:
        gc.freeze()
        if collecting:
            gc.enable()
        for found in lists:
            for one in found:
                one.pop()
    if [len(found) for found in lists] != [1, 1, 1]:
        raise LookupError("one list each")
    return [(kind == 2, hook) for kind, (found,) in enumerate(lists) for hook in found]
