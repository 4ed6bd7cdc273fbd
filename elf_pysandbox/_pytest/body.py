"""Tests whose own body runs confined (`@pytest.mark.sandboxed`)."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import Any

import pytest

from elf_pysandbox import CallError, Outcome, Sibling
from elf_pysandbox._pytest.view import SandboxView

_ALWAYS = ("pytest", "_pytest")
"""What a test module imports for its marks; the kernel layers hold it as any other package."""


def run_body(function: pytest.Function) -> None:
    """Run the body of a test in the sandbox, with the values of its fixtures; end as it ends."""
    name = getattr(function, "originalname", function.name)
    if function.cls is not None or "<locals>" in function.obj.__qualname__:
        pytest.fail("the sandboxed marker is for test functions of a module, not for methods", pytrace=False)
    names = function._fixtureinfo.argnames
    arguments = {each: function.funcargs[each] for each in names}
    sandbox: SandboxView = function._request.getfixturevalue("sandbox")
    policy = sandbox.policy
    if policy.profile == "restricted":
        extended = dict.fromkeys((*policy.allowed_imports, *_ALWAYS))
        sandbox = sandbox.with_options(policy=replace(policy, allowed_imports=tuple(extended)))
    tool = sandbox.load(f"{function.path}:{name}", python_path=_project_folders())
    siblings = (*tool.context.siblings, *_stand_ins())
    tool = replace(tool, context=replace(tool.context, siblings=siblings))
    outcome = sandbox.outcome(tool, **arguments)
    sys.stdout.write(outcome.stdout)
    sys.stderr.write(outcome.stderr)
    if not outcome.ok:
        _end_as(outcome)


_PACKAGE = b"""
def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)

    class Elsewhere(Exception):
        pass

    return Elsewhere
"""
_TESTING = """
def {name}(*args, **kwargs):
    raise RuntimeError("{name} makes calls: use it in a test that is not marked sandboxed")
"""


def _stand_ins() -> tuple[Sibling, ...]:
    """Return modules under this package's name, so that a test module that imports it for other tests loads."""
    from elf_pysandbox import testing

    helpers = "".join(_TESTING.format(name=name) for name in testing.__all__)
    return (
        Sibling("elf_pysandbox", "<elf_pysandbox in the sandbox>", _PACKAGE, is_package=True),
        Sibling("elf_pysandbox.testing", "<elf_pysandbox.testing in the sandbox>", helpers.encode()),
    )


def _project_folders() -> list[str]:
    """Return the folders of the project's own modules: what is on the path and holds no installed packages."""
    own = []
    for entry in dict.fromkeys(os.path.abspath(entry) for entry in sys.path):
        installed = "site-packages" in entry or "dist-packages" in entry
        if not installed and os.path.isdir(entry) and not entry.startswith((sys.prefix, sys.base_prefix)):
            own.append(entry)
    return own


def _end_as(outcome: Outcome) -> Any:
    error = outcome.error
    info = error.info if isinstance(error, CallError) else None
    # By where they were raised: their classes call themselves builtins.
    if info is not None and info.traceback and info.traceback[-1].file.endswith("_pytest/outcomes.py"):
        if info.type == "Skipped":
            pytest.skip(info.message)
        if info.type == "XFailed":
            pytest.xfail(info.message)
    if info is not None and outcome.status == "raised":
        pytest.fail(f"in the sandbox:\n{info.format()}", pytrace=False)
    pytest.fail(f"the body of the test ended {outcome.status!r} in the sandbox: {error}", pytrace=False)
