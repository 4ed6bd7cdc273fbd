"""What `test_ordinary_user` runs as that user: calls, attacks and both commands, told as one JSON object.

Usage: python ordinary_user.py LACKING, where LACKING names what the host is to lack, separated by commas: "namespaces",
"landlock". Each is played by a seccomp filter on this process, as a container's profile does it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from elf_pysandbox import Files, LayerUnavailableError, Limits, Outcome, Policy, SandboxPool
from tests.isolation.driver import answer

# Each returns if it succeeded and raises if it was stopped; plain functions, so that the controls run them here.
ATTACKS = """
import os, socket, subprocess

def read_hidden(stage):
    return open(stage["hidden"]).read()

def list_hidden(stage):
    return os.listdir(os.path.dirname(stage["hidden"]))

def write_hidden(stage):
    open(stage["hidden"], "a").close()

def follow_planted_link(stage):
    link = os.path.join(stage["writable"], "link%d" % os.getpid())
    os.symlink(stage["hidden"], link)
    return open(link).read()

def write_to_read_only(stage):
    open(stage["readable"], "a").close()

def read_host_environment(stage):
    return open("/proc/%d/environ" % stage["host"], "rb").read()

def read_passwords(stage):
    return open("/etc/passwd").read()

def connect_tcp(stage):
    socket.create_connection(("127.0.0.1", stage["port"]), 5).close()

def connect_unix(stage):
    client = socket.socket(socket.AF_UNIX)
    client.connect(stage["socket"])
    client.close()

def send_udp(stage):
    socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", ("127.0.0.1", 9))

def signal_host(stage):
    os.kill(stage["host"], 0)

def open_host(stage):
    os.close(os.pidfd_open(stage["host"]))

def start_program(stage):
    subprocess.run(["/bin/true"], check=True)

def start_process(stage):
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
"""
TOOL = """
import os

def who(stage):
    return os.getuid()

def use_grants(stage):
    path = os.path.join(stage["writable"], "made")
    with open(path, "w") as file:
        file.write(open(stage["readable"]).read())
    return path

def compute(stage):
    import numpy
    return int(numpy.arange(10).sum())
"""
NAMES = [line.split()[1].partition("(")[0] for line in ATTACKS.splitlines() if line.startswith("def ")]


def main(lacking: list[str]) -> dict[str, Any]:
    """Run everything on a stage of its own."""
    with contextlib.ExitStack() as stack:
        stage = _set_stage(stack)
        controls = _controls(stage)
        if "namespaces" in lacking:
            answer(errno.EPERM, "unshare")()
        if "landlock" in lacking:
            answer(errno.ENOSYS, "landlock_create_ruleset")()
        return {
            "uid": os.getuid(),
            "groups": os.getgroups(),
            "controls": controls,
            **_calls(stage),
            "required": {layer: _required(layer, stage) for layer in ("user_namespace", "landlock")},
            "run": _command(
                "run", "examples/text_tools.py:word_count", "--args", '{"text": "to be"}', "--json"
            ),
            "doctor": _command("doctor", "--json"),
            "doctor_text": _command("doctor"),
        }


def _set_stage(stack: contextlib.ExitStack) -> dict[str, Any]:
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    local = stack.enter_context(socket.socket(socket.AF_UNIX))
    local.bind(f"{folder}/socket")
    local.listen()
    for name in ("hidden", "writable"):
        os.mkdir(f"{folder}/{name}")
    for name in ("hidden/file", "readable"):
        Path(f"{folder}/{name}").write_text("secret")
        os.chmod(f"{folder}/{name}", 0o600)
    return {
        "hidden": f"{folder}/hidden/file", "writable": f"{folder}/writable", "readable": f"{folder}/readable",
        "socket": f"{folder}/socket", "port": listener.getsockname()[1], "host": os.getpid(),
    }  # fmt: skip


def _controls(stage: dict[str, Any]) -> dict[str, str]:
    """Return how each attack ends here, without any confinement."""
    functions: dict[str, Any] = {}
    exec(ATTACKS, functions)
    found = {}
    for name in NAMES:
        try:
            functions[name](stage)
            found[name] = "ok"
        except Exception as error:
            found[name] = repr(error)
    return found


def _policy(stage: dict[str, Any], **layers: Any) -> Policy:
    files = Files(read=(stage["readable"],), write=(stage["writable"],))
    return Policy(profile="native", files=files, layers=layers)


def _calls(stage: dict[str, Any]) -> dict[str, Any]:
    with SandboxPool(2, policy=_policy(stage), limits=Limits(wall_s=30, cpu_s=30)) as pool:
        outcomes = {
            name: pool.outcome(pool.load_source(TOOL, name, name="tool"), stage)
            for name in ("who", "use_grants", "compute")
        }
        attacks = {
            name: pool.outcome(pool.load_source(ATTACKS, name, name="attacks"), stage) for name in NAMES
        }
    made = Path(stage["writable"], "made")
    return {
        "calls": {name: _told(outcome) for name, outcome in outcomes.items()},
        "owner": made.stat().st_uid if made.exists() else None,
        "attacks": {name: _told(outcome) for name, outcome in attacks.items()},
        "layers": {layer.name: layer.held for layer in outcomes["who"].layers},
    }


def _told(outcome: Outcome) -> dict[str, Any]:
    error = outcome.error
    told = {
        "status": outcome.status,
        "value": outcome.value,
        "retryable": outcome.retryable,
        "error": repr(error),
    }
    if isinstance(error, LayerUnavailableError):
        told |= {"layer": error.layer, "reason": error.reason, "remedy": error.remedy}
    return told


def _required(layer: str, stage: dict[str, Any]) -> dict[str, Any]:
    with SandboxPool(1, policy=_policy(stage, **{layer: "require"})) as pool:
        tool = pool.load_source(TOOL, "who", name="tool")
        told = _told(pool.outcome(tool, stage))
        try:
            pool.call(tool, stage)
        except Exception as error:
            told["raised"] = type(error).__name__
    return told


def _command(*words: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "elf_pysandbox", *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return {"code": done.returncode, "out": done.stdout, "err": done.stderr}


if __name__ == "__main__":
    print(json.dumps(main([name for name in sys.argv[1].split(",") if name])))
