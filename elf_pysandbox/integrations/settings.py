"""A node's settings as a view on a pool: its limits and policy over the pool's own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from elf_pysandbox._limits import Limits
from elf_pysandbox._policy import Files, Policy

if TYPE_CHECKING:
    from elf_pysandbox._pool import SandboxPool
    from elf_pysandbox.config.models import Settings


def limits_of(settings: Settings, base: Limits) -> Limits:
    """Return the pool's limits with those a node names."""
    named: dict[str, Any] = {}
    if settings.timeout is not None:
        # A busy tool given more time than the CPU limit would end at that instead.
        named = {"wall_s": settings.timeout, "cpu_s": max(base.cpu_s, settings.timeout)}
    if settings.cpu_limit is not None:
        named["cpu_s"] = settings.cpu_limit
    if settings.memory_limit_mb is not None:
        named["memory_mb"] = settings.memory_limit_mb
    return replace(base, **named) if named else base


def policy_of(settings: Settings, base: Policy) -> Policy:
    """Return the pool's policy with what a node is granted beside it."""
    named: dict[str, Any] = {}
    if settings.profile is not None:
        named["profile"] = settings.profile
    if settings.allowed_imports:
        named["allowed_imports"] = _both(base.allowed_imports, settings.allowed_imports)
    if settings.env:
        named["env"] = _both(base.env, settings.env)
    if settings.files is not None:
        named["files"] = Files(
            read=_both(base.files.read, settings.files.read),
            write=_both(base.files.write, settings.files.write),
            scratch_mb=settings.files.scratch_mb or base.files.scratch_mb,
        )
    return replace(base, **named) if named else base


def view_of(pool: SandboxPool, settings: Settings) -> SandboxPool:
    """Return a view on `pool` for a node's calls."""
    return pool.with_options(limits=limits_of(settings, pool.limits), policy=policy_of(settings, pool.policy))


def _both(ours: tuple[str, ...], theirs: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*ours, *theirs)))
