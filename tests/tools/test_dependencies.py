from __future__ import annotations

import random
import re
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from elf_pysandbox import ConfigurationError, ModuleLoadError, SandboxPool
from elf_pysandbox._tools import dependencies
from elf_pysandbox._tools.dependencies import check, managed_environment, script_metadata
from elf_pysandbox._tools.load import load, load_source
from elf_pysandbox._tools.tool import Tool
from tests.tools.conftest import Project
from tests.tools.interpreters import other_interpreters


def test_what_is_installed_passes() -> None:
    check(
        ["pydantic>=2", "PyYAML", "msgspec ; python_version > '3'", "nothing ; python_version < '3'"],
        ">=3.11",
    )


@pytest.mark.parametrize(
    ("requirements", "python", "words"),
    [
        (["no-such-package-here>=1"], "", "no-such-package-here>=1 \\(not installed\\).*pip install"),
        (["pydantic<1"], "", "pydantic<1 \\(2\\."),
        (["pydantic>=2", "a b c"], "", "cannot be read"),
        ([], ">=4", "needs Python >=4"),
        ([], "four", "cannot be read"),
    ],
)
def test_what_is_missing_is_one_error_with_the_command_that_fixes_it(
    requirements: list[str], python: str, words: str
) -> None:
    with pytest.raises(ModuleLoadError, match=words):
        check(requirements, python)


def test_an_interpreter_that_is_not_there_is_an_error() -> None:
    with pytest.raises(ModuleLoadError, match="cannot ask"):
        check(["x"], python="/nowhere/python")


def test_a_tool_without_its_requirements_ends_as_load_failed_before_any_process(pool: SandboxPool) -> None:
    source = '# /// script\n# dependencies = ["no-such-package-here"]\n# ///\ndef f(): return 1\n'
    tool = load_source(source, "f", name="m").needing(script_metadata(source.encode())[0])
    outcome = pool.outcome(tool)
    assert outcome.status == "load_failed"
    assert "pip install 'no-such-package-here'" in str(outcome.error)
    with pytest.raises(ModuleLoadError):
        pool.call(tool)


def test_requirements_in_a_file_are_checked(pool: SandboxPool, project: Project) -> None:
    root = project({"t.py": '# /// script\n# requires-python = ">=4"\n# ///\ndef f(): return 1\n'})
    assert pool.outcome(f"{root}/t.py:f").status == "load_failed"


@pytest.mark.parametrize(
    "block",
    [
        "# /// script\n# dependencies = [\n# ///\n",
        "# /// script\n# dependencies = 3\n# ///\n",
        "# /// script\n# requires-python = 3\n# ///\n",
        "# /// script\n# a = 1\n# ///\n\n# /// script\n# a = 1\n# ///\n",
    ],
)
def test_a_metadata_block_that_cannot_be_read_is_an_error(block: str) -> None:
    with pytest.raises(ModuleLoadError, match="script"):
        script_metadata(block.encode())


def test_a_wrong_environment_or_list_is_refused(project: Project) -> None:
    root = project({"t.py": "def f(): return 1\n"})
    with pytest.raises(ConfigurationError, match="managed"):
        load(f"{root}/t.py:f", environment="cloud")
    with pytest.raises(ConfigurationError, match="list of requirement"):
        load(f"{root}/t.py:f", requirements="numpy")


