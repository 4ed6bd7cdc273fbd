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

from elf_pysandbox._errors import SandboxFaultError
from elf_pysandbox._interpreter import interpreter_at
from elf_pysandbox._limits import Limits
from elf_pysandbox._policy import LayerMode, Policy
from elf_pysandbox._route import confinement_of

_PROVE = "import sys; sys.path[:0] = sys.argv[1:]; from elf_pysandbox_worker import prove; prove.main()"
_ALL_TRIALS_S = 120


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
    """Return the diagnosis as plain text, one layer after the other and a summary line."""
    lines: list[str] = []
    for layer in diagnosis:
        proven = {True: "proven", False: "NOT PROVEN", None: "not tried"}[layer.proven]
        held = "held" if layer.held else "NOT HELD"
        lines.append(
            f"{layer.name:<18} {held:<9} {proven:<11} {layer.mode:<8} {layer.detail if layer.held else ''}"
        )
        if layer.held and (layer.proven or not layer.without):
            continue
        notes = [f"tried to {layer.act}: without the layer {layer.without}; with it {layer.with_layer}"]
        if not layer.held:
            notes = [f"why: {layer.detail}", f"lost: a tool could {layer.lost}"]
            notes += [f"get it: {layer.remedy}"] if layer.remedy and layer.remedy not in layer.detail else []
        for note in notes:
            lines.append(textwrap.fill(note, 110, initial_indent="    ", subsequent_indent="      "))
    held_count = sum(layer.held for layer in diagnosis)
    proven_count = sum(layer.proven is True for layer in diagnosis)
    lines.append(f"{held_count} of {len(diagnosis)} layers held, {proven_count} proven")
    return "\n".join(lines)
