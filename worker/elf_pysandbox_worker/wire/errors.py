"""The errors of the wire: what a peer did wrong, and what a value to be sent has wrong with it."""

from __future__ import annotations


class WireError(Exception):
    """The peer sent bytes that are no valid frame, message or value."""


class WireTooLarge(WireError):  # noqa: N818 - named as the thing it reports, like ValueTooLarge
    """The peer sent a value that would take more memory, items or levels than the caps allow."""


class PackError(Exception):
    """Base of the reasons why a value cannot be sent.

    Attributes
    ----------
    path : str
        Where in the value, as Python would spell it: ``result.rows[3]['name']``.
    """

    path: str


class UnsupportedValue(PackError):  # noqa: N818 - a word of the value set, not of the error tree
    """A value outside the closed set.

    Attributes
    ----------
    path, type_name, reason, hint : str
        Where, the full name of its type, why it cannot cross, and what could instead ("" if unknown).
    """

    def __init__(self, path: str, type_name: str, reason: str, hint: str = "") -> None:
        self.path, self.type_name, self.reason, self.hint = path, type_name, reason, hint
        super().__init__(f"{path} {reason}" + (f"; {hint}" if hint else ""))


class ValueTooLarge(PackError):  # noqa: N818
    """A value that is larger than allowed when written out.

    Attributes
    ----------
    limit : int
        The limit in bytes.
    path : str
        The part being written when the limit was passed.
    """

    def __init__(self, limit: int, path: str) -> None:
        self.limit, self.path = limit, path
        super().__init__(f"the value is larger than {limit} bytes when written out (reached at {path})")
