"""Interpreters of other versions, with the project installed: `nox -s versions` names them."""

from __future__ import annotations

import os

VARIABLE = "PYSANDBOX_TEST_PYTHONS"


def other_interpreters() -> list[str]:
    """Return the paths of their executables."""
    return [path for path in os.environ.get(VARIABLE, "").split(os.pathsep) if path]
