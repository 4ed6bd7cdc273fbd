"""Descriptors, session, environment, user namespace, cgroup: what the keeper's door leaves."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import pytest

from elf_pysandbox_worker import isolation
from elf_pysandbox_worker.isolation import cgroup, user_namespace
from elf_pysandbox_worker.isolation.context import Context, Door
from tests.isolation.driver import Raised, become_ordinary_user, confinement, only, run

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def _open_descriptors() -> list[int]:
    found = []
    # As many as a pool with all its templates may have beside this, in the process that runs the tests.
    for descriptor in range(1 << 16):
        try:
            os.fstat(descriptor)
            found.append(descriptor)
        except OSError:
            pass
    return found


def test_nothing_is_open_but_the_null_device_and_the_channel() -> None:
    inherited = [os.open("/etc/hostname", os.O_RDONLY) for _ in range(20)]
    try:
        left = run(_open_descriptors).value
        assert left[:3] == [0, 1, 2]
        assert len(left) == 4  # The driver's pipe.
        assert (
            run(lambda: [os.path.samestat(os.fstat(n), os.stat("/dev/null")) for n in range(3)]).value
            == [True] * 3
        )
        free = run(_open_descriptors, confinement(only())).value
        assert set(inherited) <= set(free)
    finally:
        for descriptor in inherited:
            os.close(descriptor)


def test_the_environment_is_the_policys_in_python_in_libc_and_in_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOST_SECRET", "leaked")

    def look() -> tuple[dict[str, str], object, bool]:
        getenv = ctypes.CDLL(None).getenv
        getenv.restype = ctypes.c_char_p
        try:
            wiped = Path("/proc/self/environ").read_bytes().strip(b"\0") == b""
        except PermissionError:
            wiped = True  # Not dumpable: the file belongs to root, so this user cannot look, and need not.
        return dict(os.environ), getenv(b"HOST_SECRET"), wiped

    # In the keeper, which still sees /proc.
    modes = only("environment")
    environment, libc_value, wiped = run(look, confinement(modes, env={"LANG": "C.UTF-8"}), "keeper").value
    assert (environment, libc_value, wiped) == ({"LANG": "C.UTF-8"}, None, True)
    environment, libc_value, wiped = run(look, confinement(only()), "keeper").value
    assert environment["HOST_SECRET"] == "leaked"
    assert libc_value == b"leaked"
    assert not wiped or os.geteuid() != 0


def test_the_template_leads_no_session_and_its_own_group() -> None:
    def look() -> tuple[bool, bool]:
        return os.getsid(0) == os.getpid(), os.getpgrp() == os.getpid()

    assert run(look, position="template").value == (False, True)


@needs_root
def test_root_outside_is_nobody_at_all() -> None:
    modes = only("user_namespace", "mount_namespace", "identity")
    assert run(lambda: os.getresuid() + os.getresgid(), confinement(modes), "template").value == (1000,) * 6


@needs_root
def test_an_ordinary_user_is_mapped_to_itself() -> None:
    def look() -> tuple[str, str]:
        return Path("/proc/self/uid_map").read_text().split()[1], Path(
            "/proc/self/setgroups"
        ).read_text().strip()

    modes = only("user_namespace")
    assert run(look, confinement(modes), "keeper", before=become_ordinary_user).value == ("1000", "deny")


def test_an_id_that_owns_nothing_is_found_in_any_map(monkeypatch: pytest.MonkeyPatch) -> None:
    for text, expected in (
        ("0 0 4294967295\n", 65534),
        ("0 1000 1\n", None),
        ("0 0 1\n1000 65534 1\n", 1000),
        ("0 100000 65536\n", 65534),
        ("", None),
    ):
        monkeypatch.setattr(user_namespace, "_read", lambda _path, text=text: text)
        assert user_namespace.unowned("uid") == expected


@needs_root
def test_a_template_has_a_group_with_limits_and_leaves_none_behind() -> None:
    def look() -> list[str]:
        return Path("/proc/self/cgroup").read_text().splitlines()

    result = run(look, confinement(only("cgroup"), workers=1, memory_mb=64), "template")
    if result.missing:
        pytest.skip(result.missing[1])
    joined = {line.rpartition("/")[2] for line in result.value if "elf_pysandbox-" in line}
    assert len(joined) == 1
    # By name: other programs on this machine may have groups of their own.
    assert not any(group.endswith(name) for group in _groups() for name in joined)


@needs_root
def test_the_group_of_a_keeper_that_was_killed_is_removed_by_the_next() -> None:
    found = cgroup._parents()
    if not found:
        pytest.skip("no writable cgroup")
    _, parents = found[0]
    for _, parent in parents:
        os.makedirs(f"{parent}/elf_pysandbox-999999999-1", exist_ok=True)
    result = run(lambda: "ran", confinement(only("cgroup")), "template")
    assert result.value == "ran"
    assert not any(os.path.exists(f"{parent}/elf_pysandbox-999999999-1") for _, parent in parents)


def _let_the_keeper_admit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the template moved by its keeper, as with version 2, also where it would enter by itself."""
    make = cgroup.LAYER.apply

    def apply(context: Context, door: Door) -> str:
        told = make(context, door)
        if door == "keeper":
            context.enters_cgroup = False
            cgroup._close_joins(context)
            context.cgroup_joins += [group.open("cgroup.procs", os.O_WRONLY) for group in cgroup._groups]
        return told

    monkeypatch.setattr(cgroup.LAYER, "apply", apply, raising=False)


