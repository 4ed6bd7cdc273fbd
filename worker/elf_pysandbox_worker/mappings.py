"""What the kernel says about the memory of a process: /proc/self/smaps, proc_pid_smaps(5)."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct


class Mapping(Struct, frozen=True):
    """A mapping of memory.

    Attributes
    ----------
    start, end : int
        Addresses.
    access : str
        ``r-xp`` and the like, p for private.
    file : tuple of str
        Device and inode; an inode of ``"0"`` is none.
    resident, anonymous, huge : int
        Bytes that are there; of these, those that are of no file, or not any more; of these, those that are in huge
        pages mapped whole.
    key : str
        Number of its protection key, pkeys(7).
    flags : list of str
        Of two letters each, ``VmFlags`` of proc_pid_smaps(5).
    """

    start: int
    end: int
    access: str
    file: tuple[str, str]
    resident: int
    anonymous: int
    huge: int
    key: str
    flags: list[str]


_SIZES = {"Rss:": "resident", "Anonymous:": "anonymous", "AnonHugePages:": "huge"}


def parse(smaps: bytes) -> Iterator[Mapping]:
    """Yield what is mapped, in the order of addresses, which is that of the file."""
    head: list[str] = []
    sizes: dict[str, int] = {}
    key = "0"
    for line in smaps.decode("ascii", "replace").split("\n"):
        name, *values = line.split() or ("",)
        if name in _SIZES:
            sizes[_SIZES[name]] = int(values[0]) << 10
        elif name == "ProtectionKey:":
            key = values[0]
        elif name == "VmFlags:":  # the last line of each
            start, _, end = head[0].partition("-")
            yield Mapping(
                int(start, 16), int(end, 16), head[1], (head[3], head[4]), **sizes, key=key, flags=values
            )
            key = "0"
        elif name and not name.endswith(":"):
            head = [name, *values]
