"""Where the calls of one tool under one set of options go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from elf_pysandbox._host.endings import HostLimits
from elf_pysandbox_worker.wire.messages import Confinement, Load

if TYPE_CHECKING:
    from collections.abc import Hashable

    from elf_pysandbox._host.templates import Template


class Route:
    """Where the calls of one tool under one set of options go: the template's recipe, and the template."""

    __slots__ = ("confinement", "key", "limits", "load", "python", "roots", "template")

    def __init__(
        self,
        key: Hashable,
        python: str,
        roots: Sequence[str],
        confinement: Confinement,
        load: Load,
        limits: HostLimits,
    ) -> None:
        self.key, self.python, self.roots = key, python, roots
        self.confinement, self.load, self.limits = confinement, load, limits
        self.template: Template | None = None
