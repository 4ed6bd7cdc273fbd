"""The same verdicts on every supported interpreter: each one is held to the same recorded file.

`python3.13 -m tests.restricted.test_verdicts` writes the file anew: the newest one, which has all syntax.
"""

from __future__ import annotations

import gzip
import json
import pathlib
import re
import sys

from elf_pysandbox_worker.restricted.checking import check
from elf_pysandbox_worker.restricted.transformer import EXCEPT_STAR_UNSAFE
from tests.escape.language_attacks import ATTACKS

ROOT = pathlib.Path(__file__).parents[2]
RECORDED = ROOT / "fixtures/language/verdicts.json"

# What differs by interpreter, and why: nothing but syntax that came later, and a defect that was corrected.
LATER_SYNTAX = {
    f"attack {attack.family}: {attack.name}": attack.python for attack in ATTACKS if attack.python > (3, 11)
}


def sources() -> dict[str, str]:
    found = {f"attack {attack.family}: {attack.name}": attack.source for attack in ATTACKS}
    page = (ROOT / "docs/rules.md").read_text("utf-8")
    blocks = re.findall(r"^```python[^\n]*\n(.*?)```", page, re.MULTILINE | re.DOTALL)
    found |= {f"rules.md {number}": block for number, block in enumerate(blocks)}
    with gzip.open(ROOT / "tests/data/HumanEval.jsonl.gz", "rt", encoding="utf-8") as lines:
        for problem in map(json.loads, lines):
            found[problem["task_id"]] = problem["prompt"] + problem["canonical_solution"]
    return found


def verdicts() -> dict[str, list[str]]:
    """Return the rules and severities that each source meets, in source order."""
    return {
        name: [f"{d.rule} {d.severity}" for d in check(source.encode())] for name, source in sources().items()
    }


def expected_here(name: str, recorded: list[str]) -> list[str] | None:
    """Return what this interpreter must say; None where a listed reason lets it differ."""
    if sys.version_info < LATER_SYNTAX.get(name, (3, 11)):
        return None
    if not EXCEPT_STAR_UNSAFE and any(line.startswith("PSB401") for line in recorded):
        return [line for line in recorded if not line.startswith("PSB401")]
    return recorded


def test_every_interpreter_gives_the_recorded_verdicts():
    recorded = json.loads(RECORDED.read_text("utf-8"))
    here = verdicts()
    assert here.keys() == recorded.keys()
    expected = {name: expected_here(name, lines) for name, lines in recorded.items()}
    different = {
        name: (here[name], lines) for name, lines in expected.items() if lines not in (None, here[name])
    }
    assert different == {}


if __name__ == "__main__":
    RECORDED.write_text(json.dumps(verdicts(), indent=1, ensure_ascii=False, sort_keys=True) + "\n", "utf-8")
