"""Limits and policy of saved tools: they come back as far as the pool that loads them permits, and never further."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from elf_pysandbox import (
    CallDeniedError,
    CallTimeoutError,
    Files,
    Limits,
    Policy,
    SandboxPool,
    ToolHandler,
    ToolHandlerError,
)
from elf_pysandbox._tools import persist
from elf_pysandbox._tools.load import load_source
from elf_pysandbox._tools.wishes import Wishes, grant

SOURCE = """
import time
def wait(seconds: float) -> float:
    time.sleep(seconds)
    return seconds
def mean(values: list[float]) -> float:
    import numpy
    return float(numpy.mean(values))
def read(path: str) -> str:
    with open(path) as file:
        return file.read()
"""


def saved(pool: SandboxPool, function: str, **own: Any) -> Any:
    handler = ToolHandler(pool)
    handler.add_tool(load_source(SOURCE, function, name="wishing"), **own)
    return json.loads(json.dumps(handler.to_dict()))


def test_limits_of_a_tool_hold_after_loading(restricted: SandboxPool) -> None:
    data = saved(restricted, "wait", limits=Limits(wall_s=0.3))
    handler = ToolHandler.from_dict(data, pool=restricted)
    with pytest.raises(CallTimeoutError):
        handler.execute("wait", {"seconds": 20})
    assert handler.to_dict() == data


def test_limits_wider_than_the_pools_are_cut_to_those_and_told(restricted: SandboxPool) -> None:
    data = saved(restricted, "wait", limits=Limits(wall_s=500, memory_mb=64))
    narrow = restricted.with_options(limits=Limits(wall_s=0.3))
    handler = ToolHandler.from_dict(data, pool=narrow)
    limits = handler.get("wait").limits
    assert limits is not None
    assert (limits.wall_s, limits.memory_mb) == (0.3, 64)
    assert handler.withheld == {"wait": ("wall_s 500 (0.3 here)",)}
    assert handler.to_dict() == data, "what was withheld here is still asked for elsewhere"


def test_imports_are_granted_where_the_pool_grants_them(restricted: SandboxPool) -> None:
    policy = Policy(allowed_imports=("numpy",))
    data = saved(restricted, "mean", policy=policy)
    there = ToolHandler.from_dict(data, pool=restricted.with_options(policy=policy))
    assert there.execute("mean", {"values": [1.0, 3.0]}) == 2
    here = ToolHandler.from_dict(data, pool=restricted.with_options(policy=Policy()))
    assert here.withheld == {"mean": ("import numpy",)}
    with pytest.raises(CallDeniedError):
        here.execute("mean", {"values": [1.0]})


def test_files_are_granted_below_what_the_pool_grants(restricted: SandboxPool, tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "text").write_text("here")
    data = saved(restricted, "read", policy=Policy(files=Files(read=(str(tmp_path / "a"), "/etc"))))
    pool = restricted.with_options(policy=Policy(files=Files(read=(str(tmp_path),))))
    handler = ToolHandler.from_dict(data, pool=pool)
    assert handler.execute("read", {"path": str(tmp_path / "a" / "text")}) == "here"
    assert handler.withheld == {"read": ("read /etc",)}


def test_a_link_out_of_what_the_pool_grants_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to("/etc")
    wish = Policy(files=Files(read=(str(tmp_path / "out"),), write=(str(tmp_path),)))
    granted = grant(Wishes(wish), Policy(files=Files(read=(str(tmp_path),))), Limits())
    assert granted.policy is not None
    assert granted.policy.files == Files()
    assert granted.withheld == (f"read {tmp_path / 'out'}", f"write {tmp_path}")


@pytest.mark.parametrize(
    ("wish", "pool", "expected", "withheld"),
    [
        (Policy(profile="native"), Policy(), Policy(), ("profile native",)),
        (Policy(), Policy(profile="native"), Policy(), ()),
        (Policy(profile="native"), Policy(profile="native"), Policy(profile="native"), ()),
        (
            Policy(allowed_imports=("a.b", "c")),
            Policy(allowed_imports=("a",)),
            Policy(allowed_imports=("a.b",)),
            ("import c",),
        ),
        (Policy(env=("A", "B")), Policy(env=("B",)), Policy(env=("B",)), ("env A",)),
        (Policy(calls_per_worker=9), Policy(), Policy(), ()),
        (Policy(layers={"seccomp": "off"}), Policy(), Policy(), ()),
        (Policy(layers={"cgroup": "require"}), Policy(), Policy(layers={"cgroup": "require"}), ()),
        (
            Policy(layers={"cgroup": "prefer"}),
            Policy(layers={"cgroup": "require"}),
            Policy(layers={"cgroup": "require"}),
            (),
        ),
        (
            Policy(files=Files(scratch_mb=9)),
            Policy(files=Files(scratch_mb=4)),
            Policy(files=Files(scratch_mb=4)),
            ("scratch_mb 9 (4 here)",),
        ),
    ],
)
def test_a_wish_never_widens_what_the_pool_permits(
    wish: Policy, pool: Policy, expected: Policy, withheld: tuple[str, ...]
) -> None:
    found = grant(Wishes(wish), pool, Limits())
    assert (found.policy, found.withheld) == (expected, withheld)


def test_wishes_come_back_from_json_as_they_were() -> None:
    wishes = Wishes(
        Policy(
            profile="native",
            allowed_imports=("numpy",),
            files=Files(("/a",), ("/b",), 3),
            env=("LANG",),
            calls_per_worker=2,
            layers={"cgroup": "require"},
        ),
        Limits(wall_s=1.5),
    )
    assert Wishes.from_dict(json.loads(json.dumps(wishes.to_dict()))) == wishes
    assert Wishes.from_dict(Wishes().to_dict()) is None


@pytest.mark.parametrize(
    "change",
    [
        {"limits": []},
        {"limits": {"wall_s": -1}},
        {"limits": {"warp": 9}},
        {"policy": "all"},
        {"policy": {"profile": "trusted"}},
        {"policy": {**Wishes(Policy()).to_dict()["policy"], "network": True}},
    ],
)
def test_wishes_that_cannot_be_used_are_refused_whatever_the_digest_says(
    restricted: SandboxPool, change: dict[str, Any]
) -> None:
    data = saved(restricted, "wait", limits=Limits(wall_s=1))
    data["tools"][0].update(change)
    with pytest.raises(ToolHandlerError):
        ToolHandler.from_dict(data, accept_changes=True)


def test_limits_given_anew_replace_the_saved_ones(restricted: SandboxPool) -> None:
    data = saved(restricted, "wait", limits=Limits(wall_s=1))
    handler = ToolHandler.from_dict(data, pool=restricted)
    handler.add_tool(handler.get("wait"), limits=Limits(wall_s=2), replace=True)
    entry = persist.restore(handler.to_dict()).tools[0]
    assert entry.wishes == Wishes(None, Limits(wall_s=2))
    assert replace(entry, wishes=None).limits is None
