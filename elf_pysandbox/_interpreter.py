"""An interpreter that runs tools: where its library, its packages and the confined side's own modules lie."""

from __future__ import annotations

import os
import sys

import elf_pysandbox_worker
from elf_pysandbox._errors import ConfigurationError
from elf_pysandbox._records import record

# Shared objects of the C library and of wheels' dependencies, time zones: nothing secret, nothing of the user's.
_SYSTEM = (
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/share/zoneinfo",
    "/etc/ld.so.cache",
    "/etc/localtime",
)
TYPE_CHECKING = False  # see `_records`
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_PACKAGE_FOLDERS = ("site-packages", "dist-packages")
_ASK = """
import json, os, sys, sysconfig
try:
    import msgspec
except ImportError:
    msgspec = None
print(json.dumps({
    "version": sys.version_info[:2],
    "library": [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), sysconfig.get_config_var("LIBDIR")],
    "packages": [p for p in sys.path if os.path.basename(p) in ("site-packages", "dist-packages")],
    "msgspec": msgspec and msgspec.__file__,
}))
"""


@record(frozen=True, slots=True)
class Interpreter:
    """One interpreter, as routes need it.

    Attributes
    ----------
    python : str
        Path of the executable.
    version : (int, int)
    packages : tuple of str
        Folders of installed packages, which tools import from.
    roots : tuple of str
        Folders the zygote imports its own modules and msgspec from.
    readable : tuple of str
        Everything the interpreter reads while it runs.
    """

    python: str
    version: tuple[int, int]
    packages: tuple[str, ...]
    roots: tuple[str, ...]
    readable: tuple[str, ...]


def _compose(
    python: str, version: tuple[int, int], library: list[str | None], packages: list[str], msgspec_file: str
) -> Interpreter:
    own = os.path.dirname(os.path.dirname(os.path.abspath(elf_pysandbox_worker.__file__)))
    roots = _unique([own, os.path.dirname(os.path.dirname(os.path.abspath(msgspec_file)))])
    folders = _unique([os.path.abspath(path) for path in packages if os.path.isdir(path)])
    # A shared libpython may lie beside the library; the system's own folders are listed anyway.
    places = [path for path in library if path and os.path.realpath(path) not in ("/usr/lib", "/lib")]
    readable = [path for path in (*places, *folders, *roots, *_SYSTEM) if os.path.exists(path)]
    return Interpreter(python, version, folders, roots, _unique(readable))


def _unique(paths: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(paths))


_known: dict[str, Interpreter] = {}
_REMEMBERED = 64


def own_interpreter() -> Interpreter:
    """Return the interpreter that runs the host."""
    return _remembered("", _look_at_own)


def _remembered(python: str, look: Callable[[], Interpreter]) -> Interpreter:
    found = _known.get(python)
    if found is None:
        found = look()
        if len(_known) >= _REMEMBERED:
            _known.pop(next(iter(_known)))
        _known[python] = found
    return found


def _look_at_own() -> Interpreter:
    # Cheaper than sysconfig, which reads the whole configuration of the build.
    library: list[str | None] = [os.path.dirname(os.__file__), os.path.join(sys.base_exec_prefix, "lib")]
    packages = [path for path in sys.path if os.path.basename(path) in _PACKAGE_FOLDERS]
    python = sys.executable or "/usr/bin/python3"
    return _compose(python, sys.version_info[:2], library, packages, _origin_of("msgspec"))


def _origin_of(name: str) -> str:
    """Return where a module of a top-level name lies.

    Raises
    ------
    ConfigurationError
        It lies nowhere.
    """
    loaded = sys.modules.get(name)
    if loaded is not None and loaded.__file__:
        return loaded.__file__
    spec = spec_of(name)
    if spec is None:
        raise ConfigurationError(
            f"{name} is not on the path of this interpreter ({sys.executable}); install it: pip install {name}"
        )
    return spec.origin or ""


def spec_of(name: str, path: Any = None, *, without: object = None) -> Any:
    """Ask the finders of the import system, but one; as `importlib.util.find_spec`, which takes longer to import."""
    for finder in sys.meta_path:
        find: Any = getattr(finder, "find_spec", None)  # the import system passes over those that have none
        spec = None if find is None or finder is without else find(name, path)
        if spec is not None:
            return spec
    return None


def interpreter_at(python: str) -> Interpreter:
    """Return another interpreter; it is asked once, in a process of its own.

    Raises
    ------
    ConfigurationError
        It does not run, or lacks what the confined side needs.
    """
    if not isinstance(python, str):
        raise ConfigurationError(f"python must be the path of an interpreter, not {python!r}")
    if python in (sys.executable, ""):
        return own_interpreter()
    return _remembered(python, lambda: _ask(python))


def _why(error: Exception) -> str:
    """Say what went wrong, without the program that it was given."""
    code = getattr(error, "returncode", None)
    if code is not None:
        said = str(getattr(error, "stderr", "")).strip()[-120:].splitlines()
        return f"it ended with exit code {code}" + (f" ({said[-1]})" if said else "")
    if hasattr(error, "timeout"):
        return f"it did not end within {error.timeout} s"
    return "it printed no JSON: is it a Python?" if isinstance(error, ValueError) else str(error)


def _ask(python: str) -> Interpreter:
    import json
    import subprocess

    try:
        done = subprocess.run(
            [python, "-I", "-c", _ASK], capture_output=True, text=True, timeout=30, check=True, env={}
        )
        told = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise ConfigurationError(f"the interpreter {python!r} does not run: {_why(error)}") from None
    version = tuple(told["version"])
    if not (3, 11) <= version <= (3, 13):
        raise ConfigurationError(
            f"the interpreter {python!r} is Python {version[0]}.{version[1]}; 3.11 to 3.13 run tools"
        )
    if told["msgspec"] is None:
        raise ConfigurationError(
            f"the interpreter {python!r} lacks msgspec, which the confined side needs: "
            f"{python} -m pip install msgspec RestrictedPython"
        )
    return _compose(python, (version[0], version[1]), told["library"], told["packages"], told["msgspec"])
