"""Where a setting comes from, and which place wins."""

from __future__ import annotations

import json
import os
import re

import pytest
from click.testing import CliRunner

from elf_pysandbox import ConfigurationError, Files, Limits, Policy, Settings
from elf_pysandbox._cli import main


def resolve(tmp_path, toml="", environ=None, **given):
    (tmp_path / "pyproject.toml").write_text(toml)
    return Settings.resolve(given, environ=environ or {}, folder=tmp_path)


def test_without_any_source_the_settings_are_the_defaults(tmp_path):
    settings = resolve(tmp_path)
    assert (settings.limits, settings.policy) == (Limits(), Policy())
    assert {setting.origin for setting in settings.values.values()} == {"default"}


def test_each_place_wins_over_the_weaker_ones(tmp_path):
    toml = "[tool.pysandbox]\nwall_s = 1\ncpu_s = 1\nmemory_mb = 100\nfile_mb = 1\n"
    environ = {"PYSANDBOX_CPU_S": "2", "PYSANDBOX_MEMORY_MB": "200", "PYSANDBOX_FILE_MB": "2"}
    (tmp_path / "pyproject.toml").write_text(toml)
    settings = Settings.resolve(
        {"memory_mb": 300, "file_mb": 3}, call={"file_mb": 4}, environ=environ, folder=tmp_path
    )
    chosen = {
        name: (settings[name], settings.values[name].origin)
        for name in ("wall_s", "cpu_s", "memory_mb", "file_mb")
    }
    assert chosen == {
        "wall_s": (1, str(tmp_path / "pyproject.toml")),
        "cpu_s": (2.0, "PYSANDBOX_CPU_S"),
        "memory_mb": (300, "command line"),
        "file_mb": (4, "call"),
    }


def test_variables_hold_lists_paths_and_layers(tmp_path):
    environ = {
        "PYSANDBOX_PROFILE": "native",
        "PYSANDBOX_ALLOWED_IMPORTS": "numpy, pandas",
        "PYSANDBOX_READ": f"{tmp_path}:/etc",
        "PYSANDBOX_LAYERS": "cgroup=off",
        "PYSANDBOX_SCRATCH_MB": "4",
    }
    policy = resolve(tmp_path, environ=environ).policy
    assert policy.profile == "native"
    assert policy.allowed_imports == ("numpy", "pandas")
    assert policy.files == Files(read=(str(tmp_path), "/etc"), scratch_mb=4)
    assert policy.layers == {"cgroup": "off"}


def test_paths_of_a_pyproject_count_from_its_own_folder(tmp_path):
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text('[tool.pysandbox]\nread = ["data"]\n')
    settings = Settings.resolve(environ={}, folder=below)
    assert settings["read"] == (str(tmp_path / "data"),)


def test_an_empty_location_reads_no_pyproject(tmp_path):
    settings = resolve(tmp_path, "[tool.pysandbox]\nwall_s = 1\n", {"PYSANDBOX_PYPROJECT": ""})
    assert settings["wall_s"] == 30.0


