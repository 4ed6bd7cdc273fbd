"""The data of a template move into parts of huge pages unnoticed, or stay where they are."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

import pytest

from elf_pysandbox import SandboxPool
from tests.pool import huge_pages

_START = """
SIZE = 1 << 20
EVERYTHING = [{"number": number, "text": str(number)} for number in range(20_000)]

def area(advice=None, touched=True):
    # With a guard on each side it is an entry of its own.
    room = libc.call("mmap", 0, SIZE + 8192, 0, 0x22, -1, 0)
    start = room + 4096
    libc.call("mprotect", start, SIZE, 3)
    if advice is not None:
        libc.call("madvise", start, SIZE, advice)
    if touched:
        ctypes.memset(start, 7, SIZE)
    return start

def size():
    return int(Path("/proc/self/statm").read_text().split()[0]) * 4096

def settle():
    data = hugedata.Data(ownfiles.opened())
    while data.settle_some():
        pass
    return data.moved

def intact():
    return all(entry["text"] == str(entry["number"]) for entry in EVERYTHING)
"""

needs_huge_pages = huge_pages.needs_huge_pages(6, 9)


def _run(code: str) -> list[str]:
    return huge_pages.run(_START, code).split()


@needs_huge_pages
def test_data_that_were_moved_have_their_addresses_and_contents_and_serve_on_in_threads_and_forks() -> None:
    printed = _run("""
        start = area()
        before = [id(entry) for entry in EVERYTHING]
        moved = settle()
        print(moved > 4 * SIZE, "nh" in flags(start), ctypes.string_at(start, SIZE) == bytes([7]) * SIZE)
        print(intact(), before == [id(entry) for entry in EVERYTHING])
        EVERYTHING.extend({"number": number, "text": str(number)} for number in range(20_000))
        thread = threading.Thread(target=EVERYTHING.reverse); thread.start(); thread.join()
        pid = os.fork()
        if pid == 0:
            del EVERYTHING[::2]
            os._exit(0 if intact() else 1)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), intact(), len(EVERYTHING))
    """)
    assert printed == ["True"] * 5 + ["0", "True", "40000"]


@needs_huge_pages
def test_signals_that_come_all_the_time_harm_nothing_and_are_handled_afterwards_as_before() -> None:
    printed = _run("""
        seen = []
        signal.signal(signal.SIGUSR1, lambda *_: seen.append(None))
        parent, pid = os.getpid(), os.fork()
        if pid == 0:
            while os.getppid() == parent:
                os.kill(parent, signal.SIGUSR1)
            os._exit(0)
        while not seen:
            pass
        moved = sum(settle() for _ in range(10))
        more = len(seen)
        while len(seen) == more:
            pass
        os.kill(pid, signal.SIGKILL)
        print(moved > 0, intact(), signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set())
    """)
    assert printed == ["True"] * 3


@needs_huge_pages
@pytest.mark.parametrize(
    ("made", "flag"),
    [
        pytest.param("area(advice=10)", "dc", id="not for children"),
        pytest.param("area(advice=18)", "wf", id="wiped in children"),
        pytest.param("locked()", "lo", id="locked"),
        pytest.param("area(touched=False)", "rd", id="hardly touched"),
        pytest.param("shared()", "sh", id="shared"),
    ],
)
def test_memory_that_a_copy_would_not_stand_for_stays_where_it_is(made: str, flag: str) -> None:
    printed = _run(f"""
        def locked():
            start = area()
            libc.call("mlock", start, SIZE)
            return start
        def shared():
            start = libc.call("mmap", 0, SIZE, 3, 0x21, -1, 0)
            ctypes.memset(start, 7, SIZE)
            return start
        special, plain = {made}, area()
        before = flags(special)
        settle()
        print({flag!r} in before, flags(special) == before, "nh" in flags(special), "nh" in flags(plain))
    """)
    assert printed == ["True", "True", "False", "True"]


@needs_huge_pages
def test_a_descriptor_that_is_another_files_by_now_is_left_open() -> None:
    printed = _run("""
        data = hugedata.Data(ownfiles.opened())
        for file in data._files:
            os.dup2(os.open("/dev/null", os.O_RDONLY), file._descriptor)
        numbers = [file._descriptor for file in data._files]
        print(data.settle_some(), [os.readlink(f"/proc/self/fd/{number}") for number in numbers])
    """)
    assert "".join(printed) == "False['/dev/null','/dev/null','/dev/null']"


@needs_huge_pages
def test_a_large_mapping_is_moved_as_one_and_can_be_resized_and_one_that_is_too_large_stays() -> None:
    printed = _run("""
        def big(size):
            room = libc.call("mmap", 0, size + 8192, 0, 0x22, -1, 0)
            libc.call("mprotect", room + 4096, size, 3)
            libc.call("madvise", room + 4096, size, 15)  # or most of it is in huge pages
            ctypes.memset(room + 4096, 7, size)
            return room + 4096
        large, too_large = big(20 * SIZE), big(65 * SIZE)
        moved = settle()
        moved_to = libc.call("mremap", large, 20 * SIZE, 40 * SIZE, 1)
        same = ctypes.string_at(moved_to, 20 * SIZE) == bytes([7]) * (20 * SIZE)
        print(20 * SIZE < moved < 65 * SIZE, same)
    """)
    assert printed == ["True", "True"]


@needs_huge_pages
@pytest.mark.parametrize(
    ("huge", "moved"),
    [
        pytest.param(2, True, id="between small ones: they are written to as these are"),
        pytest.param(6, False, id="all but a few: what is read only is best left so"),
    ],
)
def test_data_that_are_in_huge_pages_in_part_are_moved_where_small_ones_are_many(
    huge: int, moved: bool
) -> None:
    printed = _run(f"""
        HUGE = 2 * SIZE
        room = libc.call("mmap", 0, 9 * HUGE + 8192, 0, 0x22, -1, 0)
        start = -(-room // HUGE) * HUGE + HUGE
        libc.call("mprotect", start, 7 * HUGE, 3)
        libc.call("madvise", start, 7 * HUGE, 15)
        ctypes.memset(start + {huge} * HUGE, 7, (7 - {huge}) * HUGE)
        libc.call("madvise", start, 7 * HUGE, 14)
        ctypes.memset(start, 7, {huge} * HUGE)
        settle()
        print("nh" in flags(start), ctypes.string_at(start, 7 * HUGE) == bytes([7]) * (7 * HUGE))
    """)
    assert printed == [str(moved), "True"]


@needs_huge_pages
def test_what_cannot_be_read_without_a_signal_stays_where_it_is(tmp_path: Path) -> None:
    printed = _run(f"""
        path = {str(tmp_path / "file")!r}
        file = os.open(path, os.O_RDWR | os.O_CREAT)
        os.ftruncate(file, SIZE)
        places = []
        for written in (SIZE, SIZE * 7 // 8):
            start = libc.call("mmap", 0, SIZE, 3, 0x02, file, 0)
            ctypes.memset(start, 7, written)
            places.append(start)
        os.ftruncate(file, SIZE * 7 // 8)
        guarded = area()
        try:
            libc.call("madvise", guarded + SIZE // 2, 4096, 102)  # MADV_GUARD_INSTALL
        except OSError:
            libc.call("mprotect", guarded + SIZE // 2, 4096, 0)  # before Linux 6.13
        settle()
        print(["nh" in flags(start) for start in (*places, guarded)], intact())
    """)
    # Of the first, what was beyond the new end of its file is gone with it; of the second, it was never written.
    assert "".join(printed) == "[False,False,False]True"


@needs_huge_pages
def test_nothing_is_moved_while_a_second_thread_may_write() -> None:
    printed = _run("""
        start, done = area(), threading.Event()
        thread = threading.Thread(target=done.wait); thread.start()
        print(settle(), "nh" in flags(start))
        done.set(); thread.join()
        while len(os.listdir("/proc/self/task")) > 1:  # Python's end of a thread comes before the kernel's
            pass
        print(settle() > 0, "nh" in flags(start))
    """)
    assert printed == ["0", "False", "True", "True"]


@pytest.mark.parametrize(
    "obstacle",
    [
        pytest.param(
            "resource.setrlimit(resource.RLIMIT_AS, (size() + (3 << 20), -1))", id="no room in memory"
        ),
        pytest.param("deny('madvise')", id="no huge pages"),
        pytest.param("os.close(data._files[2]._descriptor)", id="a descriptor that was closed"),
        pytest.param(
            "for file in data._files: os.dup2(os.eventfd(0), file._descriptor)",
            id="descriptors that are of files now whose reading waits for ever",
        ),
        pytest.param("sys.settrace(lambda *_: None)", id="a function that is called for each line"),
        pytest.param("sys.setprofile(lambda *_: None)", id="a function that is called for each call"),
        pytest.param("data.close()", id="closed already"),
    ],
)
def test_data_that_cannot_be_moved_stay_where_they_are(obstacle: str) -> None:
    printed = _run(f"""
        start, data = area(), hugedata.Data(ownfiles.opened())
        {obstacle}
        print(data.settle_some(), data.settle_some(), data.moved, "nh" in flags(start), intact())
    """)
    assert printed == ["False", "False", "0", "False", "True"]


def test_what_the_kernel_does_not_move_is_dropped_and_stays_where_it_was() -> None:
    printed = _run("""
        start = area()
        deny("mremap")
        settle()
        print("nh" in flags(start), ctypes.string_at(start, SIZE) == bytes([7]) * SIZE, intact())
        EVERYTHING.extend({"number": number, "text": str(number)} for number in range(20_000))
        print(intact())
    """)
    assert printed == ["False", "True", "True", "True"]


@pytest.mark.parametrize(
    "host",
    [
        pytest.param(
            'os.uname = lambda: os.uname_result(("Linux", "", "6.8.0-rc1", "", "x86_64"))',
            id="an older kernel",
        ),
        pytest.param(
            'os.uname = lambda: os.uname_result(("Linux", "", "custom", "", "x86_64"))',
            id="a kernel of no number",
        ),
        pytest.param("hugedata._swapcontext = None", id="another C library"),
        pytest.param('hugedata.MACHINE = "aarch64"', id="another machine"),
        pytest.param("hugedata._has_shadow_stack = lambda: True", id="shadow stacks"),
    ],
)
def test_where_it_would_not_do_nothing_is_left_open(host: str) -> None:
    printed = _run(f"""
        open_before = os.listdir("/proc/self/fd")
        {host}
        data = hugedata.Data(ownfiles.opened())
        print(data.settle_some(), os.listdir("/proc/self/fd") == open_before)
    """)
    assert printed == ["False", "True"]


@needs_huge_pages
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may look into a template")
def test_a_template_that_forks_many_workers_moves_its_data_once_and_lets_go_of_what_told_it_where_they_are(
    tmp_path: Path,
) -> None:
    (tmp_path / "tool.py").write_text(
        "NUMBERS = list(range(300_000))\nTEXT = bytes(range(256)) * (20 << 12)\n"
        "def total(): return sum(NUMBERS) + sum(TEXT[:1024]) + len(TEXT)\n"
    )
    expected = sum(range(300_000)) + 4 * sum(range(256)) + (20 << 20)
    deadline = time.monotonic() + 60
    with SandboxPool(2, max_templates=1) as pool:
        moved: dict[int, int] = {}
        open_files: list[str] = []
        calls = 0
        while not any(moved.values()) or any("smaps" in name for name in open_files):
            assert time.monotonic() < deadline, (moved, open_files)
            assert pool.call(f"{tmp_path}/tool.py:total") == expected
            calls += 1
            templates = pool.process_ids()[1:]
            moved = {pid: _moved(Path(f"/proc/{pid}/smaps").read_text()) for pid in templates}
            open_files = [name for pid in templates for name in _open_files(pid)]
            if calls < 16:
                assert not any(moved.values()), "a template that has forked few workers leaves its data alone"
        # Looked at anew: the copies of a round under way were counted, too.
        moved = {pid: _moved(Path(f"/proc/{pid}/smaps").read_text()) for pid in templates}
        assert sum(moved.values()) > 8 << 10, "it went on after the first piece"
        (template,) = (pid for pid, size in moved.items() if size)
        for _ in range(40):
            assert pool.call(f"{tmp_path}/tool.py:total") == expected
        assert _moved(Path(f"/proc/{template}/smaps").read_text()) == moved[template]


def _open_files(pid: int) -> list[str]:
    names = []
    for number in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed since
            names.append(os.readlink(f"/proc/{pid}/fd/{number}"))
    return names


def _moved(smaps: str) -> int:
    """Return how many KiB of a process's private data were moved: no other is kept from being mapped whole."""
    found, size, private = 0, 0, False
    for line in smaps.splitlines():
        key, *rest = line.split()
        if not key.endswith(":"):
            private = "rw-p" in rest
        elif key == "Size:":
            size = int(rest[0])
        elif key == "VmFlags:" and private and "nh" in rest:
            found += size
    return found
