"""Layer `cgroup`: one group for each template, which bounds its memory and tasks as a whole (cgroups(7)).

Decided here and nowhere else: where the group lies and how large it is. The bound is shared by all calls of
one template: it is the backstop that rlimits cannot be (they count per process), not a limit of a single
call. Version 2 is used where its memory and pids controllers are delegated to this process, else version 1.

How a template gets into its group: a whole process changes its group only after every processor has passed through its
scheduler (an RCU grace period, 7 to 20 ms). A thread that moves itself alone does not wait for that, and version 1 lets
it, by "0" written to `tasks`: so there the template, which has one thread, enters by itself. Version 2 has no such
file; there the keeper moves it, which takes its time while the template builds its private root.
"""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # see `boot`
import errno
import os
import time

from elf_pysandbox_worker.isolation import remedies
from elf_pysandbox_worker.isolation.context import Context, Door
from elf_pysandbox_worker.isolation.errors import Missing, Unavailable
from elf_pysandbox_worker.isolation.rlimits import tasks_allowed
from elf_pysandbox_worker.wire.messages import Confinement

_PREFIX = "elf_pysandbox-"
_MOUNTS_V2 = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
_RELEASE_ATTEMPTS, _RELEASE_PAUSE_S = 100, 0.01


class _Group:
    """One directory below a parent that stays open, so that it can be removed from under any root."""

    def __init__(self, parent: str, name: str) -> None:
        self.name = name
        self.parent = os.open(parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            _remove_stale(self.parent)
            os.mkdir(name, 0o755, dir_fd=self.parent)
        except OSError:
            os.close(self.parent)
            raise

    def write(self, file: str, value: str) -> None:
        descriptor = self.open(file, os.O_WRONLY)
        try:
            os.write(descriptor, value.encode())
        finally:
            os.close(descriptor)

    def open(self, file: str, flags: int) -> int:
        return os.open(f"{self.name}/{file}", flags | os.O_CLOEXEC, dir_fd=self.parent)

    def members(self) -> list[int]:
        descriptor = self.open("cgroup.procs", os.O_RDONLY)
        with os.fdopen(descriptor, "rb") as file:
            return [int(line) for line in file.read().split()]

    def remove(self) -> bool:
        """Kill what is left and remove the directory; whether it is gone."""
        try:
            for _ in range(_RELEASE_ATTEMPTS):
                try:
                    os.rmdir(self.name, dir_fd=self.parent)
                    return True
                except FileNotFoundError:
                    return True
                except OSError:
                    self._kill()
                    time.sleep(_RELEASE_PAUSE_S)
            return False
        finally:
            os.close(self.parent)

    def _kill(self) -> None:
        try:
            self.write("cgroup.kill", "1")
        except OSError:
            for pid in self.members():
                try:
                    os.kill(pid, signal.SIGKILL)
                except OSError:
                    pass  # It ended by itself.


_groups: list[_Group] = []


class Cgroup:
    """The keeper makes the group and stays outside of it; the template enters it, or waits for the keeper to move it,
    before it goes on."""

    name = "cgroup"
    doors: tuple[Door, ...] = ("keeper", "template")

    def available(self, spec: Confinement) -> Missing | None:
        return (
            None
            if _parents()
            else Missing("no writable cgroup with memory and pids controllers", remedies.cgroup())
        )

    def apply(self, context: Context, door: Door) -> str:
        if door == "template":
            return _enter(context)
        version, parents = _parents()[0]
        name = f"{_PREFIX}{os.getpid()}-{_start_time('self')}"
        try:
            for controllers, parent in parents:
                group = _Group(parent, name)
                _groups.append(group)
                for file, value in _settings(version, controllers, context.spec):
                    _set_if_known(group, file, value)
                file = "tasks" if version == 1 else "cgroup.procs"
                context.cgroup_joins.append(group.open(file, os.O_WRONLY))
        except OSError as error:
            release_cgroup()
            raise Unavailable(f"the group cannot be made ({error.strerror})", remedies.cgroup()) from None
        context.enters_cgroup = version == 1
        return "made"


LAYER = Cgroup()


def release_cgroup() -> None:
    """Kill what is left in the template's group and remove it; for the keeper, after the template ended."""
    while _groups:
        _groups.pop().remove()


def admit(context: Context, template: int, alive: int) -> None:
    """Put the template into the group and tell it so, unless it enters by itself; for the keeper, right after it has
    forked it.

    Parameters
    ----------
    context : Context
    template : int
        Its pid.
    alive : int
        Write end of the pipe whose other end is the template's `Context.alive`: one byte is sent, 0 or an errno.
    """
    if context.enters_cgroup or not context.cgroup_joins:
        _close_joins(context)
        return  # By itself, or no group was made, and then the template's door asks for none.
    failed = 0
    try:
        for descriptor in context.cgroup_joins:
            os.write(descriptor, b"%d" % template)
    except OSError as error:
        failed = error.errno or errno.EIO
    _close_joins(context)
    try:
        os.write(alive, bytes((failed,)))
    except BrokenPipeError:
        pass  # It ended already; its keeper is told as of any end.


def _enter(context: Context) -> str:
    failed = _enter_alone(context) if context.enters_cgroup else _wait_for_admission(context)
    if failed:
        raise Unavailable(f"the group cannot be entered ({os.strerror(failed)})", remedies.cgroup())
    # The keeper removes the groups; a descriptor of a folder outside must not come along into the private root.
    while _groups:
        os.close(_groups.pop().parent)
    spec = context.spec
    return (
        f"memory {_memory_bytes(spec) >> 20} MiB and {tasks_allowed(spec)} tasks for all calls of a template"
    )


def _enter_alone(context: Context) -> int:
    """Move this thread, which is all of the process, into the group; return 0 or an errno."""
    try:
        for descriptor in context.cgroup_joins:
            os.write(descriptor, b"0")
    except OSError as error:
        return error.errno or errno.EIO
    finally:
        _close_joins(context)
    return 0


def _wait_for_admission(context: Context) -> int:
    """Wait for what the keeper says of it: 0 or an errno."""
    _close_joins(context)
    told = os.read(context.alive, 1)
    if not told:
        os._exit(1)  # The keeper died first.
    return told[0]


def _close_joins(context: Context) -> None:
    while context.cgroup_joins:
        os.close(context.cgroup_joins.pop())


def _settings(version: int, controllers: set[str], spec: Confinement) -> list[tuple[str, str]]:
    memory, tasks = str(_memory_bytes(spec)), str(tasks_allowed(spec))
    settings: list[tuple[str, str]] = []
    if version == 2:
        return [
            ("memory.max", memory),
            ("memory.swap.max", "0"),
            ("memory.oom.group", "0"),
            ("pids.max", tasks),
        ]
    if "memory" in controllers:
        # The second may not be smaller than the first, and means both together: no swap beyond memory.
        settings += [("memory.limit_in_bytes", memory), ("memory.memsw.limit_in_bytes", memory)]
    if "pids" in controllers:
        settings.append(("pids.max", tasks))
    return settings


def _memory_bytes(spec: Confinement) -> int:
    """Room for every worker and the template at their own limit, never more than the machine has."""
    wish = (spec.memory_mb * (spec.workers + 1) + spec.scratch_mb * spec.scratch_slots) << 20
    machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return min(wish, machine)


def _set_if_known(group: _Group, file: str, value: str) -> None:
    try:
        group.write(file, value)
    except FileNotFoundError:
        if file in ("memory.max", "memory.limit_in_bytes", "pids.max"):
            raise  # The controller is not there after all; swap accounting may well be missing.


def _parents() -> list[tuple[int, list[tuple[set[str], str]]]]:
    """Return [(version, [(controllers, parent directory)])], the best first; empty if none is writable."""
    own = _own_groups()
    found: list[tuple[int, list[tuple[set[str], str]]]] = []
    for mount in _MOUNTS_V2:
        if os.path.exists(f"{mount}/cgroup.controllers") and "" in own:
            here = os.path.normpath(mount + own[""])
            for directory in (here, os.path.dirname(here)):
                if directory.startswith(mount) and _delegates(directory):
                    found.append((2, [({"memory", "pids"}, directory)]))
    version_1 = [
        ({name}, os.path.normpath(f"/sys/fs/cgroup/{name}{own.get(name, '/')}"))
        for name in ("memory", "pids")
    ]
    if all(os.access(directory, os.W_OK) for _, directory in version_1):
        found.append((1, version_1))
    return found


def _delegates(directory: str) -> bool:
    """Whether groups below this version 2 directory have both controllers and may be made."""
    if not os.access(directory, os.W_OK) or not os.access(f"{directory}/cgroup.procs", os.W_OK):
        return False
    try:
        with open(f"{directory}/cgroup.subtree_control", encoding="utf-8") as file:
            enabled = set(file.read().split())
        if {"memory", "pids"} <= enabled:
            return True
        with open(f"{directory}/cgroup.subtree_control", "w", encoding="utf-8") as file:
            file.write("+memory +pids")
    except OSError:
        return False  # The group has processes of its own, or lacks the controllers.
    return True


def _own_groups() -> dict[str, str]:
    """Return controller -> own group's path; "" stands for version 2."""
    try:
        with open("/proc/self/cgroup", encoding="utf-8") as file:
            entries = [line.rstrip("\n").split(":", 2) for line in file]
    except OSError:
        return {}
    return {name: path for _, names, path in entries for name in names.split(",")}


def _remove_stale(parent: int) -> None:
    """Remove the groups of keepers that were killed before they could do it."""
    for name in os.listdir(parent):
        if not name.startswith(_PREFIX):
            continue
        pid, _, started = name.removeprefix(_PREFIX).partition("-")
        if _start_time(pid) != started:
            try:
                os.rmdir(name, dir_fd=parent)
            except OSError:
                pass  # Still in use after all, or not ours to remove.


def _start_time(pid: str) -> str:
    """Return the start time of a process in clock ticks, "" if it is gone: with the pid it names one
    process."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[19].decode()
    except (OSError, IndexError):
        return ""
