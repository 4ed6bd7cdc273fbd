"""A pytest plugin for ELF's own tests: registers the sandbox before they run (``-p elf_plugin``)."""

from __future__ import annotations

from elf_pysandbox import SandboxPool, register_elf


def pytest_configure() -> None:
    register_elf(SandboxPool(4))
