"""The interpreter's code moves into huge pages unnoticed, or stays where it is."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from elf_pysandbox import SandboxPool
from tests.pool import huge_pages

_START = """
maps = lambda: [line for line in Path("/proc/self/maps").read_text().splitlines() if "ython" in line]
"""

needs_huge_pages = huge_pages.needs_huge_pages(6, 1)


def _run(code: str) -> str:
    return huge_pages.run(_START, code)


def _huge_and_executable(smaps: str) -> int:
    """Return how many KiB of executable anonymous huge pages a process has (proc_pid_smaps(5))."""
    found, executable = 0, False
    for line in smaps.splitlines():
        key, *rest = line.split()
        if not key.endswith(":"):
            executable = "r-xp" in rest
        elif executable and key == "AnonHugePages:":
            found += int(rest[0])
    return found


@needs_huge_pages
def test_code_that_was_moved_has_its_addresses_and_contents_and_runs_on_in_threads_and_forks() -> None:
    printed = _run("""
        def contents():
            start, end = place
            return hashlib.sha256(ctypes.string_at(start, end - start)).hexdigest()
        def work():
            while not done.is_set():
                counted[0] += sum(map(int, "123")) == 6
        place, done, counted = hugetext._code(), threading.Event(), [0]
        before = contents()
        thread = threading.Thread(target=work); thread.start()
        moved = hugetext.settle()
        done.set(); thread.join()
        try:
            {}["missing"]
        except KeyError as error:
            caught = str(error)
        pid = os.fork()
        if pid == 0:
            os._exit(sorted([3, 1, 2])[2])
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        print(moved, contents() == before, counted[0] > 0, caught, status, hugetext.settle())
        print(Path("/proc/self/smaps").read_text())
    """)
    said, _, smaps = printed.partition("\n")
    moved, *rest = said.split()
    assert rest == ["True", "True", "'missing'", "3", "0"]
    assert int(moved) > 0
    assert _huge_and_executable(smaps) * 1024 == int(moved)


@pytest.mark.parametrize(
    "obstacle",
    [
        pytest.param(
            "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 24, -1))", id="no room in memory"
        ),
        pytest.param("deny('mprotect')", id="memory that must not become executable"),
        pytest.param("deny('mremap')", id="memory that must not be moved"),
        pytest.param("deny('madvise')", id="no huge pages"),
        pytest.param(
            "say(32, (1 << 30).to_bytes(8, 'little'))", id="a table of segments elsewhere in the file"
        ),
        pytest.param("say(54, b'\\0\\0')", id="a table of another form"),
        pytest.param("say(4, b'\\1')", id="a file of another form"),
    ],
)
def test_code_that_cannot_be_moved_stays_where_it_is(obstacle: str) -> None:
    printed = _run(f"""
        def say(place, data):
            read = ctypes.string_at
            def string_at(address, size):
                head = bytearray(read(address, size))
                head[place:place + len(data)] = data
                return bytes(head)
            hugetext.cdata.string_at = string_at
        hugetext._code(), maps()
        {obstacle}
        before = maps()
        print(hugetext.settle(), maps() == before, len(before) > 1)
    """)
    assert printed == "0 True True"


@needs_huge_pages
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may look into a template")
@pytest.mark.parametrize(
    ("max_templates", "expected"),
    [
        # The first template was forked before the zygote had the time; that is never asked for another one here.
        pytest.param(1, {"zygote": False, "templates": [True]}, id="the template by itself"),
        pytest.param(8, {"zygote": True, "templates": [True, True]}, id="the zygote for those to come"),
    ],
)
def test_after_the_first_call_the_interpreter_lies_in_huge_pages(
    tmp_path: Path, max_templates: int, expected: dict[str, object]
) -> None:
    (tmp_path / "tool.py").write_text("def one(): return 1")
    deadline = time.monotonic() + 30
    with SandboxPool(1, max_templates=max_templates) as pool:
        found: dict[str, object] = {}
        while found != expected:
            assert time.monotonic() < deadline, found
            # The host waits for none of it: it is looked at until it is so.
            assert pool.call(f"{tmp_path}/tool.py:one") == 1
            smaps = [Path(f"/proc/{pid}/smaps").read_text() for pid in pool.process_ids()]
            zygote, *templates = (_huge_and_executable(text) > 0 for text in smaps)
            found = {"zygote": zygote, "templates": templates}
