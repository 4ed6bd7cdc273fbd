"""Ordinary programs run unchanged: the 164 reference solutions of HumanEval pass their own checks, through the pool."""

from __future__ import annotations

import gzip
import json
import pathlib

from elf_pysandbox import Policy, SandboxPool

DATA = pathlib.Path(__file__).parents[1] / "data/HumanEval.jsonl.gz"


def test_all_reference_solutions_pass_their_own_check_in_the_restricted_profile():
    with gzip.open(DATA, "rt", encoding="utf-8") as lines:
        problems = [json.loads(line) for line in lines]
    assert len(problems) == 164
    failed = {}
    with SandboxPool(2, policy=Policy(profile="restricted")) as pool:
        for problem in problems:
            source = f"{problem['prompt']}{problem['canonical_solution']}\n{problem['test']}\n"
            source += f"def run():\n    check({problem['entry_point']})\n    return 'passed'\n"
            outcome = pool.outcome(pool.load_source(source, "run"))
            if (outcome.status, outcome.value) != ("ok", "passed"):
                failed[problem["task_id"]] = outcome.status, str(outcome.error)
    assert failed == {}
