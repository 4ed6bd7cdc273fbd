"""Every fixture, marker, option and helper of the pytest plugin, at work and failing when it should."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

TOOLS = Path(__file__).parents[2] / "fixtures" / "kit" / "attempts.py"


@pytest.fixture
def author(pytester):
    """A tool author's project: the tools beside the tests."""
    pytester.makepyfile(tools=TOOLS.read_text(encoding="utf-8"))
    pytester.makeini("[pytest]\naddopts = -p no:cacheprovider --strict-markers\n")
    return pytester


def add_tools(author, source):
    """Write more tools behind those that are there."""
    file = author.path / "tools.py"
    file.write_text(file.read_text() + "\n\n" + textwrap.dedent(source))


def ends(author, body, *options, **counts):
    """Run a test file and assert how many tests ended in which way."""
    author.makepyfile(test_it=body)
    result = author.runpytest(*options)
    result.assert_outcomes(**counts)
    return result


def test_the_fixtures_call_tools_beside_the_test(author):
    body = """
        import concurrent.futures
        from elf_pysandbox import SandboxPool, ToolRaised
        import pytest

        def test_run_tool(run_tool):
            assert run_tool("tools.py:greet", "Ada") == "hello Ada"

        def test_run_tool_raises(run_tool):
            with pytest.raises(ZeroDivisionError):
                run_tool("tools.py:invert", n=0)

        def test_outcome(sandbox_outcome):
            outcome = sandbox_outcome("tools.py:greet", "Ada")
            assert (outcome.status, outcome.stdout) == ("ok", "greeting Ada\\n")
            assert sandbox_outcome("tools.py:invert", 0).status == "raised"

        def test_view(sandbox, sandbox_pool):
            assert isinstance(sandbox, SandboxPool) and sandbox is not sandbox_pool
            assert [f.result() for f in [sandbox.submit("tools.py:roundtrip", n) for n in range(3)]] == [0, 1, 2]
            assert list(sandbox.stream("tools.py:roundtrip", 1))[-1].value == 1
            assert len(sandbox.outcomes) == 1

        async def call(sandbox):
            return await sandbox.acall("tools.py:roundtrip", 5)

        def test_async(sandbox):
            import asyncio
            assert asyncio.run(call(sandbox)) == 5
            assert [target for target, _ in sandbox.outcomes] == ["tools.py:roundtrip"]
    """
    ends(author, body, passed=5)


def test_a_function_of_the_test_file_runs_as_it_is_written_though_pytest_rewrites_its_assertions(author):
    body = """
        import pytest

        def double(n):
            assert n < 5, f"{n} is too much"
            return 2 * n

        def test_local(run_tool):
            def local(n):
                assert n == 2
                return n
            assert run_tool(local, 2) == 2

        def test_of_the_file(run_tool, sandbox):
            assert run_tool(double, 2) == 4
            assert sandbox.call(lambda: double(3)) == 6

        def test_failing(run_tool):
            with pytest.raises(AssertionError, match="^7 is too much$"):
                run_tool(double, 7)
    """
    ends(author, body, passed=3)


def test_a_failing_test_tells_its_calls_with_their_output_and_the_tools_own_lines(author):
    body = """
        def test_fails(run_tool, sandbox_outcome):
            sandbox_outcome("tools.py:invert", 0)
            assert run_tool("tools.py:greet", "Ada") == "hello Bob"
    """
    result = ends(author, body, failed=1)
    result.stdout.fnmatch_lines(
        [
            "*sandbox calls*",
            "tools.py:invert: raised",
            "  Traceback (most recent call last):",
            '    File "*tools.py", line *, in invert',
            "  ZeroDivisionError: division by zero",
            "tools.py:greet: ok",
            "  | greeting Ada",
        ]
    )


