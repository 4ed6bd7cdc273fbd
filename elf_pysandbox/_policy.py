"""What a tool may reach: profile, imports, files, environment, network and layers, as values."""

from __future__ import annotations

import os
from types import MappingProxyType

from elf_pysandbox._errors import ConfigurationError
from elf_pysandbox._records import field, record

TYPE_CHECKING = False  # see `_records`
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Literal

    Profile = Literal["restricted", "native", "trusted"]
    LayerMode = Literal["require", "prefer", "off"]
else:  # what hints say to those who read them while the program runs
    Profile = LayerMode = str
    Mapping = dict

_PROFILES = ("restricted", "native", "trusted")
_MODES = ("require", "prefer", "off")

LAYER_NAMES: tuple[str, ...] = (
    "descriptors",
    "session",
    "environment",
    "user_namespace",
    "pid_namespace",
    "mount_namespace",
    "ipc_namespace",
    "uts_namespace",
    "network_namespace",
    "cgroup",
    "rlimits",
    "identity",
    "capabilities",
    "no_new_privs",
    "landlock",
    "seccomp",
)
"""The confinement layers, in the order in which they are applied."""

DEFAULT_LAYERS: Mapping[str, LayerMode] = MappingProxyType(
    {
        # These need nothing from the host, so missing means broken.
        "descriptors": "require",
        "session": "require",
        "environment": "require",
        "rlimits": "require",
        "identity": "require",
        "capabilities": "require",
        "no_new_privs": "require",
        "seccomp": "require",
        # Default Docker and hardened Ubuntu have no user namespaces, kernels before 5.13 no Landlock.
        # At least one of mount_namespace and landlock must hold all the same (`files_need_one_of`).
        "user_namespace": "prefer",
        "pid_namespace": "prefer",
        "mount_namespace": "prefer",
        "ipc_namespace": "prefer",
        "uts_namespace": "prefer",
        "network_namespace": "prefer",
        "cgroup": "prefer",
        "landlock": "prefer",
    }
)


@record(frozen=True, slots=True)
class Files:
    """Files and folders a tool may reach, beside the interpreter's own.

    Attributes
    ----------
    read, write : tuple of str
        Paths; a folder grants everything below it. `write` includes reading. A tool has the rights of the path's
        owner over what that owner has in it, private files too, also where the host program runs as root
        (then by id-mapped mounts, Linux 5.12; where a file system has none, the rights of uid 65534): grant
        no more than it needs.
    scratch_mb : int
        Size in MiB of a private, empty, writable directory for each call; 0 means none.
    """

    read: tuple[str, ...] = ()
    write: tuple[str, ...] = ()
    scratch_mb: int = 0

    def __post_init__(self) -> None:
        for name in ("read", "write"):
            value = getattr(self, name)
            if isinstance(value, (str, bytes, os.PathLike)):
                raise ConfigurationError.about(
                    "Files", name, f"must be a tuple of paths, not the single path {value!r}"
                )
            try:
                given = tuple(os.fsdecode(path) for path in value)
            except TypeError:
                raise ConfigurationError.about(
                    "Files", name, f"must be a tuple of paths, not {value!r}"
                ) from None
            if "" in given:  # `abspath` would make it the working directory.
                raise ConfigurationError.about(
                    "Files", name, 'holds an empty path; write "." for this folder'
                )
            paths = tuple(os.path.abspath(path) for path in given)
            if any("\0" in path for path in paths):
                raise ConfigurationError.about("Files", name, "holds a path with a NUL character")
            object.__setattr__(self, name, paths)
        if isinstance(self.scratch_mb, bool) or not isinstance(self.scratch_mb, int) or self.scratch_mb < 0:
            raise ConfigurationError.about(
                "Files", "scratch_mb", f"must be 0 or more MiB, not {self.scratch_mb!r}"
            )


@record(frozen=True, slots=True)
class Policy:
    """What a tool may reach.

    Attributes
    ----------
    profile : {"restricted", "native", "trusted"}
        `restricted` checks the source against the language policy and holds every kernel layer;
        `native` runs plain CPython under the same layers; `trusted` is for operators' own entrypoints only.
    allowed_imports : tuple of str
        Modules the tool may import beyond the default allowlist (`restricted` only).
    files : Files
    env : tuple of str
        Names of environment variables passed on; nothing else is.
    network : bool
        Only False for now: a grant names host and port.
    calls_per_worker : int
        1 means a fresh process for each call. More is faster and weaker: state can pass between the
        calls of one tool.
    layers : mapping of layer name to {"require", "prefer", "off"}
        Overrides of `DEFAULT_LAYERS`.
    """

    profile: Profile = "restricted"
    allowed_imports: tuple[str, ...] = ()
    files: Files = field(default_factory=Files)
    env: tuple[str, ...] = ()
    network: bool = False
    calls_per_worker: int = 1
    layers: Mapping[str, LayerMode] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if self.profile not in _PROFILES:
            raise ConfigurationError.about(
                "Policy", "profile", f"must be one of {', '.join(_PROFILES)}, not {self.profile!r}"
            )
        for name in ("allowed_imports", "env"):
            object.__setattr__(self, name, _names(name, getattr(self, name)))
        for item in self.allowed_imports:
            if not all(part.isidentifier() for part in item.split(".")):
                raise ConfigurationError.about(
                    "Policy", "allowed_imports", f"holds {item!r}, which is no module's name"
                )
        for item in self.env:
            if "=" in item or "\0" in item:
                raise ConfigurationError.about("Policy", "env", f"takes names, not assignments: {item!r}")
        if not isinstance(self.files, Files):
            raise ConfigurationError(f"Policy.files must be a Files value, not {self.files!r}")
        if self.network is not False:
            raise ConfigurationError("Policy.network can only be False: network grants are not available yet")
        calls = self.calls_per_worker
        if isinstance(calls, bool) or not isinstance(calls, int) or calls < 1:
            raise ConfigurationError.about("Policy", "calls_per_worker", f"must be 1 or more, not {calls!r}")
        self._check_layers()

    def _check_layers(self) -> None:
        if not _is_mapping(self.layers):
            raise ConfigurationError.about("Policy", "layers", f"must be a mapping, not {self.layers!r}")
        for name, mode in self.layers.items():
            if name not in LAYER_NAMES:
                raise ConfigurationError.about(
                    "Policy", "layers", f"has no layer {name!r}; there are {', '.join(LAYER_NAMES)}"
                )
            if mode not in _MODES:
                raise ConfigurationError(
                    f"Policy.layers[{name!r}] must be require, prefer or off, not {mode!r}"
                )
        object.__setattr__(self, "layers", MappingProxyType(dict(self.layers)))

    def layer_modes(self) -> dict[str, LayerMode]:
        """Return the mode of every layer: the defaults with this policy's overrides."""
        return {**DEFAULT_LAYERS, **self.layers}


def _names(field: str, value: Iterable[str]) -> tuple[str, ...]:
    """Return the names that a field of a policy was given."""
    try:
        names = None if isinstance(value, str) else tuple(value)  # to look at a generator uses it up
    except TypeError:
        names = None
    if names is None or not all(isinstance(item, str) for item in names):
        raise ConfigurationError.about("Policy", field, f"must be a tuple of names, not {value!r}")
    if "" in names:
        raise ConfigurationError.about("Policy", field, "holds an empty name")
    return names


def _is_mapping(value: object) -> bool:
    if isinstance(value, (dict, MappingProxyType)):
        return True
    from collections.abc import Mapping

    return isinstance(value, Mapping)
