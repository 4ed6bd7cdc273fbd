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


@pytest.mark.parametrize(("module", "tool"), [("json", "dumps"), ("statistics", "mean"), ("os.path", "")])
def test_modules_of_the_standard_library_are_listed_and_saved_by_name(
    module: str, tool: str, tmp_path: Path
) -> None:
    done = pysandbox("list", module)
    if not tool:
        assert done.exit_code == 5
        assert f"name them: '{module}:function'" in done.output
        return
    assert done.exit_code == 0, done.output
    assert f"{module}:{tool}" in done.output.split()
    assert "JSONDecoder" not in done.output
    saved = str(tmp_path / "tools.json")
    assert pysandbox("save", module, "-o", saved).exit_code == 0
    called = pysandbox("call", saved, tool, "--args", "[[1, 3]]")
    assert (called.exit_code, called.output) == (0, {"dumps": "[1, 3]\n", "mean": "2\n"}[tool])


def folder_with_a_broken_file(tmp_path: Path) -> str:
    (tmp_path / "tools").mkdir()
    (tmp_path / "tools" / "bad.py").write_text("def f(:\n")
    (tmp_path / "tools" / "good.py").write_text("def g():\n    return 1\n")
    (tmp_path / "tools" / "latin.py").write_bytes(b"x = '\xff'\n")
    return str(tmp_path / "tools")


def test_one_broken_file_of_a_folder_is_told_and_the_others_are_listed_and_saved(tmp_path: Path) -> None:
    folder, saved = folder_with_a_broken_file(tmp_path), str(tmp_path / "tools.json")
    for words in (["list", folder], ["save", folder, "-o", saved]):
        done = pysandbox(*words)
        assert done.exit_code == 5
        assert "bad.py': it does not parse: line 1, column 7: invalid syntax" in done.stderr
        assert "latin.py" in done.stderr
        assert "g" in done.stdout.split()
    assert pysandbox("call", saved, "g").output == "1\n"


@pytest.mark.parametrize("words", [["list"], ["save", "-o", "tools.json"]], ids=lambda words: words[0])
@pytest.mark.parametrize(
    ("file", "what"), [("__init__", "Python file in"), ("empty", "public function in the files of")]
)
def test_a_folder_without_tools_has_none_to_give_and_the_folder_in_it_that_may_have_is_named(
    words: list[str], file: str, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pkg" / "sub").mkdir(parents=True)
    (tmp_path / "pkg" / f"{file}.py").touch()
    done = pysandbox(words[0], "pkg", *words[1:])
    assert (done.exit_code, done.stderr) == (5, f"load_failed: there is no {what} the folder 'pkg'\n")
    (tmp_path / "pkg" / "sub" / "some.py").write_text("def f():\n    return 1\n")
    done = pysandbox(words[0], "pkg", *words[1:])
    assert done.exit_code == 5
    assert done.stderr.endswith("'pkg'; folders in it are not looked through: name 'pkg/sub'\n")
    assert pysandbox(words[0], "pkg/sub", *words[1:]).exit_code == 0


def test_a_place_that_is_not_there_leaves_the_others(tmp_path: Path) -> None:
    done = pysandbox("list", "no_such_file.py", TEXT)
    assert done.exit_code == 5
    assert "no_such_file.py" in done.stderr
    assert "word_count" in done.stdout
    assert pysandbox("save", "no_such_file.py", "-o", str(tmp_path / "s.json")).exit_code == 5
    assert not (tmp_path / "s.json").exists()


def test_a_set_that_was_changed_or_has_another_key_names_the_flags_that_help(tmp_path: Path) -> None:
    saved, key = tmp_path / "tools.json", tmp_path / "key"
    key.write_bytes(b"secret\n")
    pysandbox("save", TEXT, "-o", str(saved), "--key-file", str(key))
    assert "To change that: --key-file FILE" in pysandbox("verify", str(saved)).stderr
    pysandbox("save", TEXT, "-o", str(saved))
    change(saved)
    done = pysandbox("call", str(saved), "shout", "--args", '["a"]')
    assert done.exit_code == 2
    assert "To change that: --accept-changes" in done.stderr
    assert "accept_changes=True" not in done.stderr
    accepted = pysandbox("call", str(saved), "shout", "--args", '["A"]', "--accept-changes")
    assert (accepted.exit_code, accepted.stdout) == (0, "a!\n")


def test_a_function_of_a_file_below_a_folder_is_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    done = pysandbox("save", "examples/text_tools.py:shout", "-o", str(tmp_path / "s.json"))
    assert (done.exit_code, done.stdout) == (0, f"1 tool saved to {tmp_path}/s.json: shout\n")


def test_tools_of_one_name_in_two_files_are_listed_both_and_saved_only_apart(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.py").write_text(f"def run():\n    return {name!r}\n")
    listed = pysandbox("list", str(tmp_path))
    assert listed.exit_code == 0, listed.output
    assert [line.rpartition("/")[2] for line in listed.stdout.splitlines()] == ["a.py:run", "b.py:run"]
    for places in ([str(tmp_path)], [f"{tmp_path}/a.py", f"{tmp_path}/b.py"]):
        done = pysandbox("save", *places, "-o", str(tmp_path / "s.json"))
        assert done.exit_code == 5
        assert "two tools are called 'run'" in done.stderr
        assert done.stderr.endswith("To change that: --output FILE, one for each of them\n")
