"""The whole sandbox as an ordinary user, who may lack namespaces, Landlock or both.

When run as root, everything runs in a program of uid 1000 without groups, started as a login would start it.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from elf_pysandbox._policy import DEFAULT_LAYERS, LAYER_NAMES
from tests.escape.ordinary_user import NAMES
from tests.isolation.driver import become_ordinary_user

PROJECT = Path(__file__).parents[2]
NAMESPACES = {name for name in LAYER_NAMES if name.endswith("_namespace")}
LACKING = {"": set(), "namespaces": NAMESPACES, "landlock": {"landlock"}}
REQUIRED = {name for name, mode in DEFAULT_LAYERS.items() if mode == "require"}


def as_ordinary_user(*argv: str, group: str = "") -> subprocess.CompletedProcess[str]:
    """Run a Python program of this project as uid 1000; if this is root, started by it."""

    def before() -> None:
        for controller in ("memory", "pids") if group else ():
            Path(f"/sys/fs/cgroup/{controller}/{group}/cgroup.procs").write_text("0")
        become_ordinary_user()

    environment = {
        "PATH": "/usr/bin:/bin", "HOME": "/", "TMPDIR": "/tmp", "PYTHONPATH": str(PROJECT),
        "PYTHONDONTWRITEBYTECODE": "1",
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, *argv], cwd=PROJECT, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=300, check=False, preexec_fn=before if os.geteuid() == 0 else None,
    )  # fmt: skip


@functools.cache
def found(lacking: str) -> dict[str, Any]:
    """Return what the program found on a host that lacks this."""
    done = as_ordinary_user("-m", "tests.escape.ordinary_user", lacking)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.fixture(params=LACKING, ids=lambda lacking: f"without {lacking or 'nothing'}")
def host(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What was found on each host that can run tools."""
    return {"lacking": request.param, **found(request.param)}


def test_it_is_an_ordinary_user(host: dict[str, Any]) -> None:
    assert host["uid"] != 0
    if os.geteuid() == 0:
        assert (host["uid"], host["groups"]) == (1000, [])


def test_every_attack_succeeds_unconfined() -> None:
    """The control of all that follows."""
    assert found("")["controls"] == dict.fromkeys(NAMES, "ok")


def test_calls_run_and_what_they_make_belongs_to_the_user(host: dict[str, Any]) -> None:
    assert {name: call["status"] for name, call in host["calls"].items()} == dict.fromkeys(
        host["calls"], "ok"
    )
    inside = host["uid"] if "namespaces" in host["lacking"] else 1000
    assert host["calls"]["who"]["value"] == inside
    assert host["calls"]["compute"]["value"] == 45
    assert host["owner"] == host["uid"]


