"""The profile of a tool: measured, read, shown as text, as a speedscope file and as a page."""

from __future__ import annotations

import html
import json
import re
from dataclasses import replace

import jsonschema
import pytest
from click.testing import CliRunner

from elf_pysandbox import Limits, SandboxFaultError
from elf_pysandbox._cli import main
from elf_pysandbox._profile import measure, page, speedscope, text
from elf_pysandbox._profile.model import Distribution, Frame, Report, Stack
from tests.kit.browser import ARTIFACTS, needs_chromium, open_page

MODULE = "fixtures/kit/hot.py"

# What https://www.speedscope.app/file-format-schema.json asks of a file with sampled profiles.
SCHEMA = {
    "type": "object",
    "required": ["$schema", "profiles", "shared"],
    "properties": {
        "$schema": {"const": "https://www.speedscope.app/file-format-schema.json"},
        "activeProfileIndex": {"type": "number"},
        "exporter": {"type": "string"},
        "name": {"type": "string"},
        "profiles": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["endValue", "name", "samples", "startValue", "type", "unit", "weights"],
                "properties": {
                    "type": {"const": "sampled"},
                    "unit": {
                        "enum": ["bytes", "microseconds", "milliseconds", "nanoseconds", "none", "seconds"]
                    },
                    "name": {"type": "string"},
                    "startValue": {"type": "number"},
                    "endValue": {"type": "number"},
                    "samples": {"type": "array", "items": {"type": "array", "items": {"type": "number"}}},
                    "weights": {"type": "array", "items": {"type": "number"}},
                },
            },
        },
        "shared": {
            "type": "object",
            "required": ["frames"],
            "properties": {
                "frames": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["name"],
                        "properties": {
                            "col": {"type": "number"},
                            "file": {"type": "string"},
                            "line": {"type": "number"},
                            "name": {"type": "string"},
                        },
                    },
                }
            },
        },
    },
}


@pytest.fixture(scope="module")
def analysed(native_pool):
    return measure.profile(native_pool, native_pool.load(f"{MODULE}:analyse"), [400_000], repeat=3)


def test_the_hot_function_and_its_line_come_first(analysed):
    assert analysed.mode == "sample"
    assert analysed.functions()[0][0].name == "hot"
    file, line, _ = analysed.lines()[0]
    assert analysed.source(file, line) in ("total += i * i % 7", "for i in range(n):")


def test_the_phases_of_each_call_add_up_to_its_total(analysed):
    phases = analysed.phases
    parts = [phases.prepare, phases.queue, phases.carry, phases.run]
    assert sum(sum(part.values) for part in parts) == pytest.approx(sum(phases.total.values), rel=0.05)


def test_a_call_too_slow_to_follow_its_allocations_is_profiled_without_them(native_pool):
    pool = native_pool.with_options(limits=Limits(wall_s=60, cpu_s=2))
    found = measure.profile(pool, pool.load(f"{MODULE}:analyse"), [3_000_000], repeat=1)
    assert found.functions()[0][0].name == "hot"
    assert "ended 'cpu_limit'" in text.render(found)


def test_a_tool_too_short_to_sample_is_traced(native_pool):
    found = measure.profile(native_pool, native_pool.load(f"{MODULE}:tiny"), [1, 2], repeat=2)
    assert found.mode == "trace"
    assert found.functions()[0][0].name == "tiny"


def test_a_distribution_tells_percentiles_by_nearest_rank_and_counts_every_value():
    values = Distribution.of([float(i) for i in range(100, 0, -1)])
    assert [values.percentile(p) for p in (50, 90, 99, 100)] == [50.0, 90.0, 99.0, 100.0]
    assert sum(count for _, _, count in values.histogram()) == 100
    assert Distribution.of([]).percentile(50) == 0.0
    assert sum(count for _, _, count in Distribution.of([1.0, 1.0]).histogram()) == 2


@pytest.mark.parametrize(
    ("value", "shown"), [(2.5, "2.5 s"), (0.0123, "12.3 ms"), (4.2e-5, "42 µs"), (1234, "1234 s")]
)
def test_a_duration_is_shown_with_three_digits_and_its_unit(value, shown):
    assert text.seconds(value) == shown


