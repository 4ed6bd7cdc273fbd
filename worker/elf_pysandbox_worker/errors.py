"""The errors of the confined side that end a call with a status of their own."""

from __future__ import annotations

BY_POSITION_ONLY = "is positional-only: pass it by position, not by name"
"""What is told of an argument whose parameter stands before the ``/`` of the signature."""


class ToolMissing(Exception):  # noqa: N818 - named as what it reports
    """No callable is at the path the call names: outcome `not_found`."""


class BadArguments(Exception):  # noqa: N818 - likewise
    """The arguments do not fit: outcome `invalid_arguments`.

    Parameters
    ----------
    problems : list of (path, message)
        Every argument that does not fit, as ``("rows[3].name", "must be a string")``.
    """

    def __init__(self, problems: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{path}: {message}" if path else message for path, message in problems))
        self.problems = problems


class BadResult(Exception):  # noqa: N818 - likewise
    """The result does not fit the return annotation: outcome `bad_result`.

    Parameters
    ----------
    problems : list of (path, message)
    """

    def __init__(self, problems: list[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{path}: {message}" for path, message in problems))
        self.problems = problems


def of_a_method(first: str) -> str:
    """Return what to add where arguments do not fit and the first parameter has this name."""
    if first != "self":
        return ""
    return "; it is a method: name it on an object that the module makes, not on its class"
