"""Forks keeper -> template -> worker through the three doors and runs a function in any of them.

What the engine does with channels this does with three pipes, so that the layers can be tried alone. A
function that is to run in a position returns something `repr` can say and `ast.literal_eval` can read back;
what it raises comes back as `Raised`.
"""

from __future__ import annotations

import ast
import os
import select
import signal
import site
import sys
import sysconfig
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

import elf_pysandbox_worker
from elf_pysandbox._policy import DEFAULT_LAYERS, LAYER_NAMES
from elf_pysandbox_worker import isolation
from elf_pysandbox_worker.isolation import LayerMissing, bpf, libc, mounts, namespaces, seccomp
from elf_pysandbox_worker.isolation.explain import explain_error
from elf_pysandbox_worker.isolation.syscalls import NUMBERS
from elf_pysandbox_worker.wire.messages import Confinement, LayerReport

Position = Literal["keeper", "template", "worker"]
WAIT_S = 60.0
"""No run takes that long; it bounds a test that hangs."""


def readable_paths() -> list[str]:
    """Return what an interpreter and its packages need: what the host grants every tool."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(elf_pysandbox_worker.__file__)))
    paths = {
        sys.base_prefix, sys.prefix, sys.base_exec_prefix, *site.getsitepackages(),
        sysconfig.get_path("stdlib"), package, "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache",
        "/etc/localtime", "/usr/share/zoneinfo",
    }  # fmt: skip
    return sorted(path for path in paths if os.path.exists(path))


_FRESH_MB = 100


def confinement(layers: dict[str, str] | None = None, **changes: Any) -> Confinement:
    """Return a usual confinement with changes."""
    values: dict[str, Any] = {
        "layers": {**DEFAULT_LAYERS, **(layers or {})}, "read": readable_paths(), "write": [],
        "scratch_mb": 0, "scratch_slots": 0, "memory_mb": 512, "file_mb": 64, "open_files": 64,
        "processes": 0, "cpu_s": 30.0, "load_s": 30.0, "workers": 4, "env": {},
    }  # fmt: skip
    values |= changes
    values["memory_mb"] += inherited_mb()
    return Confinement(**values)


def inherited_mb() -> int:
    """Return the data this process holds beyond a fresh interpreter's: its forks start with it, and it counts."""
    with open("/proc/self/status", encoding="ascii") as stream:
        data = next(line for line in stream if line.startswith("VmData"))
    own = int(data.split()[1]) // 1024
    return own if own > _FRESH_MB else 0


def only(*names: str, mode: str = "require") -> dict[str, str]:
    """Return modes in which only these layers are on."""
    return {name: mode if name in names else "off" for name in LAYER_NAMES}


def without(*names: str) -> dict[str, str]:
    """Return the default modes with these layers off."""
    return dict.fromkeys(names, "off")


def become_ordinary_user() -> None:
    """Go on as uid 1000, on a machine where only root may reach the interpreter; for `before`.

    The interpreter is shown at its own path in a mount namespace of this process, since a folder above it may
    be closed to others (/root usually is).
    """
    if os.geteuid() != 0:
        return
    _show_interpreter()
    os.setgroups([])
    os.setresgid(1000, 1000, 1000)
    os.setresuid(1000, 1000, 1000)
    # As after setpriv(1): a program started by that user is dumpable.
    libc.prctl(libc.PR_SET_DUMPABLE, 1)


def _show_interpreter() -> None:
    """Show the interpreter, its packages and this project below folders that are closed to others."""
    project = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    package = os.path.dirname(os.path.dirname(os.path.abspath(elf_pysandbox_worker.__file__)))
    wanted = {os.path.realpath(path) for path in (sys.base_prefix, sys.prefix, project, package)}
    hidden = sorted(path for path in wanted if not _open_to_others(path))
    if not hidden:
        return
    libc.call("unshare", namespaces.CLONE_NEWNS)
    mounts.make_private()
    trees = [(path, mounts.copy_tree(path, mounts.RDONLY)) for path in hidden]
    for top in {"/" + path.split("/")[1] for path in hidden}:
        mounts.tmpfs(top, "mode=0755")
    for path, tree in trees:
        os.makedirs(path, exist_ok=True)
        mounts.attach(tree, path)
        os.close(tree)


def _open_to_others(path: str) -> bool:
    while path != "/":
        if os.stat(path).st_mode & 0o005 != 0o005:
            return False
        path = os.path.dirname(path)
    return True


def answer(error: int, *names: str) -> Callable[[], None]:
    """Return a `before` that makes system calls fail, as a host or a container's profile does."""

    def before() -> None:
        program = bpf.Program()
        program.load(bpf.NUMBER)
        for name in names:
            program.equal(NUMBERS[name], then="refuse")
        program.allow()
        program.label("refuse")
        program.fail(error)
        libc.prctl(libc.PR_SET_NO_NEW_PRIVS, 1)
        seccomp.load(program.assemble())

    return before


def both(*steps: Callable[[], None]) -> Callable[[], None]:
    """Return a `before` that does these one after the other."""

    def before() -> None:
        for step in steps:
            step()

    return before


@dataclass(frozen=True)
class Raised:
    """What a function raised in its position."""

    type: str
    errno: int | None
    text: str


