"""What a tool needs installed: read from its source (PEP 723), checked against an interpreter, or built with
uv."""

from __future__ import annotations

import re

from elf_pysandbox._errors import ModuleLoadError
from elf_pysandbox._tools.imports import decode_source

_SCRIPT_BLOCK = re.compile(r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$")
"""The reference expression of PEP 723."""


def script_metadata(source: bytes) -> tuple[tuple[str, ...], str]:
    """Read the ``# /// script`` block of a source (PEP 723).

    Returns
    -------
    tuple
        Requirements (PEP 508 strings) and the specifier of Python versions ("" for any).

    Raises
    ------
    ModuleLoadError
        The block is there but is not valid TOML, twice there, or its entries have the wrong type.
    """
    text = decode_source(source).replace("\r\n", "\n")
    blocks = [match for match in _SCRIPT_BLOCK.finditer(text) if match["type"] == "script"]
    if not blocks:
        return (), ""
    if len(blocks) > 1:
        raise ModuleLoadError(
            "the source has more than one '# /// script' block (PEP 723 allows one): merge them"
        )
    import tomllib

    content = "".join(
        line[2:] if line.startswith("# ") else line[1:]
        for line in blocks[0]["content"].splitlines(keepends=True)
    )
    try:
        data = tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise ModuleLoadError(f"the '# /// script' block is not valid TOML: {error}") from error
    requirements = data.get("dependencies", [])
    requires_python = data.get("requires-python", "")
    if not isinstance(requirements, list) or not all(isinstance(item, str) for item in requirements):
        raise ModuleLoadError(
            "'dependencies' in the '# /// script' block must be a list of requirement strings"
        )
    if not isinstance(requires_python, str):
        raise ModuleLoadError(
            "'requires-python' in the '# /// script' block must be a string such as '>=3.11'"
        )
    return tuple(requirements), requires_python
