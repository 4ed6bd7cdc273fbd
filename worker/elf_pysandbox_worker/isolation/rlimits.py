"""Layer `rlimits`: what one process may use, by setrlimit(2); the template's, and what workers lower further.

Decided here and nowhere else: which resource each limit of a call becomes, and the template's own budget.
"""

from __future__ import annotations

import resource

from elf_pysandbox_worker.isolation.context import Context, Door
from elf_pysandbox_worker.isolation.errors import Missing
from elf_pysandbox_worker.wire.messages import Confinement

_MB = 1 << 20
# Address space is not memory: shared libraries, file mappings and thread stacks' guard pages count in
# RLIMIT_AS and cost nothing. RLIMIT_DATA is the limit of a call; this one only bounds tables and mappings of
# files.
_ADDRESS_SLACK_MB = 1024
# Threads of one process that nobody planned for: an executor has up to 36, a BLAS one for each core.
_THREADS = 64
# Descriptors a template holds beside those of the tool's module: its channels and a stock of two a worker.
_TEMPLATE_DESCRIPTORS = 64
# A template forks for hours: 3600 s of CPU are above a million forks. Past that it dies and is replaced.
_TEMPLATE_CPU_S = 3600
# On a host without user namespaces the count is shared with every process of that user, so it can only be a
# bound against bombs, far above what an honest host runs.
_SHARED_TASKS = 1 << 14
# Queued signals and timers (timer_create(2)) are kernel memory, and count against the host's user as well: who has none
# left can make no timer. An honest process has a handful.
_SIGNALS, _SHARED_SIGNALS = 16, 1 << 12


def tasks_allowed(spec: Confinement) -> int:
    """Return how many tasks (processes and threads) a template and its workers may be at once."""
    return 2 + _THREADS + spec.workers * (1 + spec.processes + _THREADS)


class Rlimits:
    """Sets soft and hard limits of the template; workers inherit them."""

    name = "rlimits"
    doors: tuple[Door, ...] = ("template",)

    def available(self, spec: Confinement) -> Missing | None:
        return None

    def apply(self, context: Context, door: Door) -> str:
        spec = context.spec
        own_count = context.holds("user_namespace")
        tasks = tasks_allowed(spec) if own_count else max(_SHARED_TASKS, tasks_allowed(spec))
        signals = _SIGNALS * (2 + spec.workers)
        for kind, value in (
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_MEMLOCK, 0),
            (resource.RLIMIT_MSGQUEUE, 0),
            (resource.RLIMIT_DATA, spec.memory_mb * _MB),
            (resource.RLIMIT_AS, (spec.memory_mb + _ADDRESS_SLACK_MB) * _MB),
            (resource.RLIMIT_FSIZE, spec.file_mb * _MB),
            (resource.RLIMIT_NOFILE, spec.open_files + 2 * spec.workers + _TEMPLATE_DESCRIPTORS),
            (resource.RLIMIT_NPROC, tasks),
            (resource.RLIMIT_SIGPENDING, signals if own_count else max(_SHARED_SIGNALS, signals)),
            (resource.RLIMIT_CPU, template_cpu_s(spec)),
        ):
            lower(kind, value)
        shared = "" if own_count else " (tasks counted together with all of this user's)"
        return f"{spec.memory_mb} MiB of data, {spec.open_files} files, {tasks} tasks{shared}"


def template_cpu_s(spec: Confinement) -> int:
    """Return the CPU seconds of a template: importing on all cores, then forking for a long time."""
    return _TEMPLATE_CPU_S + worker_cpu_s(spec)[1] + _ceil(spec.load_s) * 4


def worker_cpu_s(spec: Confinement) -> tuple[int, int]:
    """Return soft (SIGXCPU) and hard (SIGKILL) CPU seconds of a worker; the kernel counts whole seconds.

    A host that was started with less (`ulimit -t`) can give no more.
    """
    soft = max(1, _ceil(spec.cpu_s))
    most = resource.getrlimit(resource.RLIMIT_CPU)[1]
    if most == resource.RLIM_INFINITY:
        return soft, soft + 1
    return max(1, min(soft, most - 1)), min(soft + 1, most)


def _ceil(seconds: float) -> int:
    return -int(-seconds // 1)  # without `math`: five mappings in every fork


def lower(kind: int, value: int) -> None:
    """Set soft and hard limit to `value`, or to the hard limit that is already there if that is lower."""
    hard = resource.getrlimit(kind)[1]
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(kind, (value, value))


LAYER = Rlimits()
