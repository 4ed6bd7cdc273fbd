"""What the host and the process that checks source say to each other; light, both sides import it.

The request goes one way on standard input, whole. On standard output come one `Confined` or `Refused`, then one
`Checked` for each file in the order of the request: an answer belongs to a file by its place, never by what it says.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from elf_pysandbox_worker.restricted.diagnostics import Diagnostic
from elf_pysandbox_worker.wire.frames import FrameCaps
from elf_pysandbox_worker.wire.messages import Confinement, LayerReport

ANSWER_CAPS: Final = FrameCaps(payload=32 << 20, total=32 << 20, buffers=0)
"""The findings of one file: a hundred thousand of the usual length. Decoded they are typed tuples, not much larger."""

CPU_S: Final = 120
MEMORY_MB: Final = 1024


class CheckFile(Struct, frozen=True, array_like=True):
    """One file to check: where it comes from, its bytes, and the names of the modules beside it."""

    path: str
    source: bytes
    siblings: list[str]


class CheckRequest(Struct, frozen=True, array_like=True):
    """All of one check."""

    layers: dict[str, str]
    files: list[CheckFile]
    allowed_imports: list[str]
    files_granted: bool

    def confinement(self, read: list[str]) -> Confinement:
        """Return what the process is confined to; it reads only the given paths and writes nothing."""
        return Confinement(
            layers=self.layers, read=read, write=[], scratch_mb=0, scratch_slots=0, memory_mb=MEMORY_MB, file_mb=0,
            open_files=16, processes=0, cpu_s=CPU_S, load_s=CPU_S, workers=1, env={},
        )  # fmt: skip


class Confined(Struct, frozen=True, array_like=True, tag="C"):
    """The process is confined, with these layers; no byte of a file has been looked at."""

    layers: list[LayerReport]


class NotConfined(Struct, frozen=True, array_like=True, tag="N"):
    """A required layer is missing: nothing was looked at, and the process ends."""

    layer: str
    reason: str
    remedy: str


class Checked(Struct, frozen=True, array_like=True, tag="A"):
    """The findings of one file; None when its process ended without an answer."""

    findings: list[Diagnostic] | None


Answer = Confined | NotConfined | Checked
