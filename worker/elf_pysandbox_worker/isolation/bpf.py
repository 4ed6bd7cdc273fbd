"""An assembler for classic BPF, as seccomp(2) wants it.

Decided here and nowhere else: how instructions and jumps are encoded. It knows nothing of system calls.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

_pack = struct.Struct("=HBBI").pack
_LOAD_WORD = 0x20  # BPF_LD | BPF_W | BPF_ABS
_JUMP = 0x05  # BPF_JMP | BPF_JA
_JUMP_EQUAL = 0x15
_JUMP_GREATER_EQUAL = 0x35
_JUMP_SET = 0x45
_RETURN = 0x06

_KILL_PROCESS = 0x80000000
_ERRNO = 0x00050000
_ALLOW = 0x7FFF0000

# struct seccomp_data: int nr; u32 arch; u64 instruction_pointer; u64 args[6]
NUMBER, ARCHITECTURE = 0, 4


def low(argument: int) -> int:
    """Return the offset of the low half of a system call's argument (little endian)."""
    return 16 + 8 * argument


def high(argument: int) -> int:
    """Return the offset of its high half."""
    return low(argument) + 4


class Program:
    """Instructions with named jump targets; a target of None is the next instruction."""

    def __init__(self) -> None:
        self._lines: list[tuple[int, str | None, str | None, int]] = []
        self._labels: dict[str, int] = {}

    def label(self, name: str) -> None:
        """Name the next instruction."""
        self._labels[name] = len(self._lines)

    def load(self, offset: int) -> None:
        """Load the word at `offset` of `struct seccomp_data`."""
        self._lines.append((_LOAD_WORD, None, None, offset))

    def equal(self, value: int, then: str | None = None, otherwise: str | None = None) -> None:
        """Jump on whether the loaded word is `value`."""
        self._lines.append((_JUMP_EQUAL, then, otherwise, value))

    def at_least(self, value: int, then: str | None = None, otherwise: str | None = None) -> None:
        """Jump on whether the loaded word is `value` or more, unsigned."""
        self._lines.append((_JUMP_GREATER_EQUAL, then, otherwise, value))

    def any_bit(self, mask: int, then: str | None = None, otherwise: str | None = None) -> None:
        """Jump on whether the loaded word has a bit of `mask`."""
        self._lines.append((_JUMP_SET, then, otherwise, mask))

    def jump(self, target: str) -> None:
        """Go to `target`, however far."""
        self._lines.append((_JUMP, target, None, 0))

    def allow(self) -> None:
        """Let the system call through."""
        self._lines.append((_RETURN, None, None, _ALLOW))

    def fail(self, code: int) -> None:
        """Answer with an errno."""
        self._lines.append((_RETURN, None, None, _ERRNO | code))

    def kill(self) -> None:
        """End the whole process with SIGSYS."""
        self._lines.append((_RETURN, None, None, _KILL_PROCESS))

    def assemble(self) -> bytes:
        """Return the array of `struct sock_filter`.

        Raises
        ------
        ValueError
            If a conditional jump is further than the 255 instructions its field can say.
        """
        return b"".join(self._encode(at, line) for at, line in enumerate(self._lines))

    def _encode(self, at: int, line: tuple[int, str | None, str | None, int]) -> bytes:
        code, then, otherwise, value = line
        if code == _JUMP:
            assert then is not None
            return _pack(code, 0, 0, self._labels[then] - at - 1)
        # A template may have to wait for these lines: most instructions jump on one condition, or not at all.
        yes = 0 if then is None else self._labels[then] - at - 1
        no = 0 if otherwise is None else self._labels[otherwise] - at - 1
        if yes > 255 or no > 255:
            raise ValueError(f"instruction {at} jumps too far: {line}")
        return _pack(code, yes, no, value)

    def __len__(self) -> int:
        return len(self._lines)


def decide(program: Program, intervals: Sequence[tuple[int, str]], leaves: dict[str, int | str]) -> None:
    """Append a binary search over the loaded word.

    A balanced tree, not a list: the kernel runs a filter once for every system call number when it is loaded,
    so its depth is paid 900 times; a list of 300 took 850 µs to load where this takes a fraction.

    Parameters
    ----------
    intervals : sequence of (first value, action)
        Sorted; each reaches to the next one's first value, the last one to the end.
    leaves : dict
        Action -> an errno (0 to allow) or the label to go to.
    """
    if len(intervals) == 1:
        leaf = leaves[intervals[0][1]]
        if isinstance(leaf, str):
            program.jump(leaf)
        elif leaf:
            program.fail(leaf)
        else:
            program.allow()
        return
    middle = len(intervals) // 2
    right = f"from {intervals[middle][0]}"
    program.at_least(intervals[middle][0], then=right)
    decide(program, intervals[:middle], leaves)
    program.label(right)
    decide(program, intervals[middle:], leaves)