def test_the_text_names_the_hot_function_first_and_the_memory_by_line(analysed):
    shown = text.render(analysed)
    table = shown.partition("Hottest functions\n")[2].splitlines()
    assert re.match(r" +\d+\.\d% +\d+\.\d%  hot  hot\.py:7", table[1])
    assert re.search(r"^total +[\d.]+ [mµ]?s", shown, re.MULTILINE)


def test_the_speedscope_file_is_valid_by_its_schema_and_its_weights_sum_up(analysed):
    document = speedscope.document(analysed)
    jsonschema.validate(document, SCHEMA)
    profile = document["profiles"][0]
    assert len(profile["samples"]) == len(profile["weights"])
    assert sum(profile["weights"]) == pytest.approx(profile["endValue"])
    first = [document["shared"]["frames"][index]["name"] for index in profile["samples"][0]]
    assert first == ["analyse", "hot"]


@needs_chromium
def test_the_page_opens_in_a_browser_and_shows_the_hot_function(analysed, tmp_path):
    file = tmp_path / "flame.html"
    file.write_text(page.render_page(analysed), encoding="utf-8")
    document = open_page(file, tmp_path, screenshot="flame.png")
    assert 'data-drawn="yes"' in document
    names = re.findall(r'<g data-name="([^"]+)"', document)
    assert names[:3] == ["hot:analyse", "analyse", "hot"]
    assert (ARTIFACTS / "flame.png").stat().st_size > 5000


@needs_chromium
def test_a_name_that_is_markup_is_shown_as_text_and_never_run(analysed, tmp_path):
    evil = Frame("</script><script>document.title='owned'</script><img src=x onerror=alert(1)>", "x.py", 1)
    hostile = replace(
        analysed, stacks=(Stack(((evil, 1),), 1.0),), target="</title><script>alert(1)</script>"
    )
    file = tmp_path / "evil.html"
    file.write_text(page.render_page(hostile), encoding="utf-8")
    document = open_page(file, tmp_path)
    assert 'data-drawn="yes"' in document
    assert "<title>owned" not in document
    assert "<img" not in document


def test_the_page_needs_nothing_from_elsewhere(analysed):
    shown = page.render_page(analysed)
    assert re.findall(r"(?:src|href)\s*=.*", shown) == []
    assert "default-src 'none'" in html.unescape(shown)


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        {"frames": [], "stacks": [[[[0, 1]], 1.0]]},
        {"frames": [["f", "x", 1]], "stacks": [[[[-1, 1]], 1.0]]},
        {"frames": [["f", "x", 1]], "stacks": [[[[0, 1]], float("nan")]]},
        {"frames": [["f", "x"]], "stacks": []},
        {"frames": [[1, "x", 1]], "stacks": []},
        {"frames": "no", "stacks": []},
        {"frames": [["f", "x", 1]], "stacks": [[[[0, 1, 2]], 1.0]]},
    ],
    ids=str,
)
def test_a_report_that_the_tool_has_changed_is_a_fault_with_its_reason(value):
    with pytest.raises(SandboxFaultError, match="cannot be read"):
        list(Report(value).stacks())


def test_the_command_writes_all_three_forms(tmp_path):
    flame, scope = tmp_path / "f.html", tmp_path / "f.json"
    options = ["--profile", "native", "--repeat", "2", "--html", str(flame), "--speedscope", str(scope)]
    shown = CliRunner().invoke(main, ["profile", f"{MODULE}:analyse", "--args", "[300000]", *options])
    assert shown.exit_code == 0, shown.output
    assert "Hottest functions" in shown.output
    assert flame.read_text(encoding="utf-8").startswith("<!doctype html>")
    jsonschema.validate(json.loads(scope.read_text()), SCHEMA)


def test_the_command_ends_as_the_call_does_when_the_tool_raises():
    shown = CliRunner().invoke(main, ["profile", f"{MODULE}:fail", "--args", "[1]", "--profile", "native"])
    assert shown.exit_code == 1
    assert "ZeroDivisionError" in shown.output
