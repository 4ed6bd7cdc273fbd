"""Which tests stand for each family of attacks: family -> patterns of test ids (`fnmatch`), each of which must match.

`test_checklist` holds this against what pytest collects; ``python -m tests.escape.checklist`` prints it.
"""

from __future__ import annotations

import fnmatch
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SELECTED = (
    "tests/escape",
    "tests/isolation",
    "tests/restricted/test_walk.py",
    "tests/restricted/test_check_process.py",
)
"""What `nox -s escape` runs."""

_POLICY = "*test_an_attack_is_refused_by_its_rule_or_gets_nothing_under_the_policy*"
_PLAIN = "*test_the_same_attack_succeeds_without_the_policy_and_the_kernel_still_contains_it*"


def _language(family: str, name: str = "*") -> list[str]:
    """Return the patterns of attacks with the policy on, and off."""
    return [f"{_POLICY}[[]{family}: {name}", f"{_PLAIN}[[]{family}: {name}"]


def _cells(module: str, attack: str) -> list[str]:
    """Return the patterns of an attack without its layers, with each, and by default."""
    tests = (
        "succeeds_without_its_layers",
        "is_stopped_by_each_layer_alone",
        "fails_under_the_default_policy",
    )
    return [f"*/test_{module}.py::*::test_{test}[[]{attack}*" for test in tests]


OPERATING_SYSTEM = {
    "files": [
        *_cells("files", "read a file"),
        *_cells("files", "write to a file"),
        *_cells("files", "follow a planted link"),
    ],
    "/proc": [
        *_cells("files", "read its own memory map"),
        *_cells("files", "read the environment of the host program"),
    ],
    "ptrace": [*_cells("processes", "trace a process"), *_cells("processes", "read the memory of the host")],
    "signals to parent, siblings and zygote": [
        *_cells("processes", "signal a thread of the host"),
        *_cells("processes", "find a process of the host"),
        "*test_a_worker_signals_neither_its_template_nor_a_sibling*",
        "*test_a_tool_signals_neither_host_nor_zygote_nor_keeper_nor_parent",
        "*test_without_the_layers_it_finds_them_all",
    ],
    "every socket family": [
        "*test_no_socket_of_any_family_is_had_and_each_is_refused_by_the_filter",
        *_cells("network", "connect to"),
        *_cells("network", "send the host a datagram"),
    ],
    "exec": _cells("processes", "start a program"),
    "fork bomb": _cells("processes", "fork bomb"),
    "thread bomb": _cells("resources", "thread bomb"),
    "memory fill": [*_cells("resources", "fill memory"), *_cells("resources", "fill shared memory")],
    "disk fill": [
        "*test_scratch_is_full_at_its_size",
        "*test_scratch_is_full_at_its_number_of_files",
        "*test_a_file_ends_at_its_size",
    ],
    "descriptor scans": [
        *_cells("surroundings", "write to what the host has open"),
        "*test_a_worker_sees_no_descriptor_but_its_own_channel",
        "*test_nothing_is_open_but_the_null_device_and_the_channel",
    ],
    "forged and truncated frames": [
        "*test_a_broken_protocol_ends_the_call_as_crashed_and_the_pool_serves_on*",
        "*test_a_truncated_frame_and_a_dead_worker_is_a_crash",
    ],
    "forged results for other calls": ["*test_a_result_for_another_call_is_not_given_to_it"],
    "endless output": [
        "*test_endless_output_ends_at_its_limit*",
        "*test_an_endless_stream_is_read_as_fast_as_it_is_taken*",
    ],
    "result that lies": [
        "*test_a_call_answered_twice_has_one_outcome",
        "*test_a_template_that_lies_ends_its_own_calls_only*",
        "*crashed_and_the_pool_serves_on[[]a message with wrong types*",
    ],
    "stuck and stopped processes": [
        "*test_a_stuck_worker_is_ended_from_outside*",
        "*from_outside[[]stopping itself*",
    ],
    "survivors": [
        "*test_nothing_outlives_its_template*",
        "*test_killing_the_keeper_ends_template_and_workers*",
    ],
    "state left for the next call": [
        "*test_nothing_a_call_does_is_there_in_the_next*",
        "*test_memory_of_no_file_that_a_module_would_share_with_its_calls_is_refused*",
        "*share memory by a device*",
        "*test_with_several_calls_a_worker_marks_do_stay_so_the_test_above_sees_them",
    ],
}

LANGUAGE = {
    "attribute walks": _language("attributes"),
    "format": _language("format"),
    "frames": _language("frames"),
    "tracebacks": _language("frames", "a traceback's frame*"),
    "exceptions' obj": _language("exceptions", "AttributeError.obj*"),
    "match": _language("match"),
    "decorators": _language("decorators"),
    "metaclasses": _language("metaclasses"),
    "__set_name__": _language("metaclasses", "__set_name__*"),
    "annotations": _language("annotations"),
    "walrus scopes": _language("scopes", "a walrus that keeps*"),
    "guard tampering": _language("guards"),
    "facade walks for every default module": [
        "*test_no_path_from_a_default_module_reaches_what_is_not_published[[]json]",
        "*test_the_same_walk_of_the_real_module_finds_a_way_out*",
        *_language("imports", "a module inside a module*"),
    ],
    "unicode identifiers": _language("attributes", "a name in full-width letters*"),
    "cookies": _language("source", "code hidden*"),
    "deep nesting": [
        f"*test_huge_source_ends_as_an_outcome*[[]deep brackets-{p}]" for p in ("restricted", "native")
    ],
    "huge literals": [
        f"*test_huge_source_ends_as_an_outcome*[[]a list of*-{p}]" for p in ("restricted", "native")
    ],
    "libraries": _language("libraries"),
    "paths and the event loop": [
        "*test_the_kernel_stops_what_the_policy_publishes*",
        "*test_without_the_layers_it_succeeds_under_the_same_policy*",
    ],
    "the process that checks": [
        "*test_a_parser_that_was_taken_over_reaches_nothing",
        "*test_without_the_layers_the_same_acts_succeed",
    ],
}

FAMILIES = OPERATING_SYSTEM | LANGUAGE


def collected() -> list[str]:
    """Return the ids of all tests that `nox -s escape` runs."""
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *SELECTED]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [line for line in ended.stdout.splitlines() if "::" in line]


def matching(pattern: str, ids: list[str]) -> list[str]:
    """Return the ids that a pattern stands for."""
    return [one for one in ids if fnmatch.fnmatchcase(one, pattern)]


if __name__ == "__main__":
    everything = collected()
    for family, patterns in FAMILIES.items():
        found = sorted({one for pattern in patterns for one in matching(pattern, everything)})
        print(f"{family}: {len(found)}")
        for one in found:
            print(f"    {one}")
