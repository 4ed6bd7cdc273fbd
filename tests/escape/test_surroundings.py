"""What a process inherits and what it is: descriptors, terminal, environment, names, identity and rights.

The acts are those by which `pysandbox doctor` proves the layers; here they stand in the matrix with the others.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from elf_pysandbox_worker.proofs import Proof, proofs, set_stage
from tests.escape.matrix import ROOT, Attack, Matrix
from tests.isolation.driver import readable_paths

PROOFS: dict[str, Proof] = {}
GRANTS: dict[str, Any] = {"read": readable_paths()}


@pytest.fixture(autouse=True)
def stage() -> Iterator[None]:
    """Things of this process that a confined one should not reach."""
    with ExitStack() as stack:
        made = set_stage(stack)
        PROOFS.update({proof.layer: proof for proof in proofs(made)})
        GRANTS["read"] = [*readable_paths(), made.folder]
        yield
    PROOFS.clear()


def act(layer: str) -> Callable[[], object]:
    """Return the act that proves a layer, on the stage of the test that runs."""

    def attempt() -> object:
        found = PROOFS[layer].attempt
        assert found is not None
        return repr(found())

    return attempt


def inherit(layer: str) -> Callable[[], None]:
    """Return what gives the keeper the thing that the act is about."""

    def before() -> None:
        given = PROOFS[layer].before
        assert given is not None
        given()

    return before


OWNER = () if ROOT else ("user_namespace",)
ATTACKS = [
    Attack("write to what the host has open", act("descriptors"), {"descriptors": errno.EBADF}),
    Attack("open the host's terminal", act("session"), {"session": errno.ENXIO}, before=inherit("session")),
    Attack(
        "read the host's variables", act("environment"), {"environment": "KeyError"}, before=inherit("environment")
    ),
    Attack("be a user of the host", act("user_namespace"), {"user_namespace": errno.EPERM}),
    Attack("open a queue of the host", act("ipc_namespace"), {"ipc_namespace": errno.ENOENT}, needs=OWNER),
    Attack("read the host's name", act("uts_namespace"), {"uts_namespace": errno.EPERM}, needs=OWNER),
    Attack(
        "read a private file of root", act("identity"), {"identity": errno.EACCES},
        needs=("user_namespace", "mount_namespace"), changes=GRANTS, root=True,
    ),
    Attack("enter a new namespace", act("capabilities"), {"capabilities": errno.EPERM}, needs=("user_namespace",)),
    Attack("gain rights from a program", act("no_new_privs"), {"no_new_privs": errno.EPERM}),
]  # fmt: skip


class TestSurroundings(Matrix):
    attacks = ATTACKS
