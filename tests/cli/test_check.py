"""`pysandbox check`: what it prints, and its exit codes."""

from __future__ import annotations

import json

from click.testing import CliRunner

from elf_pysandbox._cli import main


def run(*args: str, input: bytes | None = None):
    return CliRunner().invoke(main, ["check", *args], input=input)


def test_findings_are_printed_as_linters_print_them_with_exit_code_three(tmp_path):
    file = tmp_path / "tool.py"
    file.write_text("import os\n")
    result = run(str(tmp_path))
    assert result.exit_code == 3
    assert result.stdout.startswith(
        f"{file}:1:1: PSB301 The module `os` is not available to tools. Use pathlib"
    )
    assert "1 file checked: 1 error, 0 warnings" in result.stderr


def test_a_clean_folder_with_modules_that_import_each_other_exits_with_zero(tmp_path):
    (tmp_path / "pack").mkdir()
    (tmp_path / "pack/__init__.py").write_text("from .part import x\n")
    (tmp_path / "pack/part.py").write_text("x = 1\n")
    (tmp_path / "tool.py").write_text("import helper\nfrom pack import part\n")
    (tmp_path / "helper.py").write_text("import json\n")
    assert run(str(tmp_path)).exit_code == 0


def test_json_output_is_an_array_of_all_fields_and_standard_input_is_read():
    result = run("-", "--json", input=b"x = f.__globals__")
    assert result.exit_code == 3
    (found,) = json.loads(result.stdout)
    assert found["rule"] == "PSB201"
    assert {"severity", "line", "column", "end_line", "end_column", "message", "hint", "path"} <= found.keys()


def test_grants_on_the_command_line_are_counted_as_such():
    source = b"import numpy\nopen('x')\n"
    assert run("-", input=source).exit_code == 3
    assert run("-", "--allow-import", "numpy", "--files", input=source).exit_code == 0


def test_a_path_that_does_not_exist_is_a_usage_error():
    assert run("/nowhere/at/all.py").exit_code == 2


def test_a_folder_without_a_python_file_is_told_and_passes_as_with_ruff(tmp_path):
    result = run(str(tmp_path))
    assert result.exit_code == 0
    assert f"warning: there is no Python file (*.py) in {tmp_path}" in result.stderr


def test_a_file_that_cannot_be_read_is_told_and_the_others_are_checked(tmp_path):
    (tmp_path / "gone.py").symlink_to(tmp_path / "nowhere")
    (tmp_path / "tool.py").write_text("import os\n")
    result = run(str(tmp_path))
    assert result.exit_code == 2
    assert "PSB301" in result.stdout
    assert f"error: cannot read {tmp_path / 'gone.py'}: No such file" in result.stderr
    (tmp_path / "gone.py").unlink()
    assert run(str(tmp_path)).exit_code == 3


def test_findings_that_a_grant_takes_away_name_the_option_that_counts_it():
    result = run("-", input=b"import numpy\nopen('x')\n")
    assert "To count what a call will be granted: --allow-import MODULE and --files" in result.stderr
    assert "granted" not in run("-", input=b"import os\n").stderr