def test_a_marker_sets_limits_and_the_closest_one_wins(author):
    body = """
        import pytest
        pytestmark = pytest.mark.sandbox(memory_mb=64, timeout=5)

        def test_module_marker(sandbox):
            assert (sandbox.limits.memory_mb, sandbox.limits.wall_s) == (64, 5)

        @pytest.mark.sandbox(timeout=1, profile="native", allow_imports=["numpy"], open_files=32)
        def test_own_marker(sandbox):
            assert (sandbox.limits.memory_mb, sandbox.limits.wall_s, sandbox.limits.open_files) == (64, 1, 32)
            assert (sandbox.policy.profile, sandbox.policy.allowed_imports) == ("native", ("numpy",))

        @pytest.mark.sandbox(memory_mb=96)
        class TestClass:
            @pytest.mark.sandbox(timeout=2)
            def test_class_marker(self, sandbox):
                assert (sandbox.limits.memory_mb, sandbox.limits.wall_s) == (96, 2)
    """
    ends(author, body, passed=3)


def test_a_marker_grants_files_that_count_from_the_tests_folder(author):
    (author.mkdir("data") / "a.txt").write_text("first\nsecond\n")
    body = """
        import os, pytest
        from elf_pysandbox import Files
        HERE = os.path.dirname(os.path.abspath(__file__))

        @pytest.mark.sandbox(profile="native", files={"read": ["data"]})
        def test_granted(run_tool):
            assert run_tool("tools.py:read_file", f"{HERE}/data/a.txt") == "first\\n"

        @pytest.mark.sandbox(profile="native", files=Files(read=("data",), scratch_mb=1))
        def test_granted_by_value(run_tool):
            assert run_tool("tools.py:read_file", f"{HERE}/data/a.txt") == "first\\n"

        @pytest.mark.sandbox(profile="native")
        def test_not_granted(sandbox_outcome):
            assert not sandbox_outcome("tools.py:read_file", f"{HERE}/data/a.txt").ok
    """
    ends(author, body, passed=3)


@pytest.mark.parametrize(
    ("marker", "text"),
    [
        ("memory=64, tiemout=1", "no setting 'tiemout'"),
        ("memory_mb=1", "marker sandbox: memory_mb must be 32 or more"),
        ("64", "takes keywords only"),
        ("files=3", "files must be a Files value"),
        ("files={'reed': ['data']}", "files has no 'reed'; there are read, write and scratch_mb"),
        ("files={'read': 'data'}", "must be a tuple of paths, not the single path 'data'"),
        ("profile='loose'", "profile must be one of"),
    ],
)
def test_a_marker_that_cannot_be_used_is_an_error_of_its_test_that_says_why(author, marker, text):
    body = f"""
        import pytest
        @pytest.mark.sandbox({marker})
        def test_marked(sandbox):
            pass
    """
    shown = ends(author, body, errors=1).stdout.str()
    assert text in shown
    # One line, and no way through the plugin.
    assert "def " not in shown
    assert "exception occurred" not in shown


def test_a_target_that_cannot_be_loaded_is_told_at_the_line_of_the_test(author):
    body = """
        def test_slip(run_tool):
            run_tool("tools.py")
    """
    shown = ends(author, body, failed=1).stdout.str()
    assert "'tools.py' names no function" in shown
    assert "_pool.py" not in shown


HELPERS = """
    import pytest
    from elf_pysandbox.testing import (
        assert_denied, assert_memory_limited, assert_same_as_plain, assert_times_out,
    )

    @pytest.mark.sandbox(timeout=0.5)
    def test_times_out(sandbox):
        assert assert_times_out(sandbox, "tools.py:{spin}").retryable

    @pytest.mark.sandbox(memory_mb=64)
    def test_memory(sandbox):
        assert_memory_limited(sandbox, "tools.py:hoard", {mb})

    @pytest.mark.sandbox(profile="native", layers={{}})
    def test_denied(sandbox):
        import tempfile
        with tempfile.NamedTemporaryFile() as secret:
            assert_denied(sandbox, "tools.py:{read}", secret.name, match="{match}")

    @pytest.mark.parametrize("value", [{value}])
    def test_same(sandbox, value):
        assert_same_as_plain(sandbox, "tools.py:{same}", value)
"""


