"""The messages of each channel, as typed structs.

Decided here and nowhere else: what may be said on which channel. Four channels, all `AF_UNIX` stream socket
pairs made by the host:

- zygote: host -> zygote `Spawn` (with two descriptors: keeper and template channel).
- keeper: keeper -> host `Started` (with two pidfds), `Refused`, `Ended`. End of file there means
  the
  host died.
- template: host -> template `Prepare`, `Load`, `Stock` (with descriptors of worker channels), `Target`, `Inquire`;
  template -> host `Blank`, `Refused`, `Loaded`, `LoadFailed`, `WorkerEnded`.
- worker: host -> worker `Call`; worker -> host `Ready`, then `Output`* and `Item`*, then one `Result` or
  `Failure`.

Array-like encoding: positions, not names, cross; both ends are always the same version of this file.
"""

# Without `from __future__ import annotations`: msgspec would compile the text of each annotation, and the first
# `compile` of a process takes 2 to 3 ms, for types of syntax trees.

import msgspec
from msgspec import Raw, Struct


class Confinement(Struct, frozen=True, array_like=True):
    """All that a template's confinement depends on; equal values can share blank templates.

    Attributes
    ----------
    layers : dict of str to str
        Layer name -> "require" | "prefer" | "off".
    read, write : list of str
        Absolute paths visible to the tool, beside nothing else. `read` includes the interpreter's own.
    scratch_mb : int
        Size of each scratch directory; 0 for none.
    scratch_slots : int
        Number of scratch directories: the most workers a template may have at once when it has scratch.
    memory_mb, file_mb, open_files, processes : int
    cpu_s : float
        CPU seconds of a call; the template's own budget is derived from it and `load_s`.
    load_s : float
    workers : int
        The most workers the template may have at once (sizes RLIMIT_NPROC and the cgroup).
    env : dict of str to str
        The whole environment of the tool.
    grants_read : list of str
        Those of `read` that the user granted: not the interpreter's own.
    """

    layers: dict[str, str]
    read: list[str]
    write: list[str]
    scratch_mb: int
    scratch_slots: int
    memory_mb: int
    file_mb: int
    open_files: int
    processes: int
    cpu_s: float
    load_s: float
    workers: int
    env: dict[str, str]
    grants_read: list[str] = []


class LayerReport(Struct, frozen=True, array_like=True):
    """Whether a layer held; `detail` says with what, or why not."""

    name: str
    held: bool
    detail: str = ""


# -- zygote and keeper channel ------------------------------------------------------------------------


class Spawn(Struct, frozen=True, array_like=True, tag="spawn"):
    """Start a blank confined template; descriptors: keeper channel, template channel."""

    confinement: Confinement


class Started(Struct, frozen=True, array_like=True, tag="started"):
    """The template process exists; descriptors: its pidfd and the keeper's own."""

    pid: int
    layers: list[LayerReport]


class Refused(Struct, frozen=True, array_like=True, tag="refused"):
    """A required layer could not be applied: nothing will run (fail closed)."""

    layer: str
    reason: str
    remedy: str


class Ended(Struct, frozen=True, array_like=True, tag="ended"):
    """The template process ended with this wait status (wait(2))."""

    status: int


# -- template channel -----------------------------------------------------------------------------------


class SourceFile(Struct, frozen=True, array_like=True):
    """One module of a bundle; `source` is the bytes of the file, decoded on the confined side only."""

    name: str
    path: str
    source: bytes
    is_package: bool = False


class Bundle(Struct, frozen=True, array_like=True):
    """A tool's module with the sibling modules it needs.

    Attributes
    ----------
    entry : str
        Name of the module that holds the tool.
    files : list of SourceFile
    values : bytes
        Packed dict of globals to set in the entry module before its source runs (`wire.bundled`), b"" for none.
    pickled : bytes
        cloudpickle of the callable (profile `native` only, same interpreter only), b"" for none.
    """

    entry: str
    files: list[SourceFile]
    values: bytes = b""
    pickled: bytes = b""


class Prepare(Struct, frozen=True, array_like=True, tag="prepare"):
    """Import what loading by this profile needs: a template, ahead of its `Load`; a zygote, ahead of its templates."""

    profile: str


class Load(Struct, frozen=True, array_like=True, tag="load"):
    """Load this bundle; the first and only one of this template. `path` is the callable most calls will
    name."""

    bundle: Bundle
    path: str
    profile: str
    allowed_imports: list[str]
    search: list[str]
    calls_per_worker: int = 1
    files_granted: bool = False


