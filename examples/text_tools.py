"""Tools on text: the kind of function an agent is given."""

from collections import Counter


def word_count(text: str) -> dict[str, int]:
    """Count how often each word occurs, most frequent first.

    Args:
        text: Any text; words are separated by white space and compared without case.

    Returns:
        Word -> number of occurrences.
    """
    return dict(Counter(text.lower().split()).most_common())


def shout(text: str, times: int = 1) -> str:
    """Return the text in capitals, with exclamation marks."""
    return text.upper() + "!" * times


def lines(text: str):
    """Yield the lines of a text one by one, numbered from 1."""
    yield from enumerate(text.splitlines(), start=1)
