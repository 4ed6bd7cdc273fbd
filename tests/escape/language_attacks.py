"""The attacks of `fixtures/language/attacks.txt`, as data.

Each block starts with ``#: family: name | refused | …``. Its function `trophy` returns what no tool may hold. `refused`
is the rule (or the exception of plain Python) that ends the attack in the profile `restricted`; "nothing" means that it
runs and gets None, "any" that any end but success will do. ``no control`` marks attacks on the policy's own machinery,
which plain CPython does not have; every other one must succeed there, which proves that it is an attack.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

FILE = Path(__file__).parents[2] / "fixtures/language/attacks.txt"


class Attack(NamedTuple):
    family: str
    name: str
    refused: str
    source: str
    control: bool = True
    python: tuple[int, int] = (3, 11)


def read(text: str) -> list[Attack]:
    """Parse the file's blocks."""
    return [_parse(block) for block in text.split("#: ")[1:]]


def _parse(block: str) -> Attack:
    head, _, source = block.partition("\n")
    title, refused, *rest = [part.strip() for part in head.split("|")]
    family, _, name = title.partition(": ")
    versions = [part.removeprefix("python ").split(".") for part in rest if part.startswith("python ")]
    python = (int(versions[0][0]), int(versions[0][1])) if versions else (3, 11)
    return Attack(family, name, refused, source.strip("\n") + "\n", "no control" not in rest, python)


# Too large to be written out.
GENERATED = [
    Attack("source", "a deep sum", "PSB002", "x = " + "+".join(["1"] * 40_000) + "\n", control=False),
    Attack("source", "deep unary operators", "PSB002", "x = " + "-" * 50_000 + "1\n", control=False),
    Attack("source", "a number of 5,000 digits", "SyntaxError", "x = " + "9" * 5000 + "\n", control=False),
]

ATTACKS = read(FILE.read_text("utf-8")) + GENERATED