class Stock(Struct, frozen=True, array_like=True, tag="stock"):
    """Worker channels for workers to come; as many descriptors ride along, used in the order sent."""

    count: int


class Target(Struct, frozen=True, array_like=True, tag="target"):
    """Keep this many workers alive (idle and busy together)."""

    workers: int


class Inquire(Struct, frozen=True, array_like=True, tag="inquire"):
    """Ask how the worker on the `index`-th channel ended; answered by `WorkerEnded` once it has."""

    index: int


class Blank(Struct, frozen=True, array_like=True, tag="blank"):
    """Confined, nothing loaded; the layers that hold."""

    layers: list[LayerReport]


class Loaded(Struct, frozen=True, array_like=True, tag="loaded"):
    """The module is loaded; seconds it took."""

    load_s: float


class WorkerEnded(Struct, frozen=True, array_like=True, tag="worker_ended"):
    """The worker forked with the `index`-th channel ever stocked ended with this wait status."""

    index: int
    status: int


# -- errors as data ---------------------------------------------------------------------------------------


class FrameData(Struct, frozen=True, array_like=True):
    file: str
    line: int
    function: str
    source: str = ""


class ErrorData(Struct, frozen=True, array_like=True):
    """An exception as data; `cause` is `__cause__`, or `__context__` unless suppressed; `hints` are settings, each with
    its value or "", that would let through what the sandbox refused."""

    type: str
    module: str
    message: str
    notes: list[str] = []
    traceback: list[FrameData] = []
    cause: "ErrorData | None" = None
    problems: list[tuple[str, str]] = []
    hints: list[tuple[str, str]] = []


ErrorData.__annotations__["cause"] = ErrorData | None  # not its text, see above


class LoadFailed(Struct, frozen=True, array_like=True, tag="load_failed"):
    """The module could not be loaded; the template ends."""

    status: str
    error: ErrorData


# -- worker channel -----------------------------------------------------------------------------------------


EXIT_MEMORY = 251
"""Exit code of a worker that has no memory left to say so: for its arguments, or for its report."""

EXIT_NO_PROCESS = 252
"""Exit code of a template that may fork no worker: the host or its container is out of processes or memory."""


class UsageData(Struct, frozen=True, array_like=True):
    cpu_s: float = 0.0
    peak_memory_mb: float = 0.0


class Call(Struct, frozen=True, array_like=True, tag="call"):
    """Run one call.

    Attributes
    ----------
    id : int
    op : str
        "call", or the name of an operation on the tool ("describe", ...).
    path : str
        Attribute path of the callable in the entry module.
    arguments : Raw
        Packed `(args, kwargs)` (`wire.values`).
    stream : bool
        Send items of a generator as they come, instead of one list at the end.
    output_bytes, result_bytes : int
    options : dict of str to str
        Options of the operation.
    """

    id: int
    op: str
    path: str
    arguments: Raw
    stream: bool
    output_bytes: int
    result_bytes: int
    options: dict[str, str] = {}


class Ready(Struct, frozen=True, array_like=True, tag="ready"):
    """The worker is confined and waits for its call."""


class Output(Struct, frozen=True, array_like=True, tag="output"):
    """Text written to standard output (1) or error (2)."""

    stream: int
    text: str


class Item(Struct, frozen=True, array_like=True, tag="item"):
    """One packed item of a generator."""

    value: Raw


class Result(Struct, frozen=True, array_like=True, tag="result"):
    """The call returned; `value` is packed. `items`: how many a generator yielded, -1 if it was none."""

    id: int
    value: Raw
    usage: UsageData
    items: int = -1


class Failure(Struct, frozen=True, array_like=True, tag="failure"):
    """The call did not return; `status` is one of raised, denied, invalid_arguments, not_found, bad_result,
    memory_limit, output_limit, cpu_limit."""

    id: int
    status: str
    error: ErrorData
    usage: UsageData


ToZygote = Spawn | Prepare
FromKeeper = Started | Refused | Ended
ToTemplate = Prepare | Load | Stock | Target | Inquire
FromTemplate = Blank | Refused | Loaded | LoadFailed | WorkerEnded
ToWorker = Call
FromWorker = Ready | Output | Item | Result | Failure

encode = msgspec.msgpack.Encoder().encode
