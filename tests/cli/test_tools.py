from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from elf_pysandbox._cli import main

ROOT = Path(__file__).parents[2]
TEXT = str(ROOT / "examples" / "text_tools.py")


def pysandbox(*words: str) -> Result:
    return CliRunner().invoke(main, list(words))


def test_list_names_the_tools_and_where_they_are() -> None:
    done = pysandbox("list", TEXT)
    assert done.exit_code == 0
    assert [line.split()[0] for line in done.output.splitlines()][:2] == ["word_count", "shout"]
    assert json.loads(pysandbox("list", TEXT, "--json").output)[0]["module"].endswith("text_tools")


def test_list_of_nothing_says_so(tmp_path: Path) -> None:
    done = pysandbox("list", str(tmp_path))
    assert done.exit_code == 5
    assert "no Python file" in done.output


def test_inspect_shows_signature_docs_and_module() -> None:
    done = pysandbox("inspect", f"{TEXT}:shout")
    assert done.exit_code == 0, done.output
    assert done.output.startswith("shout(text: str, times: int = 1) -> str  [sync]")
    assert "Return the text in capitals" in done.output
    data = json.loads(pysandbox("inspect", f"{TEXT}:shout", "--json").output)
    assert len(data["context"]["code_hash"]) == 64


@pytest.mark.parametrize(
    ("format_", "key"),
    [
        ("json", "parameters"),
        ("openai", "function"),
        ("openai-responses", "parameters"),
        ("anthropic", "input_schema"),
        ("gemini", "parameters"),
        ("mcp", "inputSchema"),
    ],
)
def test_schema_prints_each_providers_shape(format_: str, key: str) -> None:
    done = pysandbox("schema", f"{TEXT}:word_count", "--format", format_, "--strict")
    assert done.exit_code == 0, done.output
    assert key in json.loads(done.output)


def test_a_set_is_saved_verified_and_called_without_its_files(tmp_path: Path) -> None:
    source = tmp_path / "text_tools.py"
    shutil.copy(TEXT, source)
    saved = str(tmp_path / "tools.json")
    done = pysandbox("save", str(source), "-o", saved)
    assert done.exit_code == 0, done.output
    source.unlink()
    assert pysandbox("verify", saved).exit_code == 0
    done = pysandbox("call", saved, "shout", "--args", '{"text": "a", "times": 2}')
    assert (done.exit_code, done.output) == (0, "A!!\n")
    done = pysandbox("call", saved, "shout", "--args", '["a"]', "--json")
    assert json.loads(done.output)["value"] == "A!"


def change(path: Path) -> Any:
    data = path.read_bytes()
    path.write_bytes(data.replace(b"upper", b"lower"))


def test_a_changed_set_is_refused_by_verify_and_call(tmp_path: Path) -> None:
    saved = tmp_path / "tools.json"
    pysandbox("save", TEXT, "-o", str(saved))
    change(saved)
    for words in (["verify", str(saved)], ["call", str(saved), "shout", "--args", '["a"]']):
        done = pysandbox(*words)
        assert done.exit_code == 2
        assert "digest" in done.output


def test_a_set_with_a_key_needs_the_key(tmp_path: Path) -> None:
    saved, key = str(tmp_path / "tools.json"), tmp_path / "key"
    key.write_bytes(b"secret\n")
    pysandbox("save", TEXT, "-o", saved, "--key-file", str(key))
    assert pysandbox("verify", saved, "--key-file", str(key)).exit_code == 0
    done = pysandbox("verify", saved, "--json")
    assert done.exit_code == 2
    assert "key" in done.output


def test_exit_codes_tell_how_a_call_ended(tmp_path: Path) -> None:
    saved = str(tmp_path / "tools.json")
    pysandbox("save", TEXT, "-o", saved)
    assert pysandbox("call", saved, "nope").exit_code == 5
    assert pysandbox("call", saved, "shout").exit_code == 4
    assert pysandbox("call", str(tmp_path / "nothing.json"), "shout").exit_code == 2
