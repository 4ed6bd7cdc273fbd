from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elf_pysandbox import ModuleLoadError, SandboxPool, ToolHandlerError
from elf_pysandbox._tools import persist
from elf_pysandbox._tools.handler import ToolHandler
from elf_pysandbox_worker.wire.values import Record
from tests.tools.conftest import Project
from tests.tools.interpreters import other_interpreters
from tests.tools.kinds import KINDS, PICKLED, from_exec

KEY = b"a key that only we have"


@pytest.fixture
def saved(pool: SandboxPool, project: Project) -> dict[str, Any]:
    root = project(
        {"t.py": "import near\ndef f(x: int) -> int:\n    return x + near.K\n", "near.py": "K = 1\n"}
    )
    handler = ToolHandler(pool)
    handler.add_tools(root / "t.py")
    handler.add_tool("math:sqrt")
    handler.describe("f")
    handler.execute_many({"id": 1, "name": "f", "arguments": {"x": 1}})
    return handler.to_dict()


def test_a_set_survives_saving_and_loading_whole(saved: dict[str, Any], pool: SandboxPool) -> None:
    handler = ToolHandler.from_dict(json.loads(json.dumps(saved)), pool=pool)
    assert handler.names == ("f", "sqrt")
    assert handler.execute("f", {"x": 2}) == 3
    assert handler.history[0].result == 2
    assert handler.to_dict() == saved


