"""The libraries of a template get one mapping for what nobody writes to, unnoticed, or stay as they are."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from elf_pysandbox import SandboxPool
from tests.pool import huge_pages

_START = """
import _decimal, math, shutil, tempfile
from elf_pysandbox_worker import mappings

PAGE = 4096

def between(start, end):
    return [mapping for mapping in mappings.parse(smaps()) if start <= mapping.start < end]

def contents(rows):
    return [hashlib.sha256(ctypes.string_at(row.start, row.end - row.start)).hexdigest() for row in rows]

def settle():
    return hugelibs.settle(smaps())

def size():
    return int(Path("/proc/self/statm").read_text().split()[0]) * PAGE

def mapped(pages, *, file=None, access=1, kind=2):
    # Each page of the file in a mapping of its own, with no neighbour.
    if file is None:
        file = new_file(8 * len(pages))
    room = libc.call("mmap", 0, (len(pages) + 2) * PAGE, 0, 0x22, -1, 0)
    for number, page in enumerate(pages, 1):
        libc.call("mmap", room + number * PAGE, PAGE, access, kind | 0x10, file, page * PAGE)
    return room + PAGE, room + (len(pages) + 1) * PAGE

def new_file(pages):
    file = os.memfd_create("library")
    os.write(file, os.urandom(PAGE) * pages)
    return file

# A library; the directory goes at once: what is mapped stays.
with tempfile.TemporaryDirectory() as folder:
    path = shutil.copy(_decimal.__file__, folder)
    handle = ctypes.CDLL(path)
    inode = str(os.stat(path).st_ino)
