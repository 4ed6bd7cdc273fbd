import pytest

from elf_pysandbox_worker.docstrings import parse

GOOGLE = """Count words.

    Longer text
    over two lines.

    Args:
        text: Any text.
        limit (int, optional): At most so many;
            continued here.
        **more: The rest.

    Returns:
        dict: Word to count.

    Raises:
        ValueError: When empty.

    Example:
        >>> count("a")
        {'a': 1}
    """
NUMPY = """Count words.

    Longer text
    over two lines.

    Parameters
    ----------
    text : str
        Any text.
    limit : int, optional
        At most so many;
        continued here.
    **more
        The rest.

    Returns
    -------
    dict
        Word to count.

    Raises
    ------
    ValueError
        When empty.

    Examples
    --------
    >>> count("a")
    {'a': 1}
    """
REST = """Count words.

    Longer text
    over two lines.

    :param text: Any text.
    :param int limit: At most so many;
        continued here.
    :param more: The rest.
    :type text: str
    :returns: Word to count.
    :raises ValueError: When empty.

    >>> count("a")
    {'a': 1}
    """


@pytest.mark.parametrize("text", [GOOGLE, NUMPY, REST], ids=["google", "numpy", "rest"])
def test_each_style_is_read_into_the_same_parts(text: str) -> None:
    doc = parse(text)
    assert doc.summary == "Count words."
    assert doc.description.startswith("Longer text\nover two lines.")
    assert doc.parameters == {
        "text": "Any text.",
        "limit": "At most so many; continued here.",
        "more": "The rest.",
    }
    assert doc.returns.endswith("Word to count.")
    assert doc.raises == {"ValueError": "When empty."}
    assert doc.examples == [">>> count(\"a\")\n{'a': 1}"]


@pytest.mark.parametrize("text", [None, "", "   ", "\n\n", 3])
def test_no_text_is_an_empty_docstring(text: object) -> None:
    assert parse(text).summary == ""  # type: ignore[arg-type]


def test_prose_that_looks_like_a_section_stays_prose() -> None:
    doc = parse("Do it.\n\nNote that this: works.\nSee also here")
    assert doc.description == "Note that this: works.\nSee also here"


def test_a_hostile_docstring_is_cut_and_read_in_linear_time() -> None:
    assert parse("Args:\n" + "    a: b\n" * 1_000_000).parameters == {"a": "b"}
    parse(":param " * 1_000_000)
    parse("(" * 1_000_000)
