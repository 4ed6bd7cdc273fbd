"""Every layer of this host is proven: its forbidden act works without it and fails with it."""

from __future__ import annotations

import dataclasses
import json
import os
from contextlib import ExitStack

import msgspec
import pytest

from elf_pysandbox import _doctor
from elf_pysandbox._policy import LAYER_NAMES, Policy
from elf_pysandbox_worker import proofs, prove
from elf_pysandbox_worker.isolation import LAYERS
from elf_pysandbox_worker.isolation.context import Context, Door
from tests.isolation.driver import become_ordinary_user, confinement


def test_every_layer_that_holds_here_is_proven() -> None:
    diagnosis = _doctor.diagnose()
    assert tuple(layer.name for layer in diagnosis) == LAYER_NAMES
    unproven = [layer for layer in diagnosis if layer.held and not layer.proven and layer.without]
    assert unproven == []
    assert all(layer.held for layer in diagnosis if layer.mode == "require")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to play the ordinary user beside it")
def test_every_layer_that_an_ordinary_user_holds_is_proven() -> None:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            become_ordinary_user()
            diagnosis = [dataclasses.asdict(layer) for layer in _doctor.diagnose()]
            os.write(write, json.dumps(diagnosis).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as file:
        found = {layer["name"]: layer for layer in json.load(file)}
    os.waitpid(child, 0)
    assert {name for name, layer in found.items() if not layer["held"]} <= {"cgroup"}
    assert {name for name, layer in found.items() if layer["held"] and not layer["proven"]} == {"identity"}


def test_a_layer_that_is_off_is_told_with_what_is_lost() -> None:
    diagnosis = _doctor.diagnose(Policy(layers={"seccomp": "off"}))
    text = _doctor.render(diagnosis)
    seccomp = next(layer for layer in diagnosis if layer.name == "seccomp")
    assert not seccomp.held
    assert seccomp.proven, "what it could do here is shown all the same"
    assert "lost: a tool could use every system call" in text
    assert json.loads(json.dumps([dataclasses.asdict(layer) for layer in diagnosis]))


@pytest.mark.parametrize("name", LAYER_NAMES)
def test_taking_a_layer_out_of_the_program_turns_its_proof_red(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proofs prove: a layer that only says it holds is found out."""
    spec = confinement()
    layer = next(layer for layer in LAYERS if layer.name == name)
    if layer.available(spec) is not None:
        pytest.skip(f"this host lacks the layer {name}")
    if name == "identity" and os.geteuid() != 0:
        pytest.skip("an ordinary user has no identity to give up")

    def pretend(context: Context, door: Door) -> str:
        # What the others take from it is kept right; only the kernel hears nothing.
        for descriptor in context.cgroup_joins:
            os.close(descriptor)
        context.cgroup_joins.clear()
        return "pretended"

    monkeypatch.setattr(layer, "apply", pretend, raising=False)
    with ExitStack() as stack:
        stage = proofs.set_stage(stack)
        proof = next(proof for proof in proofs.proofs(stage) if proof.layer == name)
        small = msgspec.structs.replace(spec, workers=1, memory_mb=256)
        found = prove._find(proof, spec, small, prove._Answer("confined"), stage.folder)
    assert found.proven is False, found
