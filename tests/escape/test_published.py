"""What the language policy publishes although it makes system calls: paths and the event loop, held by the kernel.

Each act is tried in profile `restricted` under the default layers, and with the layers off, where it must succeed: so
it is the kernel that stops it, and not the policy.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from elf_pysandbox import Files, Limits, Policy, SandboxPool

LIMITS = Limits(wall_s=20, cpu_s=20)
OFF = dict.fromkeys(
    ("user_namespace", "pid_namespace", "mount_namespace", "network_namespace", "identity", "capabilities", "landlock",
     "seccomp"), "off",
)  # fmt: skip
TOOL = """
import asyncio, pathlib

class Plain:
    def connection_made(self, transport): pass
    def connection_lost(self, error): pass
    def pipe_data_received(self, number, data): pass
    def pipe_connection_lost(self, number, error): pass
    def process_exited(self): pass

async def start_program(place):
    loop = asyncio.get_running_loop()
    transport, _ = await loop.subprocess_exec(Plain, "/bin/true", stdin=None, stdout=None, stderr=None)
    transport.close()
    return "done"

async def connect(place):
    transport, _ = await asyncio.current_task().get_loop().create_connection(Plain, "127.0.0.1", place["port"])
    transport.close()
    return "done"

async def connect_to_file(place):
    transport, _ = await asyncio.get_running_loop().create_unix_connection(Plain, place["socket"])
    transport.close()
    return "done"

async def serve(place):
    server = await asyncio.get_running_loop().create_server(Plain, "127.0.0.1", 0)
    found = server.sockets
    server.close()
    return "done" if found else "no socket"

async def send_datagram(place):
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(Plain, remote_addr=("127.0.0.1", 9))
    transport.close()
    return "done"

def read(place): return "done" if pathlib.Path(place["file"]).read_text() else ""
def see(place): return "done" if pathlib.Path(place["file"]).exists() else "absent"
def list_folder(place): return "done" if list(pathlib.Path(place["folder"]).iterdir()) else ""
def find(place): return "done" if list(pathlib.Path(place["folder"]).rglob("secr*")) else "nothing"
def write(place): return pathlib.Path(place["folder"], "new").write_text("x") and "done"
def change(place): return pathlib.Path(place["file"]).chmod(0o600) or "done"
def make_folder(place): return pathlib.Path(place["folder"], "below").mkdir() or "done"
def link(place): return pathlib.Path(place["folder"], "link").symlink_to(place["file"]) or "done"
def remove(place): return pathlib.Path(place["file"]).unlink() or "done"
"""
ACTS = [
    line.split("def ")[1].partition("(")[0]
    for line in TOOL.splitlines()
    if line.startswith(("def ", "async "))
]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[dict[str, object]]:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "secret").write_text("secret")
    with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as local:
        local.bind(str(tmp_path / "socket"))
        local.listen()
        port = tcp.getsockname()[1]
        yield {
            "folder": str(folder),
            "file": str(folder / "secret"),
            "socket": str(tmp_path / "socket"),
            "port": port,
        }


@pytest.fixture(scope="module")
def confined() -> Iterator[SandboxPool]:
    with SandboxPool(1, policy=Policy(), limits=LIMITS) as pool:
        yield pool


@pytest.fixture(scope="module")
def free() -> Iterator[SandboxPool]:
    with SandboxPool(1, policy=Policy(layers=OFF), limits=LIMITS) as pool:
        yield pool


@pytest.mark.parametrize("act", ACTS)
def test_the_kernel_stops_what_the_policy_publishes(confined, place, act):
    outcome = confined.outcome(confined.load_source(TOOL, act), place)
    if outcome.status == "ok":
        assert outcome.value in ("absent", "nothing", "no socket")
    else:
        assert outcome.status in ("denied", "raised"), outcome
        assert "PSB" not in str(outcome.error), "the policy, not the kernel"
    assert sorted(os.listdir(place["folder"])) == ["secret"]


@pytest.mark.skipif(
    os.geteuid() != 0, reason="without a mount namespace the rights of the tool are those of its user"
)
@pytest.mark.parametrize("act", ACTS)
def test_without_the_layers_it_succeeds_under_the_same_policy(free, place, act):
    assert free.call(free.load_source(TOOL, act), place) == "done"


def test_what_is_granted_is_reached_by_a_path(place):
    with SandboxPool(1, policy=Policy(files=Files(write=(str(place["folder"]),))), limits=LIMITS) as pool:
        for act in ("read", "see", "list_folder", "find", "write", "change", "make_folder", "link", "remove"):
            assert pool.call(pool.load_source(TOOL, act), place) == "done", act