def test_the_helpers_pass_when_the_call_ends_as_they_say(author):
    add_tools(
        author,
        """
        def fork(path):
            import os
            os.fork()

        def either(n):
            return 1 / n if n != 2 else {"x": float("nan")}
        """,
    )
    body = HELPERS.format(
        spin="spin", mb=400, read="fork", match="fork|permitted", value="0, 1, 2", same="either"
    )
    body = body.replace("    def test_same", "    @pytest.mark.sandbox(profile='native')\n    def test_same")
    ends(author, body, passed=6)


def test_the_helpers_fail_when_the_call_ends_otherwise_and_say_how(author):
    add_tools(
        author,
        """
        def quick():
            return 7

        def harmless(path):
            return path

        def where(value):
            return "plain" if __name__.startswith("plain_") else "sandboxed"
        """,
    )
    body = HELPERS.format(spin="quick", mb=1, read="harmless", match="x", value="0", same="where")
    result = ends(author, body, failed=4)
    result.stdout.fnmatch_lines_random(
        [
            "*expected the call to run into a time limit, but it returned 7",
            "*expected the call to run into the memory limit, but it returned 1048576",
            "*expected the call to be denied, but it returned *",
            "*plain Python returns 'plain', but in the sandbox it returned 'sandboxed'",
        ]
    )


def test_a_marked_body_runs_in_the_sandbox_with_the_values_of_its_fixtures(author):
    body = """
        import os, pytest
        HERE = os.getpid()

        @pytest.fixture
        def rows():
            return [{"n": 1}, {"n": 2}]

        @pytest.mark.sandboxed
        @pytest.mark.sandbox(profile="native")
        @pytest.mark.parametrize("factor", [1, 10])
        def test_elsewhere(rows, factor):
            print("inside")
            assert os.getpid() < 1000 and sum(row["n"] for row in rows) * factor in (3, 30)

        @pytest.mark.sandboxed
        @pytest.mark.sandbox(profile="native")
        def test_confined():
            with pytest.raises(OSError):
                os.listdir("/root")
            import tools
            assert tools.roundtrip(1) == 1
    """
    ends(author, body, passed=3)


def test_a_marked_body_runs_under_the_language_policy_by_default(author):
    body = """
        import pytest
        from elf_pysandbox import ToolRaised
        from elf_pysandbox.testing import assert_times_out

        @pytest.mark.sandboxed
        def test_restricted():
            import json
            assert json.loads("[1]") == [1]

        @pytest.mark.sandboxed
        def test_no_calls_from_inside():
            with pytest.raises(RuntimeError, match="makes calls"):
                assert_times_out(None, "x")
    """
    ends(author, body, passed=2)


def test_a_marked_body_ends_as_it_would_outside(author):
    body = """
        import pytest
        pytestmark = [pytest.mark.sandboxed, pytest.mark.sandbox(profile="native", timeout=5)]

        def test_fails():
            value = 2
            assert value == 3, "they differ"

        def test_skips():
            pytest.skip("not today")

        def test_xfails():
            pytest.xfail("known")

        def test_exits():
            import os
            os._exit(3)

        class TestClass:
            def test_method(self):
                pass

        @pytest.fixture
        def handle():
            with open(__file__) as opened:
                yield opened

        def test_unsendable(handle):
            handle.close()
    """
    result = ends(author, body, "-W", "ignore", failed=4, skipped=1, xfailed=1)
    result.stdout.fnmatch_lines_random(
        [
            '*assert value == 3, "they differ"*',
            "*ended 'crashed' in the sandbox*",
            "*not for methods*",
            "*ended 'invalid_arguments' in the sandbox*handle*",
        ]
    )


