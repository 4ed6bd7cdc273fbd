"""The pytest plugin: fixtures, markers and options for the tests of tools.

Loaded by every pytest run in an environment that has this package, so importing it imports nothing but
pytest; the rest lies in `_pytest` and is imported when a test uses it. Safe under pytest-xdist: each of its
processes has a pool of its own, made when its first test needs one.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from elf_pysandbox import Outcome
    from elf_pysandbox._pytest.view import SandboxView

_VIEW: pytest.StashKey[Any] = pytest.StashKey()
_INI = {
    "profile": ("string", "restricted or native"),
    "timeout": ("string", "wall-clock limit of a call, in seconds"),
    "memory_mb": ("string", "memory limit of a call, in MiB"),
    "allow_imports": ("args", "modules that tools may import"),
    "max_workers": ("string", "calls in flight at once, for each process of pytest-xdist"),
}
_WORKERS = 4
"""Enough for a test that makes calls at once; few, because pytest-xdist multiplies them."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the command line and of the ini file."""
    group = parser.getgroup("sandbox", "calls in the sandbox")
    group.addoption(
        "--sandbox-profile",
        choices=("restricted", "native"),
        help="profile of all calls whose test does not name one",
    )
    group.addoption(
        "--sandbox-report",
        metavar="PATH",
        help="show the calls of each test; PATH gets them as JSON, - for none",
    )
    for name, (kind, help_) in _INI.items():
        parser.addini(f"sandbox_{name}", f"sandbox: {help_}", type=kind, default=None)  # type: ignore[arg-type]


def pytest_configure(config: pytest.Config) -> None:
    """Describe the markers; gather the calls where a report was asked for."""
    options = "memory_mb=..., timeout=..., profile=..., allow_imports=[...], files=..."
    config.addinivalue_line("markers", f"sandbox({options}): limits and policy of the calls of a test")
    config.addinivalue_line("markers", "sandboxed: run the body of the test in the sandbox")
    destination = config.getoption("sandbox_report")
    if destination and not hasattr(config, "workerinput"):
        from elf_pysandbox._pytest.report import Collector

        config.pluginmanager.register(Collector(destination), "sandbox-report")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a body that is marked `sandboxed` in the sandbox."""
    if pyfuncitem.get_closest_marker("sandboxed") is None:
        return None
    from elf_pysandbox._pytest.body import run_body

    run_body(pyfuncitem)
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the calls of a failed test to its report."""
    report = yield
    view = item.stash.get(_VIEW, None)
    if report.when == "call" and report.failed and view is not None and view.outcomes:
        from elf_pysandbox._pytest.report import section_of

        report.sections.append(("sandbox calls", section_of(view)))
    return report


@pytest.fixture(scope="session")
def sandbox_pool(pytestconfig: pytest.Config) -> Iterator[SandboxView]:
    """The pool of the session (one for each process of pytest-xdist)."""
    from elf_pysandbox._pytest.options import session_settings
    from elf_pysandbox._pytest.view import SandboxView

    settings = session_settings(pytestconfig)
    workers = settings["max_workers"] or _WORKERS
    with SandboxView(workers, policy=settings.policy, limits=settings.limits) as pool:
        yield pool


@pytest.fixture
def sandbox(request: pytest.FixtureRequest, sandbox_pool: SandboxView) -> Iterator[SandboxView]:
    """A view on the session's pool with the limits and policy of this test's `sandbox` markers."""
    from elf_pysandbox._pytest.options import item_settings
    from elf_pysandbox._pytest.report import PROPERTY, rows_of

    settings = item_settings(request.node)
    folders = (request.path.parent, request.config.rootpath)
    view = sandbox_pool.for_test(settings.limits, settings.policy, folders)
    request.node.stash[_VIEW] = view
    yield view
    if request.config.getoption("sandbox_report"):
        request.node.user_properties.append((PROPERTY, rows_of(view)))


@pytest.fixture
def run_tool(sandbox: SandboxView) -> Callable[..., Any]:
    """`run_tool(target, *args, **kwargs)` calls a tool in the sandbox and returns its value."""
    return sandbox.call


@pytest.fixture
def sandbox_outcome(sandbox: SandboxView) -> Callable[..., Outcome]:
    """`sandbox_outcome(target, *args, **kwargs)` calls a tool and returns how that ended; never raises."""
    return sandbox.outcome


@pytest.fixture
def tool_handler(sandbox: SandboxView) -> Any:
    """A `ToolHandler` without tools, whose calls run in this test's sandbox."""
    from elf_pysandbox import ToolHandler

    return ToolHandler(pool=sandbox)
