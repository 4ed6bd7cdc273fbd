"""What a saved tool asks for, and how much of it the pool that loads it grants.

Decided here and nowhere else: a saved set grants nothing. It says under which policy and limits its tools were
used; where it is loaded, a tool gets of that what the pool there permits, and never more. What it does not get is
told, and stays in the set when that is saved again.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from elf_pysandbox._errors import ConfigurationError
from elf_pysandbox._limits import Limits
from elf_pysandbox._policy import DEFAULT_LAYERS, Files, Policy

if TYPE_CHECKING:
    from elf_pysandbox._policy import LayerMode

_RANKS = ("off", "prefer", "require")


@dataclass(frozen=True)
class Wishes:
    """The policy and limits of one tool, as they were when it was saved; None for what was the pool's."""

    policy: Policy | None = None
    limits: Limits | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the wishes as JSON types."""
        policy = self.policy
        return {
            "limits": None if self.limits is None else asdict(self.limits),
            "policy": None
            if policy is None
            else {
                "profile": policy.profile,
                "allowed_imports": list(policy.allowed_imports),
                "read": list(policy.files.read),
                "write": list(policy.files.write),
                "scratch_mb": policy.files.scratch_mb,
                "env": list(policy.env),
                "calls_per_worker": policy.calls_per_worker,
                "layers": dict(sorted(policy.layers.items())),
            },
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Wishes | None:
        """Read what `to_dict` made; None when there are no wishes.

        Raises
        ------
        ConfigurationError
            No policy or limits can be made of it.
        """
        limits, policy = data.get("limits"), data.get("policy")
        if limits is None and policy is None:
            return None
        try:
            return cls(
                None if policy is None else _policy(policy), None if limits is None else Limits(**limits)
            )
        except (TypeError, KeyError, AttributeError) as error:
            raise ConfigurationError(
                f"its saved limits or policy are not what this release knows: {error}"
            ) from None


def _policy(data: Mapping[str, Any]) -> Policy:
    rest = dict(data)
    files = Files(tuple(rest.pop("read")), tuple(rest.pop("write")), rest.pop("scratch_mb"))
    imports, env = tuple(rest.pop("allowed_imports")), tuple(rest.pop("env"))
    return Policy(allowed_imports=imports, env=env, files=files, **rest)


@dataclass(frozen=True)
class Granted:
    """What came of wishes.

    Attributes
    ----------
    policy, limits : Policy, Limits or None
        What the tool gets; None leaves it to the pool.
    withheld : tuple of str
        What it asked for and does not get.
    """

    policy: Policy | None
    limits: Limits | None
    withheld: tuple[str, ...] = ()


def grant(wishes: Wishes, policy: Policy, limits: Limits) -> Granted:
    """Grant of a tool's wishes what a pool's own policy and limits hold already."""
    withheld: list[str] = []
    given = None if wishes.policy is None else _policy_within(wishes.policy, policy, limits, withheld)
    return Granted(given, _limits_within(wishes.limits, limits, withheld), tuple(withheld))


def _limits_within(wish: Limits | None, most: Limits, withheld: list[str]) -> Limits | None:
    if wish is None:
        return None
    values: dict[str, Any] = {}
    for spec in fields(Limits):
        asked, there = getattr(wish, spec.name), getattr(most, spec.name)
        values[spec.name] = min(asked, there)
        if asked > there:
            withheld.append(f"{spec.name} {asked} ({there} here)")
    return Limits(**values)


def _policy_within(wish: Policy, most: Policy, limits: Limits, withheld: list[str]) -> Policy:
    native = wish.profile == "native" == most.profile
    if wish.profile == "native" and not native:
        withheld.append("profile native")
    imports = wish.allowed_imports
    if most.profile != "native":
        imports = _kept("import", wish.allowed_imports, lambda name: _below(name, most), withheld)
    scratch = min(wish.files.scratch_mb, most.files.scratch_mb or limits.scratch_mb)
    if scratch < wish.files.scratch_mb:
        withheld.append(f"scratch_mb {wish.files.scratch_mb} ({scratch} here)")
    roots = tuple(map(os.path.realpath, most.files.write))
    read = _paths("read", wish.files.read, (*roots, *map(os.path.realpath, most.files.read)), withheld)
    write = _paths("write", wish.files.write, roots, withheld)
    return Policy(
        profile="native" if native else "restricted",
        allowed_imports=imports,
        files=Files(read, write, scratch),
        env=_kept("env", wish.env, most.env.__contains__, withheld),
        calls_per_worker=min(wish.calls_per_worker, most.calls_per_worker),
        layers=_stronger(wish.layers, most.layers),
    )


def _kept(kind: str, names: Iterable[str], permitted: Any, withheld: list[str]) -> tuple[str, ...]:
    kept = []
    for name in names:
        if permitted(name):
            kept.append(name)
        else:
            withheld.append(f"{kind} {name}")
    return tuple(kept)


def _below(module: str, most: Policy) -> bool:
    return any(module == known or module.startswith(known + ".") for known in most.allowed_imports)


def _paths(kind: str, paths: Iterable[str], roots: tuple[str, ...], withheld: list[str]) -> tuple[str, ...]:
    """Keep what lies at or below a granted path, links followed: a link there may lead anywhere."""
    found = []
    for path in paths:
        real = os.path.realpath(path)
        if any(real == root or real.startswith(root.rstrip("/") + "/") for root in roots):
            found.append(real)
        else:
            withheld.append(f"{kind} {path}")
    return tuple(found)


def _stronger(wish: Mapping[str, LayerMode], most: Mapping[str, LayerMode]) -> dict[str, LayerMode]:
    """A set may ask for more confinement than the pool's, and never for less."""
    layers = dict(most)
    for name, mode in wish.items():
        held = most.get(name, DEFAULT_LAYERS[name])
        if _RANKS.index(mode) > _RANKS.index(held):
            layers[name] = mode
    return layers
