"""Every hint that a refusal can give works when it is followed: the source it stands under is refused with that hint,
and the source that follows it is accepted and runs.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from elf_pysandbox import Files, Limits, Policy, PythonSecurityValidator, SandboxPool
from elf_pysandbox_worker.restricted import RULES, names, published
from elf_pysandbox_worker.restricted.builtin_names import REFUSED_BUILTINS
from elf_pysandbox_worker.restricted.transformer import EXCEPT_STAR_UNSAFE

ROOT = Path(__file__).parents[2]
FILES = Files(read=("/usr/share/zoneinfo",))


class Hint(NamedTuple):
    """One hint, a source that gets it, and one that follows it; both with what they are allowed."""

    text: str
    given: str
    refused: str
    followed: str
    instead: str


def read(text: str) -> Iterator[Hint]:
    for block in text.split("#: ")[1:]:
        refused, _, instead = block.partition("#= instead")
        head, _, refused = refused.partition("\n")
        hint, _, given = head.partition(" | ")
        followed, _, instead = instead.partition("\n")
        yield Hint(hint.strip(), given.strip(), refused, followed.strip(" |"), instead)


HINTS = list(read((ROOT / "fixtures/language/hints.txt").read_text("utf-8")))


def policy(allowed: str) -> Policy:
    imports = (allowed.removeprefix("allow "),) if allowed.startswith("allow ") else ()
    return Policy(allowed_imports=imports, files=FILES if "files" in allowed else Files())


@pytest.fixture(scope="module")
def pool() -> Iterator[SandboxPool]:
    with SandboxPool(2, limits=Limits(wall_s=20, cpu_s=20)) as made:
        yield made


def refused(hint: Hint) -> str:
    return hint.refused * (501 if hint.given == "501 times" else 1)


Findings = dict[tuple[str, str], list[str]]


@pytest.fixture(scope="module")
def findings(tmp_path_factory) -> Findings:
    """The hints of the check for each source and what it is allowed: one process for all that are allowed alike."""
    folder = tmp_path_factory.mktemp("sources")
    asked = {(refused(hint), hint.given) for hint in HINTS} | {
        (hint.instead, hint.followed) for hint in HINTS
    }
    alike: dict[Policy, dict[str, tuple[str, str]]] = {}
    for number, (source, allowed) in enumerate(sorted(asked)):
        path = folder / f"{number}.py"
        path.write_text(source, "utf-8")
        alike.setdefault(policy(allowed), {})[str(path)] = (source, allowed)
    found: Findings = {}
    for options, paths in alike.items():
        validator = PythonSecurityValidator(options.allowed_imports, files_granted=bool(options.files.read))
        for path, diagnostics in validator.check_paths(paths).items():
            found[paths[path]] = [one.hint for one in diagnostics]
    return found


def verdict(pool: SandboxPool, source: str, allowed: str) -> tuple[str, str]:
    """Return how a call of the source ends: status and message."""
    runs = "def run(" in source or "\ndef run(" in source
    source += "" if runs else "\ndef run(): return None\n"
    view = pool.with_options(policy=policy(allowed), limits=Limits(wall_s=1 if allowed == "limits" else 20))
    outcome = view.outcome(view.load_source(source, "run"))
    if allowed == "usage":
        assert outcome.usage.peak_memory_mb > 0
    return outcome.status, str(outcome.error)


@pytest.mark.parametrize("hint", HINTS, ids=lambda hint: hint.text)
def test_a_source_that_is_refused_gets_the_hint(pool, findings, hint):
    if hint.given == "unsafe except star" and not EXCEPT_STAR_UNSAFE:
        pytest.skip("this interpreter has the correction")
    source = refused(hint)
    status, error = verdict(pool, source, hint.given)
    assert hint.text in findings[source, hint.given] or hint.text in error
    assert status in ("denied", "load_failed") or hint.text.startswith("Use ast.literal_eval")


@pytest.mark.parametrize("hint", HINTS, ids=lambda hint: hint.text)
def test_a_source_that_follows_the_hint_is_accepted_and_runs(pool, findings, hint):
    assert findings[hint.instead, hint.followed] == []
    assert verdict(pool, hint.instead, hint.followed) == ("ok", "None")


def test_every_hint_is_among_them():
    known = {hint.text for hint in HINTS}
    tables = {rule.hint for rule in RULES.values()} | {
        *REFUSED_BUILTINS.values(),
        *published.FORBIDDEN.values(),
        *published.USELESS.values(),
    }
    tables |= {names.refusal(name)[1] for name in names.REFUSED_WRITES}
    tables |= {hint for hint in (published.forbidden_hint("_json"),) if hint}
    assert tables - {""} - known == set()


WRITTEN_IN_PLACE = {
    "transformer.py": {
        "Use syntax of Python 3.13 or earlier.",  # no interpreter that is supported has other
        "Write `x.",
        "Match the class alone and use `if subject.",
        "Compare with `if subject == ...` instead.",
    },
    "importer.py": {"Add "},
    "namespace.py": {"Open the file by its path."},
    "views.py": {"Give the module a `__getattr__` (PEP 562)."},
}


def test_the_hints_that_are_written_where_they_are_given_are_among_them_too():
    """Each is found in its file, so that one that changes there has to change here."""
    folder = ROOT / "worker/elf_pysandbox_worker/restricted"
    for name, hints in WRITTEN_IN_PLACE.items():
        texts = [node.value for node in ast.walk(ast.parse((folder / name).read_text("utf-8")))
                 if isinstance(node, ast.Constant) and isinstance(node.value, str)]  # fmt: skip
        for hint in hints:
            assert any(text.startswith(hint) for text in texts), hint
            assert hint.startswith("Use syntax") or any(one.text.startswith(hint) for one in HINTS), hint