# -- managed environments: a package of our own, installed from a file, so that no network is needed ------------


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """A wheel of the distribution ``greeting-for-tests``."""
    path = tmp_path / "greeting_for_tests-1.0-py3-none-any.whl"
    info = "greeting_for_tests-1.0.dist-info"
    files = {
        "greeting_for_tests.py": "WORD = 'managed'\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: greeting-for-tests\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    # uv keeps its own cache, so that what the confined side needs comes from there after the first time.
    home = Path.home() / ".cache" / "uv"
    monkeypatch.setenv("UV_CACHE_DIR", str(home))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def managed(wheel: Path, cache: Path, project: Project) -> Tool:
    """A tool that needs the wheel."""
    root = project({"t.py": "import greeting_for_tests\ndef f():\n    return greeting_for_tests.WORD\n"})
    requirement = f"greeting-for-tests @ {wheel.as_uri()}"
    return load(f"{root}/t.py:f", requirements=[requirement], environment="managed")


def test_a_managed_tool_runs_with_its_own_packages(managed: Tool, pool: SandboxPool, cache: Path) -> None:
    assert pool.call(managed) == "managed"
    built = list((cache / "elf_pysandbox" / "environments").iterdir())
    assert len(built) == 1
    managed_environment(managed.requirements)
    assert list((cache / "elf_pysandbox" / "environments").iterdir()) == built


def test_a_managed_tool_without_network_says_so(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_CACHE_DIR", str(cache / "empty"))
    with pytest.raises(ModuleLoadError, match="no network"):
        managed_environment(["no-such-package-here"], offline=True)
    assert not list((cache / "elf_pysandbox" / "environments").iterdir())


def test_a_managed_tool_without_uv_says_how_to_get_it(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setitem(sys.modules, "uv", None)
    with pytest.raises(ModuleLoadError, match=r"pip install 'elf-pysandbox\[managed\]'"):
        managed_environment([])


def test_uv_is_found_beside_this_package_when_its_folder_is_on_no_path(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    found = dependencies._find_uv()
    assert found is not None
    assert Path(found).is_file()


def test_a_fitting_version_keeps_this_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    assert dependencies._fitting_python(">=3.11") == sys.executable
    assert dependencies._fitting_python(">=3.99") == ">=3.99"
    with pytest.raises(ModuleLoadError):
        dependencies._fitting_python("soon")


def test_a_requirement_is_never_read_as_an_option(cache: Any) -> None:
    with pytest.raises(ModuleLoadError):
        managed_environment(["--index-url=http://nowhere.invalid/"], offline=True)


@pytest.mark.parametrize("python", other_interpreters(), ids=lambda path: Path(path).parents[1].name)
def test_markers_are_those_of_the_interpreter_that_runs_the_tool(python: str) -> None:
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    check([f"nothing-such; python_version == '{here}'"], python=python)
    with pytest.raises(ModuleLoadError, match="nothing-such"):
        check([f"nothing-such; python_version == '{here}'"])


_REFERENCE = re.compile(r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$")


def test_blocks_are_found_as_by_the_reference_expression_of_pep_723() -> None:
    pieces = [
        "# /// script",
        "# /// other",
        "# ///",
        "#",
        "# a = 1",
        "#b",
        "x",
        "",
        "# /// script ",
        "# /// no type",
    ]
    chosen = random.Random(1)
    found = 0
    for _ in range(5_000):
        lines = chosen.choices(pieces, weights=[3, 1, 3, 1, 2, 1, 1, 1, 1, 1], k=chosen.randrange(12))
        text = "\n".join(lines)
        expected = [match["content"] for match in _REFERENCE.finditer(text) if match["type"] == "script"]
        assert [
            "".join(f"{line}\n" for line in block) for block in dependencies._script_blocks(lines)
        ] == expected
        found += len(expected)
    assert found > 500


@pytest.mark.parametrize(
    "source",
    [
        "# /// a\n" * 200_000,
        "# /// script\n# a" + ".a" * 30_000 + " = 1\n# ///\n",
        "# /// script\n# a = " + "[" * 30_000 + "\n# ///\n",
        "# /// script\n" + "# # much\n" * 10_000 + "# ///\n",
    ],
    ids=["heads", "a key of many parts", "deep nesting", "a large block"],
)
def test_a_hostile_block_is_refused_before_it_costs_anything(source: str) -> None:
    honest = '# /// script\n# dependencies = ["a"]\n# ///\n'
    assert script_metadata(honest.encode()) == (("a",), "")
    if source.startswith("# /// a"):
        assert script_metadata(source.encode()) == ((), "")
        return
    with pytest.raises(ModuleLoadError, match="script' block is"):
        script_metadata(source.encode())
