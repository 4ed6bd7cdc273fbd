"""Things made once and kept while there is room."""

from __future__ import annotations

from _thread import RLock

TYPE_CHECKING = False  # see `_records`
if TYPE_CHECKING:
    from typing import Any

_MOST = 4096
_MOST_BYTES = 64 << 20


class Remembered:
    """Keeps things by key; the first remembered are forgotten, and made again when needed."""

    def __init__(self) -> None:
        self._lock = RLock()  # a signal handler may make a call in the middle of this
        self._found: dict[Any, tuple[Any, int]] = {}
        self._bytes = 0

    def get(self, key: Any) -> Any:
        """Return what is remembered, or None; raises TypeError for a key that has no hash."""
        found = self._found.get(key)
        return None if found is None else found[0]

    def put(self, key: Any, thing: Any, size: int) -> None:
        """Remember a thing of so many bytes; one that is larger than all the room is not kept."""
        with self._lock:
            self.forget(key)
            if size <= _MOST_BYTES:
                self._found[key] = thing, size
                self._bytes += size
                while self._found and (len(self._found) > _MOST or self._bytes > _MOST_BYTES):
                    self.forget(next(iter(self._found)))

    def forget(self, key: Any) -> None:
        """Forget what is remembered by this key, if anything."""
        with self._lock:
            found = self._found.pop(key, None)
            if found is not None:
                self._bytes -= found[1]
