"""Distributions and versions of Python that a node needs, checked before the first node runs."""

from __future__ import annotations

import platform
from collections.abc import Iterable

from elf_pysandbox._errors import ConfigurationError


def unmet(requirements: Iterable[str], requires_python: Iterable[str]) -> list[str]:
    """Return what is missing in this environment, each with what to do; nothing is installed.

    Parameters
    ----------
    requirements : iterable of str
        PEP 508.
    requires_python : iterable of str
        PEP 440 specifiers; empty ones ask for nothing.

    Raises
    ------
    ConfigurationError
        A text that is no requirement or specifier.
    """
    listed, versions = list(requirements), [text for text in requires_python if text]
    if not listed and not versions:
        return []
    try:
        from packaging.specifiers import InvalidSpecifier, SpecifierSet
    except ImportError as missing:
        raise ConfigurationError(
            "checking requirements needs 'packaging': pip install packaging"
        ) from missing
    problems = []
    for text in versions:
        try:
            if not SpecifierSet(text).contains(platform.python_version(), prereleases=True):
                problems.append(f"it needs Python {text}, and this is {platform.python_version()}")
        except InvalidSpecifier:
            raise ConfigurationError(f"requires_python {text!r} is no version specifier (PEP 440)") from None
    return problems + [problem for text in listed for problem in _unmet_one(text)]


def _unmet_one(text: str) -> Iterable[str]:
    from importlib import metadata

    from packaging.requirements import InvalidRequirement, Requirement

    try:
        wanted = Requirement(text)
    except InvalidRequirement as error:
        raise ConfigurationError(f"requirement {text!r}: {str(error).splitlines()[0]}") from None
    if wanted.marker is not None and not wanted.marker.evaluate():
        return
    try:
        installed = metadata.version(wanted.name)
    except metadata.PackageNotFoundError:
        yield f"{wanted.name} is not installed: pip install '{text}'"
        return
    if wanted.specifier and not wanted.specifier.contains(installed, prereleases=True):
        yield f"{wanted.name} {installed} is installed and {wanted.specifier} is needed: pip install '{text}'"