@pytest.mark.parametrize(
    ("toml", "environ", "given", "text"),
    [
        ("[tool.pysandbox]\nmemory = 1\n", {}, {}, "no setting 'memory'; did you mean 'memory_mb'?"),
        ("[tool.pysandbox]\nwall_s = 'x'\n", {}, {}, "pyproject.toml: wall_s must be"),
        ("[tool.pysandbox]\nread = [1]\n", {}, {}, "pyproject.toml: read "),
        (
            '[tool.pysandbox]\nread = "./data"\n',
            {},
            {},
            r'pyproject.toml: read must be a list, as in \["./data"\]',
        ),
        ('[tool.pysandbox]\nallowed_imports = "numpy"\n', {}, {}, "allowed_imports must be a list"),
        ("", {}, {"env": "HOME"}, r'command line: env must be a list, as in \["HOME"\]'),
        ("[tool.pysandbox]\nprofile = 3\n", {}, {}, "pyproject.toml: profile "),
        ("tool = 3 = 4", {}, {}, "pyproject.toml: "),
        ("tool = 3\n", {}, {}, r"\[tool.pysandbox\] must be a table"),
        ("[tool]\npysandbox = 3\n", {}, {}, r"\[tool.pysandbox\] must be a table"),
        ("", {"PYSANDBOX_MEMORY_MB": "much"}, {}, "PYSANDBOX_MEMORY_MB must be a whole number, not 'much'"),
        ("", {"PYSANDBOX_MEMORY_MB": "1"}, {}, "PYSANDBOX_MEMORY_MB: memory_mb must be 32 or more"),
        ("", {"PYSANDBOX_LAYERS": "seccompp=off"}, {}, "PYSANDBOX_LAYERS: layers has no layer 'seccompp'"),
        ("", {"PYSANDBOX_MAX_WORKERS": "0"}, {}, "PYSANDBOX_MAX_WORKERS: max_workers"),
        ("", {}, {"wall_s": -1.0}, "command line: wall_s"),
        ("", {}, {"walls": 1}, "command line: no setting 'walls'"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused_with_the_place_it_stands_in(
    tmp_path, toml, environ, given, text
):
    with pytest.raises(ConfigurationError, match=text):
        resolve(tmp_path, toml, environ, **given)


def test_a_misspelt_variable_is_a_warning_that_names_the_nearest(tmp_path):
    settings = resolve(tmp_path, environ={"PYSANDBOX_MEMORY": "64", "PYSANDBOX_FUZZ_SECONDS": "1"})
    assert settings.warnings == ("PYSANDBOX_MEMORY is no setting; did you mean PYSANDBOX_MEMORY_MB?",)


def test_the_config_command_prints_each_value_with_its_origin(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text("[tool.pysandbox]\nmemory_mb = 64\n")
    shown = CliRunner().invoke(main, ["config"], env={"PYSANDBOX_WALL_S": "5"})
    assert shown.exit_code == 0
    assert re.search(r"^wall_s +5\.0 +PYSANDBOX_WALL_S$", shown.output, re.MULTILINE)
    assert re.search(rf"^memory_mb +64 +{tmp_path}/pyproject.toml$", shown.output, re.MULTILINE)
    assert len(shown.output.splitlines()) == len(Settings.resolve().values)


def test_the_config_command_prints_json_for_the_names_asked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown = CliRunner().invoke(main, ["config", "profile", "--json"])
    assert json.loads(shown.output) == {"profile": {"value": "restricted", "origin": "default"}}


@pytest.mark.parametrize(
    ("arguments", "env", "text"),
    [
        (["config", "speed"], {}, "no setting 'speed'"),
        (["config"], {"PYSANDBOX_PROFILE": "x"}, "PYSANDBOX_PROFILE"),
    ],
)
def test_the_config_command_ends_with_a_usage_error_for_what_cannot_be(
    tmp_path, monkeypatch, arguments, env, text
):
    monkeypatch.chdir(tmp_path)
    shown = CliRunner().invoke(main, arguments, env=env)
    assert shown.exit_code == 2
    assert text in shown.output


def test_the_settings_reach_the_call_of_the_run_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text("[tool.pysandbox]\nwall_s = 0.3\nprofile = 'native'\n")
    (tmp_path / "slow.py").write_text("import time\ndef nap():\n    time.sleep(30)\n")
    shown = CliRunner().invoke(main, ["run", "slow.py:nap"])
    assert shown.exit_code == 124


def test_a_folder_above_that_is_closed_to_this_user_is_passed_over(tmp_path):
    within = tmp_path / "closed" / "open"
    within.mkdir(parents=True)
    Settings.resolve(folder=within)  # all is imported before the rights go
    folder = os.open(within, os.O_RDONLY | os.O_DIRECTORY)
    pid = os.fork()
    if pid == 0:
        try:
            os.fchdir(folder)
            os.chmod(within.parent, 0)
            if os.geteuid() == 0:
                os.setresuid(1000, 1000, 1000)
            found = Settings.resolve().limits == Limits()
        finally:
            os._exit(not found)
    assert os.waitpid(pid, 0)[1] == 0
    os.close(folder)
    within.parent.chmod(0o755)
