"""The output of a map: the file itself is the record of what is done.

Each line holds the number of its row and a digest of the row's text, so that a run that ended anywhere
(Ctrl-C, SIGKILL, a full disk) is resumed by reading the file back: whole lines count, a torn last line is
cut off.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from pathlib import Path
from typing import Any, BinaryIO

from elf_pysandbox import ConfigurationError

_FLUSH_S = 0.25
_DIGEST = re.compile(r"[0-9a-f]{16}")
_BEGINNING = re.compile(rb'\{"row": \d+, "input": "[0-9a-f]{16}", ')
"""Of every line that `Output.write` writes: tells a torn line from somebody else's file."""


class Output:
    """The output file, locked for one run at a time.

    Parameters
    ----------
    path : Path
    restart : bool
        Throw away what it holds, when the first line is written: a run that fails before that costs nothing.
        Only the output of a map is thrown away.
    retry_failed : bool
        Forget the rows that did not end `ok`, so that they run again.

    Attributes
    ----------
    done : dict of int to str
        Row -> digest, of the rows that need not run.
    failed : int
        How many of those did not end `ok`.

    Raises
    ------
    ConfigurationError
        Another run writes to the file, or it holds something else than the output of a map.
    """

    def __init__(self, path: Path, *, restart: bool = False, retry_failed: bool = False) -> None:
        self.path = path
        self.done: dict[int, str] = {}
        self.failed = 0
        self._call = ""
        self._calls: set[str] = set()
        self._kept: list[bytes] | None = None
        self._new = not os.path.exists(path)
        self._restart = restart
        self._file = _locked(path)
        try:
            if restart:
                self._look_at_first_line()
            else:
                self._recover(retry_failed)
        except BaseException:
            self._file.close()
            raise
        self._flushed_at = time.monotonic()

    def _look_at_first_line(self) -> None:
        line = self._file.readline()
        if line.endswith(b"\n"):
            _read(line, self.path)
        elif line:
            _torn(line, self.path)

    def _recover(self, retry_failed: bool) -> None:
        kept: list[bytes] = []
        whole, forgot = 0, False
        self._file.seek(0)
        for line in self._file:
            if not line.endswith(b"\n"):
                if not whole:
                    _torn(line, self.path)
                break  # Its row runs again.
            whole += len(line)
            row, digest, call, ok = _read(line, self.path)
            self._calls.add(call)
            if retry_failed and not ok:
                forgot = True
                continue
            if row not in self.done:
                self.done[row] = digest
                self.failed += not ok
                if retry_failed:
                    kept.append(line)
        self._kept = kept if forgot else None
        self._file.truncate(whole)
        self._file.seek(0, os.SEEK_END)

    def _replace(self, lines: list[bytes]) -> None:
        """Put a file with these lines in the place of this one: whole or not at all."""
        fresh = part_of(self.path)
        file = _locked(fresh)
        file.truncate(0)
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())
        fresh.replace(self.path)
        self._file.close()
        self._file = file

    def begin(self, call: str) -> None:
        """Take the digest of the call that the rows are of, for this run's lines.

        Raises
        ------
        ConfigurationError
            What the output holds is of another call; it stays as it is.
        """
        if self._calls - {call, ""}:
            raise ConfigurationError(
                f"{self.path} has results of another tool or of other arguments: name another output, or begin "
                "again with --restart"
            )
        self._call = call
        if self._kept is not None:
            self._replace(self._kept)
            self._kept = None

    def write(self, row: int, digest: str, status: str, fields: dict[str, Any]) -> None:
        """Write the line of one row."""
        self.finish()
        record = {"row": row, "input": digest, "call": self._call, "status": status, **fields}
        # A lone surrogate becomes its escape, which is what JSON calls it too.
        self._file.write(json.dumps(record, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n")
        now = time.monotonic()
        if now - self._flushed_at > _FLUSH_S:
            self._file.flush()
            self._flushed_at = now

    def finish(self) -> None:
        """Throw away what a restart is to throw away, unless it is done."""
        if self._restart:
            self._restart = False
            self._file.seek(0)
            self._file.truncate(0)

    def abandon(self) -> None:
        """Close the file of a run that failed; leave none where there was none, if nothing was written."""
        self._file.flush()
        if self._new and not os.fstat(self._file.fileno()).st_size:
            self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Write what is left, to the disk."""
        if not self._file.closed:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()


def part_of(path: Path) -> Path:
    """Return the file that is written before it takes the place of the output."""
    return path.with_name(path.name + ".part")


def _locked(path: Path) -> BinaryIO:
    try:
        file = open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666), "r+b")  # noqa: SIM115
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.path.samestat(os.fstat(file.fileno()), os.stat(path)):
            raise BlockingIOError  # Another run has just put a file in its place, or taken it away.
    except OSError:
        file.close()
        raise ConfigurationError(f"{path} is being written by another map: wait for it to end") from None
    return file


def _read(line: bytes, path: Path) -> tuple[int, str, str, bool]:
    try:
        record = json.loads(line)
        row, digest, status = record["row"], record["input"], record["status"]
        call = record.get("call", "")  # Outputs of earlier releases have none.
        if type(row) is int and _DIGEST.fullmatch(digest) and isinstance(call, str):
            return row, digest, call, status == "ok"
    except (ValueError, TypeError, KeyError, RecursionError):
        pass
    raise _not_ours(path)


def _torn(line: bytes, path: Path) -> None:
    """Refuse a file whose only line has no end, unless that line is one of a map."""
    if not _BEGINNING.match(line):
        raise _not_ours(path)


def _not_ours(path: Path) -> ConfigurationError:
    return ConfigurationError(f"{path} holds something else than the output of a map: name another file")
