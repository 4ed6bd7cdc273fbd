"""What this host can hold: each confinement layer available, held and proven.

The trials run in a program of their own (`elf_pysandbox_worker.prove`): they fork, and a host program may
have threads.
"""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from elf_pysandbox._errors import SandboxFaultError
from elf_pysandbox._interpreter import interpreter_at
from elf_pysandbox._limits import Limits
from elf_pysandbox._policy import Policy
from elf_pysandbox._route import confinement_of

if TYPE_CHECKING:
    from elf_pysandbox._policy import LayerMode

_PROVE = "import sys; sys.path[:0] = sys.argv[1:]; from elf_pysandbox_worker import prove; prove.main()"
_ALL_TRIALS_S = 120
# How the trials mark a layer that only waits for another (`elf_pysandbox_worker.prove.NOT_APPLIED`).
_WAITS = "not applied: "


@dataclass(frozen=True, slots=True)
class LayerDiagnosis:
    """What is known of one layer on this host.

    Attributes
    ----------
    name : str
    mode : {"require", "prefer", "off"}
        What the policy says of it.
    available : bool
        Whether this host offers it.
    held : bool
        Whether it held in a template under the policy.
    proven : bool or None
        True if the forbidden act worked without the layer and failed with it; None if that could not be
        tried.
    act : str
        What was tried.
    without, with_layer : str
        What came of it without the layer, and with it.
    detail : str
        With what it holds, or why not.
    lost : str
        What a tool could do without it.
    remedy : str
        How to get it, where it is missing.
    """

    name: str
    mode: LayerMode
    available: bool
    held: bool
    proven: bool | None
    act: str
    without: str
    with_layer: str
    detail: str
    lost: str
    remedy: str


def diagnose(policy: Policy | None = None, python: str = sys.executable) -> list[LayerDiagnosis]:
    """Try every layer of `policy` (the default one if None) on this host.

    Parameters
    ----------
    policy : Policy, optional
    python : str
        The interpreter that the zygote would be started with.

    Returns
    -------
    list of LayerDiagnosis
        In the order in which the layers are applied.

    Raises
    ------
    SandboxFaultError
        The trials themselves failed.
    """
    import msgspec

    from elf_pysandbox_worker.wire.messages import Confinement

    policy = policy or Policy()
    interpreter = interpreter_at(python)
    spec: Confinement = confinement_of(policy, Limits(), 4, interpreter)
    done = subprocess.run(
        [python, "-I", "-S", "-c", _PROVE, *interpreter.roots],
        input=msgspec.json.encode(spec), capture_output=True, timeout=_ALL_TRIALS_S, check=False, env={},
    )  # fmt: skip
    if done.returncode:
        raise SandboxFaultError(f"the trials failed:\n{done.stderr.decode(errors='replace')}")
    modes = policy.layer_modes()
    return [
        LayerDiagnosis(
            name=found["name"], mode=modes[found["name"]], available=found["available"], held=found["held"],
            proven=found["proven"], act=found["act"], without=found["without"], with_layer=found["with_"],
            detail=found["detail"], lost=found["lost"], remedy=found["remedy"],
        )
        for found in json.loads(done.stdout)
    ]  # fmt: skip


def render(diagnosis: Sequence[LayerDiagnosis]) -> str:
    """Return the diagnosis as plain text, one layer after the other and a summary at the end."""
    lines: list[str] = []
    told: dict[str, str] = {}
    for layer in diagnosis:
        held = "held" if layer.held else "NOT HELD"
        detail = layer.detail if layer.held else ""
        lines.append(f"{layer.name:<18} {held:<9} {_proven(layer):<11} {layer.mode:<8} {detail}".rstrip())
        lines += [_fill(note, "    ") for note in _notes(layer, told)]
    held_count = sum(layer.held for layer in diagnosis)
    proven_count = sum(layer.proven is True for layer in diagnosis)
    lines.append(f"{held_count} of {len(diagnosis)} layers held, {proven_count} proven")
    if missing := [layer for layer in diagnosis if layer.mode == "require" and not layer.held]:
        culprits = [layer.name for layer in missing if not _waits(layer)]
        reason = f"layer {culprits[0]} is required" if culprits else missing[0].detail.removeprefix(_WAITS)
        lines.append(_fill(f"No tool runs here under this policy: {reason}", ""))
    return "\n".join(lines)


def _fill(text: str, indent: str) -> str:
    return textwrap.fill(
        text, 110, initial_indent=indent, subsequent_indent=f"{indent}  ", break_on_hyphens=False,
        break_long_words=False,
    )  # fmt: skip


def _proven(layer: LayerDiagnosis) -> str:
    if layer.proven is None:
        return "not tried" if layer.without else "no need"
    return "proven" if layer.proven else "NOT PROVEN"


def _waits(layer: LayerDiagnosis) -> bool:
    """Whether it could hold, were another layer not missing."""
    return layer.detail.startswith(_WAITS)


def _notes(layer: LayerDiagnosis, told: dict[str, str]) -> list[str]:
    """Return what there is to say of a layer that is not both held and proven; each remedy once."""
    if _waits(layer):
        return [f"why: {layer.detail}"]
    if not layer.held:
        why = layer.detail.removesuffix(layer.remedy).rstrip(" .") if layer.remedy else layer.detail
        notes = [f"why: {why}", f"lost: a tool could {layer.lost}"]
        if layer.remedy in told:
            notes.append(f"get it: as {told[layer.remedy]}")
        elif layer.remedy:
            told[layer.remedy] = layer.name
            notes.append(f"get it: {layer.remedy}")
        return notes
    if layer.proven:
        return []
    if not layer.without:
        return [f"tried {layer.act}"]
    if layer.without.startswith("missing: "):
        return [f"to {layer.act} could not be tried: {layer.without.removeprefix('missing: ')}"]
    return [f"tried to {layer.act}: without the layer {layer.without}; with it {layer.with_layer}"]