@dataclass
class Run:
    """How a run went.

    Attributes
    ----------
    value : object
        What the function returned, or `Raised`, or None if it never answered.
    missing : tuple of str or None
        Layer, reason and remedy of a `LayerMissing`.
    status : int or None
        Wait status of the process the function ran in: of the template, or of the worker as the template saw
        it.
    """

    value: Any = None
    missing: tuple[str, str, str] | None = None
    reports: dict[str, LayerReport] = field(default_factory=dict)
    status: int | None = None
    left_over: list[int] = field(default_factory=list)


def words_of(error: BaseException) -> str | None:
    """Return how the sandbox explains an error: the text, then each setting as ``name=value``."""
    found = explain_error(error)
    return None if found is None else " ".join([found.text, *map("=".join, found.hints)])


def explained(act: Callable[[], object]) -> Callable[[], str | None]:
    """Return a function that acts, and says how the sandbox explains why it may not."""

    def explaining() -> str | None:
        try:
            act()
        except OSError as error:
            return words_of(error)
        return "it was not refused"

    return explaining


def run(
    function: Callable[[], Any],
    spec: Confinement | None = None,
    position: Position = "worker",
    before: Callable[[], None] | None = None,
    slot: int = -1,
    load: Callable[[], Any] | None = None,
) -> Run:
    """Run `function` in `position` under `spec`.

    Parameters
    ----------
    before : callable, optional
        Runs in the keeper before the first door: to play a host that lacks something.
    load : callable, optional
        Runs in the confined template before it forks the worker, as importing a tool does.
    """
    spec = spec or confinement()
    read, write = os.pipe()
    keeper = os.fork()
    if keeper == 0:
        _be_keeper(read, write, spec, position, function, before, slot, load)
    os.close(write)
    answers = _read_answers(read, keeper)
    os.close(read)
    _, status = os.waitpid(keeper, 0)
    return _gather(answers, status)


def _be_keeper(
    read: int, write: int, spec: Confinement, position: Position, function: Callable[[], Any],
    before: Callable[[], None] | None, slot: int, load: Callable[[], Any] | None,
) -> None:  # fmt: skip
    try:
        os.close(read)
        if before is not None:
            before()
        alive_read, alive_write = os.pipe()
        reports = isolation.enter_namespaces(spec, {write, alive_read, alive_write})
        _say(write, "reports", [msgspec.structs.astuple(report) for report in reports])
        if position == "keeper":
            _say(write, "value", _attempt(function))
            return
        template = os.fork()
        if template == 0:
            os.close(alive_write)
            _be_template(alive_read, write, spec, position, function, slot, load)
        isolation.admit(template, alive_write)
        _, status = os.waitpid(template, 0)
        _say(write, "template", status)
    except LayerMissing as error:
        _say(write, "missing", (error.layer, error.reason, error.remedy))
    except BaseException:
        _say(write, "broken", traceback.format_exc())
    finally:
        isolation.release_cgroup()
        os._exit(0)


def _be_template(
    alive: int, write: int, spec: Confinement, position: Position, function: Callable[[], Any], slot: int,
    load: Callable[[], Any] | None,
) -> None:  # fmt: skip
    try:
        reports = isolation.confine(spec, alive)
        _say(write, "reports", [msgspec.structs.astuple(report) for report in reports])
        if load is not None:
            load()
        if position == "template":
            _say(write, "value", _attempt(function))
            return
        confine_worker = isolation.prepare_worker(spec)
        worker = os.fork()
        if worker == 0:
            try:
                confine_worker(slot)
                _say(write, "value", _attempt(function))
            except BaseException:
                _say(write, "broken", traceback.format_exc())
            finally:
                os._exit(0)
        _, status = os.waitpid(worker, 0)
        _say(write, "worker", status)
    except LayerMissing as error:
        _say(write, "missing", (error.layer, error.reason, error.remedy))
    except BaseException:
        _say(write, "broken", traceback.format_exc())
    finally:
        os._exit(0)


def _attempt(function: Callable[[], Any]) -> tuple[str, Any]:
    try:
        return "returned", function()
    except Exception as error:
        return "raised", (type(error).__name__, getattr(error, "errno", None), str(error))


def _say(write: int, kind: str, value: Any) -> None:
    os.write(write, repr((kind, value)).encode() + b"\n")


def _read_answers(read: int, keeper: int) -> list[tuple[str, Any]]:
    chunks: list[bytes] = []
    ends = select.poll()
    ends.register(read, select.POLLIN)
    while True:
        if not ends.poll(WAIT_S * 1000):
            os.kill(keeper, signal.SIGKILL)
            raise TimeoutError(f"no answer within {WAIT_S} s; so far: {b''.join(chunks)!r}")
        chunk = os.read(read, 1 << 16)
        if not chunk:
            break
        chunks.append(chunk)
    return [ast.literal_eval(line.decode()) for line in b"".join(chunks).splitlines()]


def _gather(answers: list[tuple[str, Any]], keeper_status: int) -> Run:
    result = Run()
    for kind, value in answers:
        if kind == "broken":
            raise AssertionError(f"the driver itself failed:\n{value}")
        if kind == "reports":
            result.reports |= {name: LayerReport(name, held, detail) for name, held, detail in value}
        elif kind == "missing":
            result.missing = value
        elif kind == "value":
            how, content = value
            result.value = content if how == "returned" else Raised(*content)
        elif kind == "worker" or (kind == "template" and result.status is None):
            result.status = value
    if not answers:
        raise AssertionError(f"the keeper said nothing and ended with status {keeper_status}")
    return result
