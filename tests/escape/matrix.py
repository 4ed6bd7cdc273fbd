"""Attacks and the layers that stop them, each alone.

An attack is run three times and more: with none of its layers, where it must succeed (or the test would pass
with the protection off); with each of its layers alone, where it must fail in that layer's own way; and under
the default policy in a worker. A fourth time a layer only says that it holds: then the attack must get through, which
shows that taking the layer out of the program turns its column red.

A test module has one subclass of `Matrix` with its attacks.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest

from elf_pysandbox_worker.isolation import LAYERS
from elf_pysandbox_worker.isolation.context import Context, Door
from tests.isolation.driver import Position, Raised, Run, confinement, only, run

ROOT = os.geteuid() == 0
_NAMESPACES = tuple(f"{kind}_namespace" for kind in ("pid", "mount", "ipc", "uts", "network"))


class Killed(int):
    """Expected: the process was ended by this signal."""


@dataclass(frozen=True)
class Attack:
    """One thing a hostile tool tries.

    Attributes
    ----------
    name : str
    act : callable
        Returns if the attack succeeded, raises if it was stopped.
    stops : dict
        Layer -> the errno it answers with, the name of the exception, or `Killed`.
    needs : tuple of str
        Layers that are on in every trial.
    changes : dict
        Changes of the confinement (`confinement`).
    default : bool
        Whether to try it under the default policy too.
    root : bool
        Only root can do it even without any layer.
    """

    name: str
    act: Callable[[], Any]
    stops: dict[str, int | str]
    needs: tuple[str, ...] = ()
    changes: dict[str, Any] = field(default_factory=dict)
    before: Callable[[], None] | None = None
    position: Position = "template"
    default: bool = True
    root: bool = False


def prerequisites(layer: str) -> tuple[str, ...]:
    """Return the layers without which `layer` cannot be applied."""
    if layer in ("landlock", "seccomp"):
        return ("no_new_privs",)
    if layer in ("capabilities", *_NAMESPACES):
        return () if ROOT and layer != "capabilities" else ("user_namespace",)
    return ()


def try_with(attack: Attack, *layers: str, position: Position | None = None) -> Run:
    """Run the attack with only these layers and what they need."""
    names = {*attack.needs, *layers, *(need for layer in layers for need in prerequisites(layer))}
    spec = confinement(only(*names), **attack.changes)
    return run(attack.act, spec, position or attack.position, before=attack.before)


class Matrix:
    """The tests of a module's attacks.

    Attributes
    ----------
    attacks : list of Attack
    """

    attacks: ClassVar[list[Attack]] = []

    @classmethod
    def cells(cls) -> list[tuple[Attack, str]]:
        """Return each attack with each layer that stops it."""
        return [(attack, layer) for attack in cls.attacks for layer in attack.stops]

    @classmethod
    def first_of_each_layer(cls) -> list[tuple[Attack, str]]:
        """Return one attack for each layer that stops any."""
        return list({layer: (attack, layer) for attack, layer in reversed(cls.cells())}.values())

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Make one test for each attack, or for each cell."""
        if "layer" not in metafunc.fixturenames:
            metafunc.parametrize("attack", self.attacks, ids=[attack.name for attack in self.attacks])
            return
        one = metafunc.function.__name__ == "test_gets_through_a_layer_that_only_says_it_holds"
        cells = self.first_of_each_layer() if one else self.cells()
        ids = [f"{attack.name}-{layer}" for attack, layer in cells]
        metafunc.parametrize(("attack", "layer"), cells, ids=ids)

    def test_succeeds_without_its_layers(self, attack: Attack) -> None:
        check_control(attack)

    def test_is_stopped_by_each_layer_alone(self, attack: Attack, layer: str) -> None:
        check_stopped(attack, layer)

    def test_gets_through_a_layer_that_only_says_it_holds(
        self, attack: Attack, layer: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        check_pretended(attack, layer, monkeypatch)

    def test_fails_under_the_default_policy(self, attack: Attack) -> None:
        check_default(attack)


def check_control(attack: Attack) -> None:
    """The attack succeeds where none of its layers holds."""
    if attack.root and not ROOT:
        pytest.skip("only root can do this even unconfined")
    result = try_with(attack)
    assert result.missing is None
    assert not isinstance(result.value, Raised), f"stopped without {list(attack.stops)}: {result.value}"
    assert result.status == 0


def check_stopped(attack: Attack, layer: str) -> None:
    """The layer alone stops the attack, in its own way."""
    if attack.root and not ROOT:
        pytest.skip("only root can do this even unconfined")
    result = try_with(attack, layer)
    if result.missing is not None and not result.reports.get(layer):
        pytest.skip(f"this host lacks the layer {layer}: {result.missing[1]}")
    assert result.missing is None
    expected = attack.stops[layer]
    if isinstance(expected, Killed):
        assert result.value is None
        assert result.status == int(expected)
    else:
        assert isinstance(result.value, Raised), f"{layer} let it through: {result.value!r}"
        assert expected in (result.value.errno, result.value.type), result.value


def check_pretended(attack: Attack, layer: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The attack succeeds where the layer reports that it holds and does nothing."""
    if attack.root and not ROOT:
        pytest.skip("only root can do this even unconfined")

    def pretend(self: object, context: Context, door: Door) -> str:
        # What the others take from it is kept right; only the kernel hears nothing.
        while context.cgroup_joins:
            os.close(context.cgroup_joins.pop())
        return "pretended"

    (real,) = (one for one in LAYERS if one.name == layer)
    monkeypatch.setattr(real, "apply", pretend.__get__(real), raising=False)
    result = try_with(attack, layer)
    if result.missing is not None:
        pytest.skip(f"this host lacks the layer {layer}: {result.missing[1]}")
    assert result.reports[layer].detail == "pretended"
    assert not isinstance(result.value, Raised), f"something else than {layer} stops it: {result.value}"
    assert result.status == 0


def check_default(attack: Attack) -> None:
    """The attack fails in a worker under the default policy."""
    if not attack.default:
        pytest.skip("what it is about exists only in the template")
    spec = confinement(**attack.changes)
    result = run(attack.act, spec, "worker", before=attack.before)
    assert result.missing is None
    if not any(result.reports[layer].held for layer in attack.stops):
        pytest.skip(f"this host lacks every layer that stops it: {', '.join(attack.stops)}")
    assert isinstance(result.value, Raised) or result.status != 0, f"succeeded: {result.value!r}"
