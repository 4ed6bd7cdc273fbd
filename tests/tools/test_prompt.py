"""Functions typed at the interactive prompt, as a person types them: at a terminal."""

import os
import pty
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

LINES = [
    "from elf_pysandbox import SandboxPool",
    "K = 3",
    "def times(n): return n * K",
    "",
    "class Adder:",
    "    def add(self, n): return n + K",
    "",
    "pool = SandboxPool(1)",
    "print('called', pool.call(times, 4), pool.call(lambda: times(Adder().add(1))))",
    "K = 5",
    "print('called', pool.call(times, 4), pool.call(Adder().add, 1))",
    "exit()",
]


def read(terminal: int) -> Iterator[bytes]:
    """What is shown, until the program ends."""
    while select.select([terminal], [], [], 60)[0]:
        try:
            shown = os.read(terminal, 4096)
        except OSError:  # nobody holds the other end any more
            return
        yield shown


def type_in(lines: list[str], environment: dict[str, str]) -> str:
    """Type lines at the prompt of this Python and return all that is shown."""
    terminal, ours = pty.openpty()
    started = subprocess.Popen(
        [sys.executable], stdin=ours, stdout=ours, stderr=ours, env=os.environ | environment
    )
    os.close(ours)
    try:
        output = read(terminal)
        shown = b""
        while b">>> " not in shown:
            shown += next(output)
        os.write(terminal, "".join(f"{line}\r" for line in lines).encode())
        return (shown + b"".join(output)).decode()
    finally:
        os.close(terminal)
        started.kill()
        started.wait()


@pytest.mark.skipif(sys.version_info < (3, 13), reason="the prompt of this Python keeps no source")
@pytest.mark.parametrize("prompt", [{}, {"PYTHON_BASIC_REPL": "1"}], ids=["pyrepl", "basic"])
def test_a_function_typed_at_the_prompt_is_called_as_it_is_written(
    prompt: dict[str, str], tmp_path: Path
) -> None:
    history = {"PYTHON_HISTORY": str(tmp_path / "history"), "TERM": "xterm"}
    shown = type_in(LINES, prompt | history)
    assert ("\x1b[" in shown) == (not prompt)  # else it is not the prompt that was asked for
    assert "called 12 12" in shown, shown
    assert "called 20 6" in shown, shown
