"""Modes, missing layers and failing closed."""

from __future__ import annotations

import errno
import os

import pytest

from elf_pysandbox._policy import LAYER_NAMES
from elf_pysandbox_worker.isolation import LAYERS
from tests.isolation.driver import answer, become_ordinary_user, both, confinement, run, without

NO_NAMESPACES = answer(errno.EPERM, "unshare")
NO_LANDLOCK = answer(errno.ENOSYS, "landlock_create_ruleset")
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to play the ordinary user beside it")


def test_layers_stand_in_the_order_of_the_policy() -> None:
    assert tuple(layer.name for layer in LAYERS) == LAYER_NAMES


def test_the_keepers_door_comes_before_the_templates_for_every_layer() -> None:
    for layer in LAYERS:
        assert layer.doors in (("keeper",), ("template",), ("keeper", "template")), layer.name


@pytest.mark.parametrize("name", [name for name in LAYER_NAMES if name != "no_new_privs"])
def test_a_layer_that_is_off_does_not_hold_and_says_so(name: str) -> None:
    modes = without(name) | (
        {"pid_namespace": "off", "mount_namespace": "off"} if name == "user_namespace" else {}
    )
    if os.geteuid() == 0 and name in ("mount_namespace", "user_namespace"):
        modes |= {"identity": "off"}  # Root's interpreter may be readable in a private root only.
    result = run(lambda: "ran", confinement(modes))
    assert result.value == "ran"
    assert (result.reports[name].held, result.reports[name].detail) == (False, "off by policy")


def test_without_no_new_privs_the_filter_cannot_be_loaded_and_nothing_runs() -> None:
    result = run(lambda: "ran", confinement(without("no_new_privs")))
    assert result.missing is not None
    assert (result.missing[0], "no_new_privs" in result.missing[1]) == ("seccomp", True)


@pytest.mark.parametrize(
    ("name", "before"),
    [
        ("pid_namespace", NO_NAMESPACES),
        ("mount_namespace", NO_NAMESPACES),
        ("network_namespace", NO_NAMESPACES),
        ("user_namespace", NO_NAMESPACES),
        ("landlock", NO_LANDLOCK),
    ],
)
def test_a_required_layer_that_is_missing_ends_before_any_tool_code(name: str, before: object) -> None:
    spec = confinement(
        dict.fromkeys(("user_namespace", "landlock", "identity"), "prefer") | {name: "require"}
    )
    ran: list[int] = []
    result = run(lambda: ran.append(1), spec, before=before)  # type: ignore[arg-type]
    assert result.value is None
    assert result.missing is not None
    layer, reason, remedy = result.missing
    assert layer == name
    assert reason
    assert "Linux 5.13" in remedy or "user namespaces" in remedy


def test_without_seccomp_nothing_runs() -> None:
    result = run(lambda: "ran", before=answer(errno.EINVAL, "seccomp"))
    assert result.value is None
    assert result.missing is not None
    assert result.missing[0] == "seccomp"


@needs_root
def test_an_ordinary_user_holds_every_layer_but_perhaps_the_cgroup() -> None:
    result = run(os.getuid, before=become_ordinary_user)
    assert result.value == 1000
    assert {name for name, report in result.reports.items() if not report.held} <= {"cgroup"}


@needs_root
def test_an_ordinary_user_without_namespaces_is_held_by_landlock_and_seccomp() -> None:
    result = run(os.getuid, before=both(become_ordinary_user, NO_NAMESPACES))
    assert result.value == 1000
    missing = {name for name, report in result.reports.items() if not report.held} - {"cgroup"}
    assert missing == {f"{kind}_namespace" for kind in ("user", "pid", "mount", "ipc", "uts", "network")}
    assert all("Operation not permitted" in result.reports[name].detail for name in missing)


def test_without_landlock_the_mount_namespace_is_enough() -> None:
    result = run(lambda: "ran", before=NO_LANDLOCK)
    assert result.value == "ran"
    assert not result.reports["landlock"].held


@needs_root
def test_without_landlock_and_mount_namespace_nothing_runs() -> None:
    lacking = both(become_ordinary_user, answer(errno.EPERM, "unshare", "landlock_create_ruleset"))
    result = run(lambda: "ran", before=lacking)
    assert result.value is None
    assert result.missing is not None
    assert result.missing[0] == "mount_namespace or landlock"


def test_granted_processes_need_something_that_ends_them() -> None:
    spec = confinement({**without("pid_namespace", "cgroup")}, processes=2)
    result = run(lambda: "ran", spec)
    assert result.missing is not None
    assert result.missing[0] == "pid_namespace"


def test_scratch_needs_a_mount_namespace() -> None:
    modes = without("mount_namespace", "identity")
    result = run(lambda: "ran", confinement(modes, scratch_mb=4, scratch_slots=1))
    assert result.missing is not None
    assert result.missing[0] == "mount_namespace"
    assert "scratch" in result.missing[1]
