"""What a tool needs installed: read from its source (PEP 723), checked against an interpreter, or built with
uv."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from elf_pysandbox._errors import ModuleLoadError
from elf_pysandbox._tools.imports import decode_source

_HEAD = re.compile(r"# /// (?P<type>[a-zA-Z0-9-]+)\Z")
_END = "# ///"
_LARGEST_BLOCK = 64 << 10
_MOST_DOTS = 1000  # of a line: `tomllib` takes the square of a key's parts


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
    blocks = list(_script_blocks(text.split("\n")))
    if not blocks:
        return (), ""
    if len(blocks) > 1:
        raise ModuleLoadError(
            "the source has more than one '# /// script' block (PEP 723 allows one): merge them"
        )
    import tomllib

    content = "".join(f"{line.removeprefix('#').removeprefix(' ')}\n" for line in blocks[0])
    if len(content) > _LARGEST_BLOCK or any(line.count(".") > _MOST_DOTS for line in blocks[0]):
        raise ModuleLoadError("the '# /// script' block is larger than any list of requirements")
    try:
        data = tomllib.loads(content)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
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


def _script_blocks(lines: list[str]) -> Iterator[list[str]]:
    """Yield the lines of each ``script`` block, as the reference expression of PEP 723 finds them, in linear time."""
    at = 0
    while at < len(lines):
        head = _HEAD.match(lines[at])
        at += 1
        if head is None:
            continue
        start = at
        while at < len(lines) and (lines[at] == "#" or lines[at].startswith("# ")):
            at += 1
        # The last of the lines that may end it does; with none, no head among these lines has one either.
        end = next((place for place in range(at - 1, start, -1) if lines[place] == _END), 0)
        if end:
            at = end + 1
            if head["type"] == "script":
                yield lines[start:end]


@dataclass(frozen=True)
class Missing:
    """One thing that is not as a tool needs it."""

    requirement: str
    found: str

    def __str__(self) -> str:
        return f"{self.requirement} ({self.found or 'not installed'})"


def check(
    requirements: Sequence[str],
    requires_python: str = "",
    *,
    python: str | None = None,
    extra: Sequence[str] = (),
) -> None:
    """Hold a tool's requirements against the interpreter it will run in.

    Parameters
    ----------
    requirements : sequence of str
        PEP 508.
    requires_python : str
        PEP 440 specifiers; "" for any.
    python : str, optional
        The interpreter; this one by default.

    Raises
    ------
    ModuleLoadError
        Something is missing, has the wrong version, or is no valid requirement; the message has the command that
        fixes it.
    """
    if not requirements and not requires_python:
        return
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    version, installed = _inventory(python or sys.executable)
    there = {"python_full_version": version, "python_version": ".".join(version.split(".")[:2])}
    try:
        if requires_python and not SpecifierSet(requires_python).contains(version, prereleases=True):
            raise ModuleLoadError(
                f"the tool needs Python {requires_python}, but would run on {version} ({python or sys.executable}): "
                "make the pool with python= of a fitting interpreter"
            )
        parsed = [Requirement(text) for text in requirements]
    except (InvalidSpecifier, InvalidRequirement) as error:
        raise ModuleLoadError(f"the tool's requirements cannot be read: {error}") from error
    missing = []
    for requirement in parsed:
        if requirement.marker is not None and not requirement.marker.evaluate(there):
            continue
        found = installed.get(_normal(requirement.name), "")
        if not found or not requirement.specifier.contains(found, prereleases=True):
            missing.append(Missing(str(requirement), found))
    if missing:
        _inventory.cache_clear()  # what is installed next must be seen
        names = " ".join(f"'{item.requirement}'" for item in missing)
        raise ModuleLoadError(
            f"the tool needs what the interpreter does not have: {', '.join(map(str, missing))}. Install it with: "
            f"{python or sys.executable} -m pip install {names}, or load the tool with environment='managed'"
        )


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


_INVENTORY = (
    "import json, sys, importlib.metadata as m\n"
    "found = {}\n"
    "for d in m.distributions():\n"
    "    name = d.metadata['Name']\n"
    "    if name: found.setdefault(name, d.version)\n"
    "print(json.dumps(['.'.join(map(str, sys.version_info[:3])), found]))\n"
)


@lru_cache(maxsize=16)
def _inventory(python: str) -> tuple[str, dict[str, str]]:
    """Version and distributions of an interpreter, asked in a process of its own that runs nothing of the tool."""
    import json
    import subprocess

    try:
        done = subprocess.run(
            [python, "-I", "-c", _INVENTORY], capture_output=True, timeout=60, check=True, text=True
        )
        version, found = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise ModuleLoadError(f"cannot ask {python} what it has installed: {error}") from error
    return version, {_normal(name): text for name, text in found.items()}


# -- managed environments --


# What the confined side itself imports there.
_ALWAYS = ("msgspec>=0.19", "RestrictedPython>=8.5,<10", "pydantic>=2.7")


def managed_environment(
    requirements: Sequence[str], requires_python: str = "", *, offline: bool = False
) -> str:
    """Build an environment with `requirements` with uv, or find it built already.

    Environments lie in ``$XDG_CACHE_HOME/elf_pysandbox/environments``, named by a digest of what they hold and of the
    version of Python. This interpreter's version is taken if it fits `requires_python`.

    Returns
    -------
    str
        The environment's interpreter.

    Raises
    ------
    ModuleLoadError
        uv is not installed, there is no network, or the requirements cannot be had together.
    """
    wanted = sorted({*requirements, *_ALWAYS})
    version = _fitting_python(requires_python)
    text = "\n".join([version, sys.implementation.cache_tag or "", *wanted])
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    name = hashlib.sha256(text.encode()).hexdigest()[:32]
    place = os.path.join(cache, "elf_pysandbox", "environments", name)
    if not os.path.exists(os.path.join(place, "complete")):
        _build(place, version, wanted, offline)
    return os.path.join(place, "bin", "python")


def _fitting_python(requires_python: str) -> str:
    """Return what to ask uv for: this interpreter if its version fits."""
    if not requires_python:
        return sys.executable
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        fits = SpecifierSet(requires_python).contains(
            ".".join(map(str, sys.version_info[:3])), prereleases=True
        )
    except InvalidSpecifier as error:
        raise ModuleLoadError(f"the tool's requires-python cannot be read: {error}") from error
    return sys.executable if fits else requires_python


def _build(place: str, version: str, requirements: Sequence[str], offline: bool) -> None:
    import shutil
    import tempfile

    uv = _find_uv()
    if uv is None:
        raise ModuleLoadError(
            "environment='managed' needs uv, which is not installed: python -m pip install 'elf-pysandbox[managed]'"
        )
    parent = os.path.dirname(place)
    os.makedirs(parent, exist_ok=True)
    building = tempfile.mkdtemp(prefix=".building-", dir=parent)
    quiet = ["--quiet", *(["--offline"] if offline else [])]
    try:
        _uv([uv, "venv", *quiet, "--python", version, "--relocatable", "--clear", building], requirements)
        python = os.path.join(building, "bin", "python")
        # "--" keeps a requirement from being read as an option.
        _uv([uv, "pip", "install", *quiet, "--python", python, "--", *requirements], requirements)
        with open(os.path.join(building, "complete"), "w", encoding="utf-8") as file:
            file.write("\n".join(requirements))
        try:
            os.rename(building, place)
        except OSError:
            if not os.path.exists(os.path.join(place, "complete")):
                raise
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _find_uv() -> str | None:
    """Return the path of uv: of the package beside this one, whose folder of programs may be on no path, or another."""
    import shutil

    try:
        from uv import find_uv_bin

        return find_uv_bin()
    except (ImportError, FileNotFoundError):
        return shutil.which("uv")


# Hosts behind a proxy of their own have its certificate in the system's store, where pip looks, too. The second name is
# the older one.
_TRUST = {"UV_SYSTEM_CERTS": "1", "UV_NATIVE_TLS": "1"}


def _uv(command: Sequence[str], requirements: Sequence[str]) -> None:
    import subprocess

    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=600, check=False, env=_TRUST | os.environ
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ModuleLoadError(f"uv could not be run: {error}") from error
    if done.returncode:
        words = done.stderr.strip()[-2000:]
        network = any(
            sign in words.lower() for sign in ("network", "offline", "dns", "connect", "resolve host")
        )
        reason = (
            "there is no network, and the packages are in no cache"
            if network
            else "uv could not install them"
        )
        raise ModuleLoadError(
            f"no environment for {', '.join(requirements) or 'no packages'}: {reason}\n{words}"
        )
