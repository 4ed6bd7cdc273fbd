"""The commands of a Markdown page: found, run as written, held against what the page says they print.

- A ``console`` block holds commands after ``$ `` and below each what it prints; ``…`` stands for any text,
  alone on a line for any lines. A ``bash`` block is one script, of which only the exit code counts.
- A ``python`` block is run; with ``title="path"`` it is written to that file instead (so is any other block
  with a title).
- ``<!-- test: exit=3 -->`` before a block: its last command ends with that code. ``interrupt``: Ctrl-C once
  the output shown has come. ``needs=NAME``: skipped where there is no such command of `pysandbox`.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^(?P<indent> *)```(?P<language>\w*)[ ]*(?P<rest>.*)$")
_MARK = re.compile(r"^ *<!-- test: (?P<marks>.*) -->$")


@dataclass
class Command:
    """One command of a page with what must come of it."""

    text: str
    expected: list[str] | None
    line: int
    exit: int = 0
    interrupt: bool = False


@dataclass
class Block:
    """One fenced block."""

    language: str
    text: str
    line: int
    title: str = ""
    marks: dict[str, str] = field(default_factory=dict)

    def commands(self) -> Iterator[Command]:
        """Yield the block's commands."""
        exit_code = int(self.marks.get("exit", "0"))
        if self.language == "bash":
            yield Command(self.text, None, self.line, exit_code)
            return
        found: list[Command] = []
        for number, line in enumerate(self.text.splitlines(), start=self.line + 1):
            if line.startswith("$ "):
                found.append(Command(line[2:], [], number))
            elif found and found[-1].expected is not None:
                found[-1].expected.append(line)
        if found:
            found[-1].exit, found[-1].interrupt = exit_code, "interrupt" in self.marks
        yield from found


def blocks_of(page: Path) -> list[Block]:
    """Return the fenced blocks of a page."""
    found, marks = [], dict[str, str]()
    lines = iter(enumerate(page.read_text(encoding="utf-8").splitlines(), start=1))
    for number, line in lines:
        if mark := _MARK.match(line):
            pairs = (part.partition("=") for part in mark["marks"].split())
            marks = {name: value for name, _, value in pairs}
        elif fence := _FENCE.match(line):
            body = []
            for _, inner in lines:
                if inner.strip() == "```":
                    break
                body.append(inner.removeprefix(fence["indent"]))
            title = re.search(r'title="([^"]+)"', fence["rest"])
            text = "\n".join(body) + "\n"
            found.append(Block(fence["language"], text, number, title[1] if title else "", marks))
            marks = {}
    return found


class Workplace:
    """A temporary copy of what a reader has, and a shell in it.

    `cd` of one command holds for the next, and nothing else does.
    """

    def __init__(self, folder: Path) -> None:
        for name in ("examples", "fixtures"):
            shutil.copytree(ROOT / name, folder / name)
        self.folder = self.at = folder
        binaries = os.path.dirname(sys.executable)
        (folder / ".venv").symlink_to(sys.prefix)
        self.environ = {
            "PATH": f"{binaries}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "NO_COLOR": "1",
            "COLUMNS": "100",
        }

    def write(self, path: str, text: str) -> None:
        """Write a file that a page shows."""
        file = self.at / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def python(self, code: str) -> tuple[int, str]:
        """Run a Python block; return exit code and output."""
        return self._run([sys.executable, "-c", code])

    def shell(self, command: str) -> tuple[int, str]:
        """Run a command in bash; return exit code and output."""
        with tempfile.NamedTemporaryFile("r") as place:
            script = f"{command}\ncode=$?\npwd > {place.name}\nexit $code"
            ended = self._run(["bash", "-c", script])
            self.at = Path(place.read().strip() or self.at)
        return ended

    def interrupted(self, command: str, until: list[str]) -> tuple[int, str]:
        """Run a command until it has printed what `until` says, then send it Ctrl-C."""
        process = subprocess.Popen(
            ["bash", "-c", f"exec {command}"],
            cwd=self.at,
            env=self.environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        hung = threading.Timer(60, process.kill)
        with process:
            assert process.stdout is not None
            output = "".join(next(process.stdout) for _ in until)
            process.send_signal(signal.SIGINT)
            hung.start()
            # Not communicate(): what the stream has read ahead would be lost.
            output += process.stdout.read()
            hung.cancel()
        return process.returncode, output

    def _run(self, command: list[str]) -> tuple[int, str]:
        done = subprocess.run(
            command,
            cwd=self.at,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=300,
            check=False,
        )
        return done.returncode, done.stdout


def matches(expected: list[str], output: str) -> bool:
    """Whether the output is what the page shows, where ``…`` stands for anything."""
    while expected and not expected[-1].strip():
        expected = expected[:-1]
    pattern = ""
    for line in expected:
        if line.strip() == "…":
            pattern += r"(?:.*\n)*?"
        else:
            # Columns of a table may be of other widths.
            words = re.escape(line.rstrip()).replace("…", ".*")
            pattern += re.sub(r"(?:\\ )+", r"[ ]+", words) + r"[ ]*\n"
    # What is shown last may be followed by empty lines only, unless a line of … says otherwise.
    return re.fullmatch(pattern + r"\s*", output if output.endswith("\n") else output + "\n") is not None
