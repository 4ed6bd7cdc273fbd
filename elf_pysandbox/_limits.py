"""Limits of a call: values, validated where they are made, each with the reason for its default."""

from __future__ import annotations

from elf_pysandbox._errors import ConfigurationError
from elf_pysandbox._records import record

_INTEGERS = frozenset(
    {"memory_mb", "output_bytes", "result_bytes", "scratch_mb", "file_mb", "open_files", "processes"}
)
_MAY_BE_ZERO = frozenset({"scratch_mb", "file_mb", "processes", "queue_s", "output_bytes"})


@record(frozen=True, slots=True)
class Limits:
    """What one call may use.

    Attributes
    ----------
    wall_s : float
        Seconds from sending the call to its outcome. 30: longer than any interactive tool, short
        enough that a forgotten loop does not hold a worker for minutes. The host kills by pidfd.
    cpu_s : float
        CPU seconds of the worker. 30: the same as `wall_s`, so a busy tool ends at the same moment.
    memory_mb : int
        Data a worker may allocate, in MiB (RLIMIT_DATA of getrlimit(2), and the cgroup where writable).
        512: room for numpy and pandas on a million rows.
    load_s : float
        Seconds a tool's module may take to import. 30: cold pandas on a busy machine takes 5.
    queue_s : float
        Seconds a call may wait for admission. 60: the callers before it have a `wall_s` of 30.
    output_bytes : int
        Bytes of standard output and error together. 1 MiB: a log a person can still read.
    result_bytes : int
        Bytes of the returned value as written out, and as many of the arguments. 64 MiB: a table of a million rows.
    scratch_mb : int
        Size of the private writable directory of each call, in MiB. 0: none; tools that want a
        temporary file ask for it (`Files.scratch_mb` sets the same).
    file_mb : int
        Largest single file a call may write, in MiB (RLIMIT_FSIZE). 64.
    open_files : int
        Open descriptors (RLIMIT_NOFILE). 64: asyncio and a few files.
    processes : int
        Processes a call may start besides itself. 0: tools compute, they do not start programs.
    """

    wall_s: float = 30.0
    cpu_s: float = 30.0
    memory_mb: int = 512
    load_s: float = 30.0
    queue_s: float = 60.0
    output_bytes: int = 1 << 20
    result_bytes: int = 64 << 20
    scratch_mb: int = 0
    file_mb: int = 64
    open_files: int = 64
    processes: int = 0

    def __post_init__(self) -> None:
        for name in Limits.__match_args__:  # of a subclass, too, `__slots__` may be its own
            value = getattr(self, name)
            whole = name in _INTEGERS
            kinds = (int,) if whole else (int, float)
            if isinstance(value, bool) or not isinstance(value, kinds):
                kind = "a whole number" if whole else "a number of seconds"
                raise ConfigurationError.about("Limits", name, f"must be {kind}, not {value!r}")
            if not value >= 0 or (value == 0 and name not in _MAY_BE_ZERO):  # no number is neither
                floor = "0 or more" if name in _MAY_BE_ZERO else "more than 0"
                raise ConfigurationError.about("Limits", name, f"must be {floor}, not {value!r}")
            if value > 1 << 40:
                raise ConfigurationError.about(
                    "Limits", name, f"must be finite and below 2**40, not {value!r}"
                )
        if self.memory_mb < 32:
            raise ConfigurationError.about(
                "Limits",
                "memory_mb",
                f"must be 32 or more, not {self.memory_mb}: the interpreter needs that much",
            )
        if self.open_files < 16:
            raise ConfigurationError.about(
                "Limits", "open_files", f"must be 16 or more, not {self.open_files}: importing needs a few"
            )
