"""What the layers of one template share: the wish, what has held so far, and what they hand to each other.

Decided here and nowhere else: what crosses from one layer to a later one. A `Context` is made in the keeper
by the first door, is inherited by the template through fork, and is completed there by the second.
"""

from __future__ import annotations

import os
from typing import Literal, Protocol

from elf_pysandbox_worker.isolation.errors import Missing
from elf_pysandbox_worker.isolation.grants import Grants
from elf_pysandbox_worker.wire.messages import Confinement, LayerReport

Door = Literal["keeper", "template"]

TOOL_ID = 1000
"""User and group id of a tool inside a user namespace."""
NOBODY = 65534
"""The id outside that a tool of a root host gets: it owns nothing."""


class Context:
    """The state of one confinement in the making.

    Attributes
    ----------
    spec : Confinement
    keep : frozenset of int
        Descriptors that outlive the keeper's door.
    reports : dict of str to LayerReport
        What each layer has said so far.
    privileged : bool
        Whether the keeper started as the host's root (effective uid 0).
    mapped : bool
        Whether the user namespace has a root of its own besides the tool's id (only a root host can do that).
    alive : int
        Read end of a pipe whose write end only the keeper holds: end of file means the keeper died, a byte that it
        has admitted this process to its cgroup (0) or could not (an errno).
    cgroup_joins : list of int
        Descriptors of the files by which the template gets into its groups.
    enters_cgroup : bool
        Whether the template does that by itself; else the keeper does it.
    grants : Grants
        What the spec grants, as real paths.
    owned : dict of str to int
        Granted path -> descriptor of a detached tree in which its owner appears as the tool.
    foreign : dict of str to str
        Granted path -> why the tool does not have its owner's rights over it.
    tops : list of str
        What lies at the private root, beside the scratch directories.
    """

    def __init__(self, spec: Confinement, keep: frozenset[int]) -> None:
        self.spec = spec
        self.keep = keep
        self.reports: dict[str, LayerReport] = {}
        self.privileged = os.geteuid() == 0
        self.mapped = False
        self.alive = -1
        self.cgroup_joins: list[int] = []
        self.enters_cgroup = False
        self.grants = Grants()
        self.owned: dict[str, int] = {}
        self.foreign: dict[str, str] = {}
        self.tops: list[str] = []

    def holds(self, *names: str) -> bool:
        """Whether at least one of these layers holds."""
        return any(name in self.reports and self.reports[name].held for name in names)

    def tool_user(self) -> int:
        """Return the uid, as this process sees it, under which the tool will run."""
        if self.mapped:
            return TOOL_ID
        return NOBODY if self.privileged and not self.holds("user_namespace") else os.geteuid()

    def grants_writing(self) -> bool:
        """Whether there is any place the tool may write to."""
        return bool(self.spec.write) or self.spec.scratch_mb > 0


class Layer(Protocol):
    """One kernel feature.

    Attributes
    ----------
    name : str
        As in the policy.
    doors : tuple of Door
        In which process (or processes, in this order) it is applied.
    """

    name: str
    doors: tuple[Door, ...]

    def available(self, spec: Confinement) -> Missing | None:
        """Say why the layer cannot be had on this host, or None; changes nothing."""

    def apply(self, context: Context, door: Door) -> str:
        """Apply it to this process; return what it holds with. Raises OSError or Unavailable."""
