"""A refusal names the layer, the call or path, and the setting."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
from collections.abc import Callable

import pytest

from tests.isolation.driver import (
    answer,
    become_ordinary_user,
    both,
    confinement,
    explained,
    readable_paths,
    run,
    words_of,
)


def _open(path: str, mode: str = "r") -> Callable[[], object]:
    return lambda: open(path, mode).close()


def _fork() -> None:
    os.fork()


def _socket() -> None:
    socket.socket()


def _lock() -> None:
    import multiprocessing

    multiprocessing.Lock()


def _shared_memory() -> None:
    from multiprocessing.shared_memory import SharedMemory

    SharedMemory(create=True, size=10)


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (_lock, ("/dev/shm", "threading.Lock")),
        (_shared_memory, ("/dev/shm", "no setting")),
        (_socket, ("seccomp", "socket(2)", "no network")),
        (_fork, ("seccomp", "fork(2)", "processes=")),
        (lambda: subprocess.run(["true"], check=False), ("seccomp", "starting a program", "no setting")),
        (lambda: os.kill(1, 0), ("seccomp", "other processes")),
        (_open("/etc/shadow"), ("mount_namespace", "/etc/shadow", "read=/etc/shadow")),
        (_open("/usr/lib/new", "w"), ("/usr/lib/new", "read only", "write=/usr/lib/new")),
        (lambda: [os.open("/dev/null", 0) for _ in range(99)], ("rlimits", "open_files=")),
    ],
    ids=[
        "lock",
        "shared memory",
        "socket",
        "fork",
        "program",
        "signal",
        "hidden file",
        "write",
        "descriptors",
    ],
)
def test_a_refusal_names_layer_subject_and_setting(act: Callable[[], object], words: tuple[str, ...]) -> None:
    text = run(explained(act)).value
    assert isinstance(text, str)
    assert [word for word in words if word not in text] == [], text


def test_a_full_scratch_directory_names_its_limit() -> None:
    def fill() -> None:
        with open("big", "wb") as file:
            file.write(bytes(3 << 20))

    text = run(explained(fill), confinement(scratch_mb=1, scratch_slots=1), slot=0).value
    assert "scratch_mb" in text


@pytest.mark.parametrize(
    "error", [ValueError("x"), OSError("no errno"), FileNotFoundError(2, "gone", "/usr/lib/gone")]
)
def test_what_the_sandbox_did_not_do_is_not_explained(error: Exception) -> None:
    def ask() -> str | None:
        return words_of(error)

    assert run(ask).value is None


def test_a_relative_path_is_told_to_count_from_the_calls_own_folder(tmp_path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "rows").write_text("x")
    granted = confinement(
        read=[*readable_paths(), str(tmp_path / "data")], grants_read=[str(tmp_path / "data")]
    )
    text = run(explained(_open("data/rows")), granted).value
    assert "a relative path counts from the call's own folder" in text
    assert text.endswith(f"here {tmp_path / 'data' / 'rows'}")
    assert "read=" in run(explained(_open("rows")), granted).value


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to play the ordinary user beside it")
def test_without_a_mount_namespace_it_is_landlock_that_refuses_shared_memory() -> None:
    result = run(explained(_lock), before=both(become_ordinary_user, answer(errno.EPERM, "unshare")))
    assert result.value.startswith("layer landlock: tools have no /dev/shm")