def _take_the_group_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the groups be gone by the time the template is to get into them."""
    make = cgroup.LAYER.apply

    def apply(context: Context, door: Door) -> str:
        told = make(context, door)
        for group in cgroup._groups if door == "keeper" else ():
            os.rmdir(group.name, dir_fd=group.parent)
        return told

    monkeypatch.setattr(cgroup.LAYER, "apply", apply, raising=False)


@needs_root
@pytest.mark.parametrize("way", ["by its keeper", "by itself"])
@pytest.mark.parametrize("mode", ["require", "prefer"])
def test_a_template_that_does_not_get_into_its_group_says_so(
    mode: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _skip_without_groups(way)
    if way == "by its keeper":
        _let_the_keeper_admit(monkeypatch)
    _take_the_group_away(monkeypatch)
    result = run(lambda: "ran", confinement(only("cgroup", mode=mode)), "template")
    if mode == "require":
        assert result.value is None
        assert result.missing is not None
        assert result.missing[0] == "cgroup"
        assert "the group cannot be entered (" in result.missing[1]
    else:
        assert result.value == "ran"
        assert not result.reports["cgroup"].held
        assert "the group cannot be entered (" in result.reports["cgroup"].detail


@needs_root
def test_a_template_gets_into_its_group_by_its_keeper_where_it_cannot_enter_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _skip_without_groups("by its keeper")
    _let_the_keeper_admit(monkeypatch)
    result = run(lambda: Path("/proc/self/cgroup").read_text(), confinement(only("cgroup")), "template")
    assert "elf_pysandbox-" in result.value
    assert result.reports["cgroup"].held


def _skip_without_groups(way: str) -> None:
    versions = [version for version, _ in cgroup._parents()]
    if not versions or (way == "by itself" and versions[0] != 1):
        pytest.skip(f"no writable cgroup that is entered {way}")


@needs_root
def test_a_template_whose_keeper_dies_before_it_is_admitted_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    _skip_without_groups("by its keeper")
    _let_the_keeper_admit(monkeypatch)

    def die_first(template: int, alive: int) -> None:
        os.close(alive)

    monkeypatch.setattr(isolation, "admit", die_first)
    result = run(lambda: "ran", confinement(only("cgroup")), "template")
    assert result.value is None
    assert result.status is not None
    assert os.waitstatus_to_exitcode(result.status) == 1


def _groups() -> set[str]:
    return {
        f"{parent}/{name}"
        for _, parents in cgroup._parents()
        for _, parent in parents
        for name in os.listdir(parent)
        if name.startswith("elf_pysandbox-")
    }


def test_no_cgroup_is_told_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroup, "_parents", list)
    missing = cgroup.LAYER.available(confinement())
    assert missing is not None
    assert "Delegate" in missing.remedy


def test_the_host_name_does_not_reach_the_tool() -> None:
    assert run(lambda: os.uname().nodename, position="template").value == "sandbox"


def test_a_keeper_cannot_be_traced_by_its_own_template() -> None:
    def look() -> int:
        from elf_pysandbox_worker.isolation import libc

        return libc.prctl(libc.PR_GET_DUMPABLE)

    assert run(look, position="keeper").value == 0
    assert not isinstance(run(look, position="template").value, Raised)
