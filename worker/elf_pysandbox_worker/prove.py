"""Tries the forbidden act of each layer without it and with it, each time in throw-away processes.

Decided here and nowhere else: how a layer is proven on this host. A program of its own, started by the host
side (`python -I -c …`), because it forks: it reads a `Confinement` as JSON and writes a list of `Finding` as
JSON.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import ExitStack

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from elf_pysandbox_worker import isolation
from elf_pysandbox_worker.isolation import LayerMissing, Missing
from elf_pysandbox_worker.proofs import Proof, proofs, set_stage
from elf_pysandbox_worker.wire.messages import Confinement, LayerReport

NOT_APPLIED = "not applied: "
"""How the detail of a layer begins that could hold, were another not missing."""
_TRIAL_S = 30  # A trial takes milliseconds; this ends one that hangs, by SIGALRM in its own keeper.


class Finding(Struct, frozen=True):
    """What is known of one layer on this host.

    Attributes
    ----------
    name : str
    available : bool
        Whether nothing is known that stands in its way.
    held : bool
        Whether it held under the confinement that was asked for.
    proven : bool or None
        Whether the forbidden act worked without it and failed with it; None if that could not be tried.
    act, without, with_ : str
        What was tried, and what came of it.
    detail, remedy, lost : str
    """

    name: str
    available: bool
    held: bool
    proven: bool | None
    act: str
    without: str
    with_: str
    detail: str
    remedy: str
    lost: str


class _Answer(Struct, frozen=True):
    """How one trial ended: the act `worked`, was `stopped`, or could not be tried (`missing`)."""

    kind: str
    text: str = ""
    remedy: str = ""
    reports: list[LayerReport] = []


def main() -> None:
    """Read the confinement from standard input, write the findings to standard output."""
    spec = msgspec.json.decode(sys.stdin.buffer.read(), type=Confinement)
    sys.stdout.buffer.write(msgspec.json.encode(prove(spec)))


def prove(spec: Confinement) -> list[Finding]:
    """Prove every layer under `spec`, the confinement a tool would have."""
    with ExitStack() as stack:
        stage = set_stage(stack)
        usual = _try(spec, None)
        small = replace(spec, workers=1, scratch_mb=0, scratch_slots=0, memory_mb=256, processes=0)
        return [_find(proof, spec, small, usual, stage.folder) for proof in proofs(stage)]


def _find(proof: Proof, spec: Confinement, small: Confinement, usual: _Answer, folder: str) -> Finding:
    layer = next(layer for layer in isolation.LAYERS if layer.name == proof.layer)
    missing = layer.available(spec)
    report = next((report for report in usual.reports if report.name == proof.layer), None)
    held = report is not None and report.held
    # The folder with the secrets is granted where the layer under proof is not about files.
    if proof.layer not in ("mount_namespace", "landlock"):
        small = replace(small, read=[*small.read, folder])
    if proof.attempt is None:
        detail, remedy = _why(proof.layer, usual, missing, report)
        return Finding(
            proof.layer, missing is None, held, None, "nothing: an ordinary user has no rights to give up", "", "",
            detail, "" if held else remedy, proof.lost,
        )  # fmt: skip
    without = _try(replace(small, layers=_only(proof.needs)), proof)
    with_ = _try(replace(small, layers=_only((*proof.needs, proof.layer))), proof)
    proven: bool | None = None
    if without.kind == "worked" and with_.kind != "missing":
        proven = with_.kind == "stopped"
    if missing is None and with_.kind == "missing":
        culprit, _, reason = with_.text.partition(": ")
        # A namespace cannot be had without its owner; the others need what they need for the trial alone.
        if culprit == proof.layer or proof.layer.endswith("_namespace"):
            missing = Missing(reason, with_.remedy)
    detail, remedy = _why(proof.layer, usual, missing, report)
    return Finding(
        proof.layer, missing is None, held, proven, proof.act, _tell(without), _tell(with_), detail,
        "" if held else remedy, proof.lost,
    )  # fmt: skip


def _why(name: str, usual: _Answer, missing: Missing | None, report: LayerReport | None) -> tuple[str, str]:
    """Return with what the layer holds or why not, and what to do about it."""
    if report is not None:
        return report.detail, missing.remedy if missing else ""
    culprit, _, reason = usual.text.partition(": ")
    if culprit == name:
        return reason, usual.remedy
    if missing is not None:
        return missing.reason, missing.remedy
    return f"{NOT_APPLIED}{culprit} is missing, and nothing runs without it", ""


def _only(names: tuple[str, ...]) -> dict[str, str]:
    return {layer.name: "require" if layer.name in names else "off" for layer in isolation.LAYERS}


def _tell(answer: _Answer) -> str:
    return f"{answer.kind}: {answer.text}" if answer.text else answer.kind


def _try(spec: Confinement, proof: Proof | None) -> _Answer:
    """Run one trial in a keeper and a template of its own; with no proof, only confine."""
    read, write = os.pipe()
    keeper = os.fork()
    if keeper == 0:
        status = 1
        try:
            os.close(read)
            _keep(spec, proof, write)
            status = 0
        finally:
            os._exit(status)
    os.close(write)
    with os.fdopen(read, "rb") as file:
        data = file.read()
    os.waitpid(keeper, 0)
    if not data:
        return _Answer("stopped", "the process was killed")
    return msgspec.json.decode(data, type=_Answer)


def _keep(spec: Confinement, proof: Proof | None, write: int) -> None:
    signal.alarm(_TRIAL_S)
    try:
        if proof is not None and proof.before is not None:
            proof.before()
        alive_read, alive_write = os.pipe()
        keep = {write, alive_read, alive_write}
        reports = isolation.enter_namespaces(spec, keep)
        template = os.fork()
        if template == 0:
            try:
                os.close(alive_write)
                _say(write, _confine_and_attempt(spec, proof, alive_read, reports))
            finally:
                os._exit(0)
        isolation.admit(template, alive_write)
        os.waitpid(template, 0)
    except LayerMissing as error:
        _say(write, _Answer("missing", f"{error.layer}: {error.reason}", error.remedy))
    finally:
        isolation.release_cgroup()


def _confine_and_attempt(
    spec: Confinement, proof: Proof | None, alive: int, reports: list[LayerReport]
) -> _Answer:
    try:
        reports = reports + isolation.confine(spec, alive)
    except LayerMissing as error:
        return _Answer("missing", f"{error.layer}: {error.reason}", error.remedy)
    if proof is None or proof.attempt is None:
        return _Answer("confined", reports=reports)
    try:
        proof.attempt()
    except (OSError, KeyError, RuntimeError, MemoryError) as error:
        return _Answer("stopped", f"{type(error).__name__}: {error}")
    return _Answer("worked")


def _say(write: int, answer: _Answer) -> None:
    os.write(write, msgspec.json.encode(answer))


if __name__ == "__main__":
    main()