def test_the_command_line_and_the_ini_file_set_what_no_marker_sets(author):
    author.makeini(
        "[pytest]\nsandbox_profile = native\nsandbox_timeout = 3\nsandbox_memory_mb = 99\n"
        "sandbox_allow_imports = numpy pandas\nsandbox_max_workers = 2\n"
    )
    body = """
        import pytest

        def test_ini(sandbox, sandbox_pool):
            assert (sandbox.limits.wall_s, sandbox.limits.memory_mb, sandbox_pool.max_workers) == (3, 99, 2)
            assert sandbox.policy.allowed_imports == ("numpy", "pandas")

        def test_profile(sandbox, request):
            assert sandbox.policy.profile == (request.config.getoption("sandbox_profile") or "native")

        @pytest.mark.sandbox(profile="native")
        def test_marker_wins(sandbox):
            assert sandbox.policy.profile == "native"
    """
    ends(author, body, passed=3)
    ends(author, body, "--sandbox-profile=restricted", passed=3)


def test_an_ini_value_that_cannot_be_used_is_an_error_that_says_why(author):
    author.makeini("[pytest]\nsandbox_timeout = soon\n")
    result = ends(author, "def test_it(sandbox): pass", errors=1)
    assert "sandbox_timeout must be a number" in result.stdout.str()


def test_the_report_has_every_call_of_every_test(author):
    body = """
        def test_one(sandbox_outcome):
            sandbox_outcome("tools.py:invert", 0)
            sandbox_outcome("tools.py:invert", 1)

        def test_two(sandbox_outcome):
            sandbox_outcome("tools.py:greet", "x")

        def test_three():
            pass
    """
    result = ends(author, body, "--sandbox-report=calls.json", passed=3)
    result.stdout.fnmatch_lines(["*sandbox calls*", "*2 *ms*MiB  1 ok, 1 raised  test_it.py::test_one"])
    calls = json.loads((author.path / "calls.json").read_text())
    assert [call["status"] for call in calls["test_it.py::test_one"]] == ["raised", "ok"]
    assert set(calls) == {"test_it.py::test_one", "test_it.py::test_two"}


def test_under_xdist_each_process_has_its_own_pool_and_the_report_has_all_calls(author):
    body = """
        import os, pytest

        @pytest.mark.parametrize("n", range(24))
        def test_many(run_tool, n):
            assert run_tool("tools.py:roundtrip", n) == n

        @pytest.mark.parametrize("n", range(4))
        @pytest.mark.sandboxed
        @pytest.mark.sandbox(profile="native")
        def test_inside(n):
            assert n >= 0

        def test_fails(run_tool):
            assert run_tool("tools.py:roundtrip", 1) == 2
    """
    result = ends(author, body, "-n2", "--sandbox-report=calls.json", passed=28, failed=1)
    result.stdout.fnmatch_lines(["*sandbox calls*"])
    calls = json.loads((author.path / "calls.json").read_text())
    assert sum(map(len, calls.values())) == 29


def test_the_plugin_costs_a_run_that_does_not_use_it_no_heavy_import(author, monkeypatch):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # others' plugins import what they like
    body = """
        def test_light():
            import sys
            heavy = {"pydantic", "RestrictedPython", "multiprocess", "yaml", "elf_pysandbox._pool", "click", "rich"}
            assert not heavy & set(sys.modules)
    """
    author.makepyfile(test_it=body)
    author.runpytest_subprocess("-p", "elf_pysandbox.pytest_plugin").assert_outcomes(passed=1)


def test_importing_the_plugin_imports_nothing_of_the_pool():
    code = (
        "import sys, elf_pysandbox.pytest_plugin as p; "
        "print(sorted(n for n in sys.modules if n.startswith(('elf_pysandbox', 'pydantic', 'msgspec'))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['elf_pysandbox', 'elf_pysandbox.pytest_plugin']"


def test_the_tool_handler_fixture_runs_its_tools_in_the_tests_sandbox(author):
    body = """
        import os, pytest

        @pytest.mark.sandbox(timeout=0.5, profile="native")
        def test_handler(tool_handler, sandbox):
            here = os.path.dirname(os.path.abspath(__file__))
            tool_handler.add_tools(f"{here}/tools.py")
            assert tool_handler.execute("greet", {"name": "Ada"}) == "hello Ada"
            with pytest.raises(TimeoutError):
                tool_handler.execute("spin", {})
    """
    ends(author, body, passed=1)
