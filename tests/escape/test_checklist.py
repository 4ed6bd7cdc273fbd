"""Every family of attacks has its tests, and every layer its attack."""

from __future__ import annotations

import pytest

from elf_pysandbox._policy import LAYER_NAMES
from tests.escape import test_files, test_network, test_processes, test_resources, test_surroundings
from tests.escape.checklist import FAMILIES, ROOT, SELECTED, collected, matching

MODULES = (test_files, test_network, test_processes, test_resources, test_surroundings)


@pytest.fixture(scope="module")
def ids() -> list[str]:
    return collected()


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_has_its_tests(ids: list[str], family: str) -> None:
    assert [pattern for pattern in FAMILIES[family] if not matching(pattern, ids)] == []


def test_every_layer_has_an_attack_that_it_alone_stops() -> None:
    stops = {layer for module in MODULES for attack in module.ATTACKS for layer in attack.stops}
    assert stops == set(LAYER_NAMES)


def test_the_session_runs_what_the_list_was_held_against() -> None:
    session = (ROOT / "noxfile.py").read_text("utf-8").partition("def escape")[2].partition("@nox.session")[0]
    assert [path for path in SELECTED if f'"{path}"' not in session] == []