def test_saving_is_deterministic_and_writes_whole_files(
    saved: dict[str, Any], pool: SandboxPool, tmp_path: Path
) -> None:
    handler = ToolHandler.from_dict(saved, pool=pool)
    for name in ("one", "two"):
        handler.save(tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert sorted(
        entry.name for entry in tmp_path.iterdir() if entry.is_file() and entry.suffix != ".py"
    ) == ["one", "two"]
    assert ToolHandler.load(tmp_path / "one", pool=pool).names == handler.names


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to every leaf of a JSON value."""
    if isinstance(value, dict):
        return [path for key, item in value.items() for path in paths(item, (*at, key))]
    if isinstance(value, list):
        return [path for index, item in enumerate(value) for path in paths(item, (*at, index))]
    return [at]


def changed(leaf: Any) -> Any:
    if isinstance(leaf, str):
        return chr(ord(leaf[0]) ^ 1) + leaf[1:] if leaf else "x"
    return (not leaf) if isinstance(leaf, bool) else 1 if leaf is None else leaf + 1


@pytest.mark.parametrize("key", [None, KEY], ids=["digest", "hmac"])
def test_any_one_changed_value_is_refused(saved: dict[str, Any], key: bytes | None) -> None:
    saved = persist.dump(persist.restore(saved), key)
    for path in paths(saved):
        copy = json.loads(json.dumps(saved))
        place = copy
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = changed(place[path[-1]])
        with pytest.raises(ToolHandlerError):
            persist.restore(copy, key)


def test_any_one_flipped_bit_of_the_file_is_refused(saved: dict[str, Any]) -> None:
    text = persist.canonical(saved)
    original = json.loads(text)
    for position in range(0, len(text), 7):
        flipped = bytearray(text)
        flipped[position] ^= 1 << position % 8
        try:
            data = persist.parse(bytes(flipped))
        except ToolHandlerError:
            continue
        assert data != original
        with pytest.raises(ToolHandlerError):
            persist.restore(data)


@settings(max_examples=60, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=60),
        st.text(max_size=60),
        st.recursive(st.none() | st.integers(), st.lists).map(repr),
    )
)
def test_garbage_is_a_clear_error(text: Any) -> None:
    with pytest.raises(ToolHandlerError):
        persist.restore(persist.parse(text))


@pytest.mark.parametrize("length", [0, 1, 50, 500, -2])
def test_a_truncated_file_is_a_clear_error(saved: dict[str, Any], length: int, tmp_path: Path) -> None:
    (tmp_path / "set").write_bytes(persist.canonical(saved)[:length])
    with pytest.raises(ToolHandlerError, match="cut off"):
        ToolHandler.load(tmp_path / "set")


def test_a_missing_file_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ToolHandlerError, match="cannot read"):
        ToolHandler.load(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 3}, "newer release"),
        ({"version": "1"}, "no usable version"),
        ({"format": "x"}, "no saved tools"),
        ({"tools": None}, "'tools' is missing"),
        ({"modules": []}, "'modules' is missing"),
    ],
)
def test_other_formats_and_versions_are_told_apart(
    saved: dict[str, Any], change: dict[str, Any], words: str
) -> None:
    with pytest.raises(ToolHandlerError, match=words):
        persist.restore(saved | change)


def as_version_1(data: dict[str, Any]) -> dict[str, Any]:
    """A set as releases before wishes wrote it."""
    tools = []
    for entry in data["tools"]:
        old = {key: value for key, value in entry.items() if key not in ("digest", "limits", "policy")}
        old["strict"] = False
        tools.append({**old, "digest": persist.digest([old, data["modules"][old["module"]]], None)})
    body = {key: value for key, value in data.items() if key != "digest"} | {"version": 1, "tools": tools}
    return {**body, "digest": persist.digest(body, None)}


def test_a_set_of_version_1_loads_and_works_as_it_did(saved: dict[str, Any], pool: SandboxPool) -> None:
    handler = ToolHandler.from_dict(as_version_1(saved), pool=pool)
    assert handler.execute("f", {"x": "2"}) == 3  # it was lax
    assert handler.get("f").wishes is None
    assert handler.withheld == {}
    assert handler.to_dict()["version"] == persist.VERSION


def test_a_key_must_be_the_one_it_was_saved_with(saved: dict[str, Any]) -> None:
    keyed = persist.dump(persist.restore(saved), KEY)
    assert persist.restore(keyed, KEY).tools
    for wrong, words in ((None, "saved with a key"), (b"other", "the key is another")):
        with pytest.raises(ToolHandlerError, match=words):
            persist.restore(keyed, wrong)
    with pytest.raises(ToolHandlerError, match="saved without a key"):
        persist.restore(saved, KEY)


def test_accepting_changes_records_them(saved: dict[str, Any], pool: SandboxPool) -> None:
    (key,) = {tool["module"] for tool in saved["tools"] if tool["name"] == "f"}
    saved["modules"][key]["source"] = "def f(x):\n    return 'changed'\n"
    handler = ToolHandler.from_dict(saved, pool=pool, accept_changes=True)
    assert handler.execute("f", {"x": 1}) == "changed"
    assert persist.restore(handler.to_dict()).tools


def test_a_damaged_tool_leaves_the_list_schema_and_all(saved: dict[str, Any], pool: SandboxPool) -> None:
    (key,) = {tool["module"] for tool in saved["tools"] if tool["name"] == "f"}
    saved["modules"][key]["siblings"][0]["source"] += "#"
    handler = ToolHandler.from_dict(saved, pool=pool, drop_damaged=True)
    assert handler.names == ("sqrt",)
    assert [tool["name"] for tool in handler.describe(format="json")] == ["sqrt"]
    assert handler.history == ()
    assert list(handler.refused) == ["f"]
    answer = handler.execute_many({"id": 1, "name": "f", "arguments": {}})[0]
    assert "damaged" in answer["error"]


def test_a_pickled_tool_is_not_saved(pool: SandboxPool) -> None:
    handler = ToolHandler(pool)
    handler.add_tool(from_exec("def f(): return 1", "f"))
    with pytest.raises(ToolHandlerError, match="no source"):
        handler.to_dict()


def test_a_set_holds_no_pickle(pool: SandboxPool) -> None:
    handler = ToolHandler(pool)
    for index, kind in enumerate(kind for kind in KINDS if kind.how != PICKLED):
        handler.add_tool(kind.make(), name=f"tool_{index}")
    assert not any(module.get("pickled") for module in handler.to_dict()["modules"].values())


RUNNER = r"""
import json, sys
from elf_pysandbox import Policy, SandboxPool
from elf_pysandbox._tools.handler import ToolHandler
from elf_pysandbox._tools.jsonable import to_json
path, cases = sys.argv[1], json.loads(sys.argv[2])
found = {}
with SandboxPool(4, policy=Policy(profile="native")) as pool:
    gone = pool.load_source("import fixtures.toolbox.callables\ndef f(): ...", "f")
    assert pool.outcome(gone).status == "load_failed", "the original files can be reached"
    handler = ToolHandler.load(path, pool=pool)
    for name, args in cases.items():
        outcome = pool.outcome(handler.get(name), *args)
        found[name] = to_json(outcome.value) if outcome.ok else outcome.status
print(json.dumps(found))
"""


@pytest.mark.parametrize(
    "python", [sys.executable, *other_interpreters()], ids=lambda path: Path(path).parents[1].name
)
def test_every_kind_of_callable_survives_without_its_file_in_another_process(
    python: str, pool: SandboxPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = [kind for kind in KINDS if kind.how != PICKLED]
    handler = ToolHandler(pool)
    for index, kind in enumerate(kinds):
        handler.add_tool(kind.make(), name=f"tool_{index}")
    handler.save(tmp_path / "set.json")
    cases = {f"tool_{index}": list(kind.args) for index, kind in enumerate(kinds)}
    # The runner proves first that the confined side cannot reach the original files.
    done = subprocess.run(
        [python, "-c", RUNNER, str(tmp_path / "set.json"), json.dumps(cases)],
        capture_output=True, text=True, check=False, cwd=tmp_path, timeout=300,
        env={"PATH": os.environ["PATH"]},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for index, kind in enumerate(kinds):
        expected = "bad_result" if kind.expected is None else json.loads(json.dumps(plain(kind.expected)))
        assert found[f"tool_{index}"] == expected, kind


def plain(value: Any) -> Any:
    from elf_pysandbox._tools.jsonable import to_json

    return to_json(value) if not isinstance(value, Record) else value


def test_a_set_works_after_its_files_are_deleted(pool: SandboxPool, project: Project, tmp_path: Path) -> None:
    files = {
        "pk/__init__.py": "",
        "pk/t.py": "from . import near\ndef f(x):\n    return x + near.K\n",
        "pk/near.py": "K = 1\n",
    }
    root = project(files)
    handler = ToolHandler(pool)
    handler.add_tools(root / "pk" / "t.py")
    handler.save(tmp_path / "set.json")
    shutil.rmtree(root / "pk")
    assert ToolHandler.load(tmp_path / "set.json", pool=pool).execute("f", {"x": 1}) == 2


def test_a_source_that_is_not_utf8_is_saved_byte_for_byte(pool: SandboxPool, project: Project) -> None:
    source = "# coding: latin-1\ndef f():\n    return 'é'\n".encode("latin-1")
    handler = ToolHandler(pool)
    handler.add_tools(project({"t.py": source}) / "t.py")
    again = ToolHandler.from_dict(handler.to_dict(), pool=pool)
    assert again.get("f").context.source_bytes == source
    assert again.execute("f") == "é"


def test_a_wrong_recorded_hash_is_refused_even_with_a_right_digest(saved: dict[str, Any]) -> None:
    restored = persist.restore(saved)
    context = restored.tools[0].context
    object.__setattr__(context, "code_hash", "0" * 64)
    with pytest.raises(ToolHandlerError, match="hash"):
        persist.restore(persist.dump(restored))
    assert issubclass(ModuleLoadError, ToolHandlerError)
