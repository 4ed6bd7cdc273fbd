"""Every rule has a page; what the page says is refused is, and the way out that it shows works."""

from __future__ import annotations

import ast
import json
import pathlib
import re
import subprocess
import sys
from typing import Any

import pytest

from elf_pysandbox_worker.restricted import RULES, published
from elf_pysandbox_worker.restricted.transformer import EXCEPT_STAR_UNSAFE, PolicyTransformer

PAGE = pathlib.Path(__file__).parents[2] / "docs/rules.md"
SECTION = re.compile(r"^## (PSB\d+) (.*?)$\n(.*?)(?=^## PSB|^# What else|\Z)", re.MULTILINE | re.DOTALL)
BLOCK = re.compile(r"```python ?([^\n]*)\n(.*?)```", re.DOTALL)
SECTIONS = {
    rule: (title, BLOCK.findall(text)) for rule, title, text in SECTION.findall(PAGE.read_text("utf-8"))
}

# One process for each example: a process holds one tool.
RUN = """
import json, sys
from elf_pysandbox_worker import restricted
from elf_pysandbox_worker.wire.messages import Bundle, SourceFile
request = json.load(sys.stdin)
try:
    restricted.load(Bundle("tool", [SourceFile("tool", "tool.py", request["source"].encode())]), **request["options"])
    answer = ["ok", ""]
except restricted.PolicyDenied as denied:
    answer = ["denied", " ".join(found.rule for found in denied.diagnostics)]
except BaseException as error:
    answer = [type(error).__name__, str(error)]
print(json.dumps(answer))
"""


def load(source: str, info: str = "") -> list[str]:
    options: dict[str, Any] = {"files_granted": "files_granted" in info}
    options["allowed_imports"] = re.findall(r"allow=(\S+)", info)
    ended = subprocess.run(
        [sys.executable, "-c", RUN],
        input=json.dumps({"source": source, "options": options}),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(ended.stdout.splitlines()[-1])


def test_each_rule_has_a_section_with_its_title_and_two_examples():
    assert {rule: title for rule, (title, _) in SECTIONS.items()} == {
        id: rule.title for id, rule in RULES.items()
    }
    assert {rule: len(blocks) for rule, (_, blocks) in SECTIONS.items()} == dict.fromkeys(RULES, 2)


@pytest.mark.parametrize("rule", RULES)
def test_what_a_rule_says_is_refused_is_refused_by_that_rule(rule):
    info, source = SECTIONS[rule][1][0]
    if info == "unsafe_except_star" and not EXCEPT_STAR_UNSAFE:
        pytest.skip("this interpreter has the correction")
    status, said = load(source * (501 if rule == "PSB004" else 1))
    if rule in ("PSB001", "PSB003"):
        assert status == "SyntaxError"
    elif rule == "PSB104":
        assert (status, said) == ("denied", "PSB201")
    elif rule == "PSB002":
        assert status in ("SyntaxError", "denied")
    else:
        assert status == "denied"
        assert rule in said


def test_a_node_type_that_nobody_knows_is_refused():
    class NewSyntax(ast.expr):
        pass

    transformer = PolicyTransformer()
    transformer.visit(ast.Module([ast.Expr(NewSyntax())], []))
    assert [found.rule for found in transformer.findings] == ["PSB001"]
    assert all("3.13" in found.hint for found in transformer.findings)


@pytest.mark.parametrize("rule", RULES)
def test_the_way_out_of_a_rule_loads_and_runs(rule):
    info, source = SECTIONS[rule][1][1]
    assert load(source, info) == ["ok", ""]


def test_what_the_hints_of_forbidden_modules_name_can_be_had():
    hints = " ".join(published.FORBIDDEN.values())
    named = set(re.findall(r"\b([a-z_]+(?:\.[A-Za-z_]+)+)\b", hints))
    modules = {name for name in published.DEFAULT if re.search(rf"\bUse {re.escape(name)}\b", hints)}
    lines = [f"import {name}" for name in modules]
    for name in named:
        module, _, attribute = name.rpartition(".")
        assert module in published.DEFAULT, name
        lines.append(f"from {module} import {attribute}")
    assert len(lines) > 8
    assert load("\n".join(lines)) == ["ok", ""]