def test_the_layers_that_hold_are_all_but_those_the_host_lacks(host: dict[str, Any]) -> None:
    missing = {name for name, held in host["layers"].items() if not held} - {"cgroup"}
    assert missing == LACKING[host["lacking"]]
    assert set(host["layers"]) == set(LAYER_NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_attack_is_stopped(host: dict[str, Any], name: str) -> None:
    outcome = host["attacks"][name]
    assert outcome["status"] in ("denied", "raised"), outcome
    # Of the kernel, not of a slip in the attack.
    assert "[Errno " in outcome["error"], outcome
    assert outcome["value"] is None


def test_a_layer_that_is_required_and_missing_is_a_fault_that_names_it(host: dict[str, Any]) -> None:
    for layer, call in host["required"].items():
        if layer not in LACKING[host["lacking"]]:
            assert call["status"] == "ok", call
            continue
        assert (call["status"], call["retryable"], call["value"]) == ("fault", False, None)
        assert (call["raised"], call["layer"]) == ("LayerUnavailableError", layer)
        assert call["reason"]
        assert ("Linux 5.13" if layer == "landlock" else "user namespaces") in call["remedy"]


def test_run_prints_one_envelope_with_the_layers_that_held(host: dict[str, Any]) -> None:
    assert host["run"]["code"] == 0, host["run"]["err"]
    envelope = json.loads(host["run"]["out"])
    assert envelope["status"] == "ok"
    assert {layer["name"]: layer["held"] for layer in envelope["layers"]} == host["layers"]


def test_doctor_says_the_same_in_text_and_json(host: dict[str, Any]) -> None:
    assert (host["doctor"]["code"], host["doctor_text"]["code"]) == (0, 0)
    layers = json.loads(host["doctor"]["out"])
    assert {layer["name"]: layer["held"] for layer in layers} == host["layers"]
    assert [layer["name"] for layer in layers if layer["held"] and not layer["available"]] == []
    text = host["doctor_text"]["out"]
    for layer in layers:
        state = "held" if layer["held"] else "NOT HELD"
        assert any(line.split()[:1] == [layer["name"]] and f" {state} " in line for line in text.splitlines())
        if not layer["held"]:
            assert layer["lost"] and layer["remedy"], layer
            assert layer["lost"].split()[0] in text
    unproven = {layer["name"] for layer in layers if layer["held"] and not layer["proven"]}
    # The filter that plays the host needs no_new_privs, and an ordinary user has no capability without namespaces.
    assert unproven <= {"identity", *(("no_new_privs", "capabilities") if host["lacking"] else ())}


def test_without_namespaces_and_landlock_nothing_runs() -> None:
    host = found("namespaces,landlock")
    for call in (*host["calls"].values(), *host["attacks"].values()):
        assert (call["status"], call["retryable"], call["value"]) == ("fault", False, None)
        assert call["layer"] == "mount_namespace or landlock"
        assert "nothing keeps the tool from the host's files" in call["reason"]
        assert call["remedy"]
    assert host["owner"] is None


def test_without_namespaces_and_landlock_the_commands_say_so() -> None:
    host = found("namespaces,landlock")
    assert host["run"]["code"] == 125
    envelope = json.loads(host["run"]["out"])
    assert (envelope["status"], envelope["retryable"]) == ("fault", False)
    assert envelope["error"]["type"] == "LayerUnavailableError"
    assert envelope["error"]["layer"] == "mount_namespace or landlock"
    assert (host["doctor"]["code"], host["doctor_text"]["code"]) == (1, 1)
    layers = {layer["name"]: layer for layer in json.loads(host["doctor"]["out"])}
    assert not any(layer["held"] for layer in layers.values())
    assert {name for name, layer in layers.items() if not layer["available"]} >= NAMESPACES | {"landlock"}
    assert all(layers[name]["detail"].startswith("not applied") for name in REQUIRED)
    assert (
        "No tool runs here under this policy: mount_namespace or landlock is missing"
        in host["doctor_text"]["out"]
    )


@pytest.fixture
def delegated() -> Iterator[str]:
    """A cgroup for uid 1000, made as `doctor` says (version 1)."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to delegate a cgroup")
    name = f"pysandbox-test-{os.getpid()}"
    places = [Path(f"/sys/fs/cgroup/{controller}/{name}") for controller in ("memory", "pids")]
    if not all(place.parent.is_dir() and os.access(place.parent, os.W_OK) for place in places):
        pytest.skip("this host has no writable version 1 cgroups")
    try:
        for place in places:
            place.mkdir()
            for path in (place, *place.iterdir()):
                os.chown(path, 1000, 1000)
        yield name
    finally:
        for place in places:
            place.rmdir()


def test_with_a_delegated_cgroup_every_layer_is_held(delegated: str) -> None:
    done = as_ordinary_user("-m", "elf_pysandbox", "doctor", "--json", group=delegated)
    assert done.returncode == 0, done.stderr
    layers = {layer["name"]: layer for layer in json.loads(done.stdout)}
    assert [name for name, layer in layers.items() if not layer["held"]] == []
    assert layers["cgroup"]["proven"], layers["cgroup"]