LIBRARY = [row for row in mappings.parse(smaps()) if row.file[1] == inode and row.access != "rw-p"]
PLACE = LIBRARY[0].start, LIBRARY[-1].end
"""

needs_huge_pages = huge_pages.needs_huge_pages(6, 1)


def _run(code: str) -> str:
    return huge_pages.run(_START, code)


@needs_huge_pages
def test_libraries_that_were_moved_have_their_addresses_and_contents_and_run_on_in_threads_and_forks() -> (
    None
):
    printed = _run("""
        before = contents(LIBRARY)
        moved = settle()
        (there,) = between(*PLACE)
        print(moved > PLACE[1] - PLACE[0], contents(LIBRARY) == before, "nh" in there.flags)
        print(len(LIBRARY), (there.start, there.end) == PLACE, there.access, there.file[1])
        results = []
        thread = threading.Thread(target=lambda: results.append(math.sqrt(4)))
        thread.start(); thread.join()
        import _json, decimal  # one that comes later, and one that was there
        pid = os.fork()
        if pid == 0:
            os._exit(int(decimal.Decimal(77) / 7))
        print(results, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), _json.make_encoder is not None)
    """)
    assert printed.split("\n") == ["True True True", "4 True r-xp 0", "[2.0] 11 True"]


@needs_huge_pages
def test_constants_without_code_become_no_code() -> None:
    printed = _run("""
        place = mapped([3, 1, 5, 7])
        rows = between(*place)
        before = contents(rows)
        settle()
        (there,) = between(*place)
        print(len(rows), there.access, there.file[1], contents(rows) == before)
    """)
    assert printed == "4 r--p 0 True"


@needs_huge_pages
@pytest.mark.parametrize(
    "made",
    [
        pytest.param("mapped([1])", id="one mapping is as good as another"),
        pytest.param("mapped([3, 1], kind=1)", id="shared"),
        pytest.param("mapped([3, 1], access=3)", id="data"),
        pytest.param("mapped([3, 1], access=0)", id="not readable"),
        pytest.param("locked(*mapped([3, 1]))", id="locked"),
        pytest.param("advised(*mapped([3, 1]), 10)", id="not for children"),
        pytest.param("shorter()", id="of a file that is shorter now"),
        pytest.param("apart()", id="not in a row"),
        pytest.param("beside()", id="of two files"),
        pytest.param("of_none()", id="of no file"),
        pytest.param("mapped([n * 3 % 2500 for n in range(2049)], file=new_file(2500))", id="too large"),
    ],
)
def test_memory_that_a_copy_would_not_stand_for_stays_as_it_is(made: str) -> None:
    printed = _run(f"""
        def locked(start, end):
            libc.call("mlock", start, end - start)
            return start, end
        def advised(start, end, advice):
            libc.call("madvise", start, end - start, advice)
            return start, end
        def shorter():
            file = new_file(4)
            place = mapped([3, 1], file=file)
            os.ftruncate(file, 2 * PAGE)
            return place
        def apart():
            start, end = mapped([3, 1, 2])
            libc.call("munmap", start + PAGE, PAGE)
            return start, end
        def beside():
            start, end = mapped([3, 1])
            libc.call("mmap", start, PAGE, 5, 0x12, new_file(1), 0)
            return start, end
        def of_none():
            start, end = mapped([3, 1])
            libc.call("mmap", start, 2 * PAGE, 3, 0x32, -1, 0)
            ctypes.memset(start, 7, 2 * PAGE)
            libc.call("mprotect", start, PAGE, 1)
            libc.call("mprotect", start + PAGE, PAGE, 5)
            return start, end
        place, other = {made}, mapped([3, 1])
        before = between(*place)
        settle()
        print(between(*place) == before, len(between(*other)), len(between(*PLACE)))
    """)
    assert printed == "True 1 1"


@needs_huge_pages
def test_of_more_libraries_than_there_is_room_for_those_that_gain_most_for_their_size_are_moved() -> None:
    printed = _run("""
        file = new_file(1100)
        large = [mapped([n * 3 % 1100 for n in range(1000)], file=file) for _ in range(3)]  # 4 MB each, many mappings
        slow = libc.call("mmap", 0, 4000 * PAGE, 0, 0x22, -1, 0) + PAGE
        for number in range(2):  # 4 MB in two
            libc.call("mmap", slow + number * 500 * PAGE, 500 * PAGE, 1, 0x12, file, (1 - number) * 500 * PAGE)
        moved = settle()
        print(moved <= 8 << 20, sorted(len(between(*place)) for place in large), len(between(slow, slow + 1000 * PAGE)))
    """)
    assert printed == "True [1, 1, 1000] 2"


@pytest.mark.parametrize(
    "obstacle",
    [
        pytest.param(
            "resource.setrlimit(resource.RLIMIT_AS, (size() + (3 << 20), -1))", id="no room in memory"
        ),
        pytest.param("deny('madvise')", id="no huge pages"),
        pytest.param("deny('mprotect')", id="memory that must not become executable"),
        pytest.param("deny('mremap')", id="memory that must not be moved"),
    ],
)
def test_libraries_that_cannot_be_moved_stay_as_they_are_and_nothing_is_left_over(obstacle: str) -> None:
    printed = _run(f"""
        before = contents(LIBRARY)
        list(hugelibs._libraries(smaps()))  # what the interpreter takes for this it has by now
        length = size()
        {obstacle}
        print(settle(), len(between(*PLACE)) == len(LIBRARY), contents(LIBRARY) == before)
        taken = [size() - length]
        for _ in range(20):
            length = size()
            settle()
            taken.append(size() - length)
        # What could be left over is 2 MB; the interpreter may take an arena of 1 MB at any of them.
        print(max(taken) < 2 << 20, sorted(taken)[10] == 0)
    """)
    assert printed.split() == ["0", "True", "True", "True", "True"]


@needs_huge_pages
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may look into a template")
def test_a_template_that_forks_many_workers_has_two_mappings_of_each_library(tmp_path: Path) -> None:
    (tmp_path / "tool.py").write_text("import cmath\ndef root(value): return abs(cmath.sqrt(value))")
    deadline = time.monotonic() + 60
    with SandboxPool(2, max_templates=1) as pool:
        calls, template, counts, maps = 0, 0, [0], ""
        while not calls or "cmath" in maps:
            assert time.monotonic() < deadline, counts
            assert pool.call(f"{tmp_path}/tool.py:root", value=16) == 4
            calls += 1
            templates = {pid: Path(f"/proc/{pid}/maps").read_text() for pid in pool.process_ids()[1:]}
            if calls == 1:
                (template,) = (pid for pid, text in templates.items() if "cmath" in text)
            maps = templates[template]
            counts.append(maps.count("\n"))
            assert calls > 15 or "cmath" in maps, (
                "a template that has forked few workers leaves its libraries alone"
            )
        assert counts[-1] < counts[1] * 2 // 3
        assert pool.call(f"{tmp_path}/tool.py:root", value=25) == 5
