"""Settings: where the limits and the policy of an edge come from.

Decided here and nowhere else: the names of the settings, how each is written in an environment variable, and
which source wins. From strongest to weakest: the call, the command line, ``PYSANDBOX_*`` variables,
``[tool.pysandbox]`` of the nearest pyproject.toml, the defaults of the profile. Each value remembers its
source.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from elf_pysandbox._errors import ConfigurationError
from elf_pysandbox._limits import Limits
from elf_pysandbox._policy import Files, Policy

PREFIX = "PYSANDBOX_"
LOCATION = "PYSANDBOX_PYPROJECT"
"""Names the pyproject.toml to read; empty for none. Settings of a folder are trusted as much as its code is
run unconfined by any build tool: set this to nothing in a folder whose files you did not write."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One value and the place it came from.

    Attributes
    ----------
    name : str
    value : Any
    origin : str
        ``call``, ``command line``, the name of a variable, ``project``, the path of a pyproject.toml, or
        ``default``.
    """

    name: str
    value: Any
    origin: str


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _paths(text: str) -> tuple[str, ...]:
    return tuple(os.path.abspath(part) for part in text.split(os.pathsep) if part)


def _layers(text: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in _names(text))
    return {name.strip(): mode.strip() for name, _, mode in pairs}


_LIMITS = {spec.name: spec for spec in fields(Limits)}
_READERS: dict[str, Callable[[str], Any]] = {
    **{name: (int if spec.type == "int" else float) for name, spec in _LIMITS.items()},
    "profile": str,
    "allowed_imports": _names,
    "read": _paths,
    "write": _paths,
    "env": _names,
    "calls_per_worker": int,
    "max_workers": int,
    "layers": _layers,
}
_LISTED = frozenset({"allowed_imports", "read", "write", "env"})
NAMES: tuple[str, ...] = tuple(_READERS)
"""Every setting, in the order in which ``pysandbox config`` prints them."""


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings with their origins.

    Attributes
    ----------
    values : dict of str to Setting
        One for each of `NAMES`.
    warnings : tuple of str
        Variables that look like a misspelt setting, each with the nearest one.
    """

    values: Mapping[str, Setting]
    warnings: tuple[str, ...] = ()

    @classmethod
    def resolve(
        cls,
        command_line: Mapping[str, Any] | None = None,
        *,
        call: Mapping[str, Any] | None = None,
        project: Mapping[str, Any] | None = None,
        environ: Mapping[str, str] | None = None,
        folder: str | os.PathLike[str] = ".",
    ) -> Settings:
        """Gather the settings from all places.

        Parameters
        ----------
        command_line, call : mapping, optional
            Setting -> value; None values count as not given.
        project : mapping, optional
            Settings that stand elsewhere in the project's configuration; they win over ``[tool.pysandbox]``.
        environ : mapping, optional
            The variables; those of this process by default.
        folder : path
            Where the search for pyproject.toml starts, upwards.

        Raises
        ------
        ConfigurationError
            A name that is no setting, or a value of the wrong form; says where it stands.
        """
        environ = os.environ if environ is None else environ
        found = {setting.name: setting for setting in _defaults()}
        given_project = (
            Setting(name, value, "project") for name, value in (project or {}).items() if value is not None
        )
        for source in (_from_pyproject(environ, Path(folder)), given_project, _from_environment(environ)):
            for setting in source:
                _known(setting.name, setting.origin)
                found[setting.name] = setting
        for origin, given in (("command line", command_line), ("call", call)):
            for name, value in (given or {}).items():
                if value is not None:
                    _known(name, origin)
                    found[name] = Setting(name, value, origin)
        settings = cls(found, tuple(_unknown_variables(environ)))
        settings._check()
        return settings

    def __getitem__(self, name: str) -> Any:
        return self.values[name].value

    @property
    def limits(self) -> Limits:
        """The limits these settings mean."""
        return Limits(**{name: self[name] for name in _LIMITS})

    @property
    def policy(self) -> Policy:
        """The policy these settings mean."""
        return Policy(
            profile=self["profile"],
            allowed_imports=tuple(self["allowed_imports"]),
            files=Files(read=tuple(self["read"]), write=tuple(self["write"]), scratch_mb=self["scratch_mb"]),
            env=tuple(self["env"]),
            calls_per_worker=self["calls_per_worker"],
            layers=self["layers"],
        )

    def _check(self) -> None:
        """Try each value on its own, so that the error can name where it came from."""
        base = {setting.name: setting.value for setting in _defaults()}
        for setting in self.values.values():
            alone = {**base, setting.name: setting.value}
            try:
                _check_listed(setting)
                probe = Settings({name: Setting(name, value, "") for name, value in alone.items()})
                _ = probe.limits, probe.policy
                _check_workers(alone["max_workers"])
                _check_profile(alone["profile"])
            except (ConfigurationError, TypeError, ValueError) as error:
                raise _placed(error, setting) from None


def _placed(error: Exception, setting: Setting) -> ConfigurationError:
    """Return the error with the place where the setting is written."""
    problem = getattr(error, "problem", "") or f"cannot be used: {error}"
    placed = ConfigurationError(f"{setting.origin}: {setting.name} {problem}")
    placed.setting, placed.problem, placed.origin = setting.name, problem, setting.origin
    return placed


def _check_listed(setting: Setting) -> None:
    """Refuse text where a list is meant: each letter would be a path, and the "/" of "./data" the whole host."""
    if setting.name in _LISTED and isinstance(setting.value, str):
        problem = f"must be a list, as in [{json.dumps(setting.value)}]"
        raise ConfigurationError.about("Settings", setting.name, problem)


def _check_workers(value: Any) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        problem = f"must be a whole number of 1 or more, not {value!r}"
        raise ConfigurationError.about("SandboxPool", "max_workers", problem)


def _check_profile(value: str) -> None:
    if value == "trusted":
        problem = "must be restricted or native: 'trusted' runs nothing in a pool"
        raise ConfigurationError.about("Policy", "profile", problem)


def _defaults() -> Iterator[Setting]:
    policy, limits = Policy(), Limits()
    special: dict[str, Any] = {"read": (), "write": (), "max_workers": None, "layers": {}}
    for name in NAMES:
        home = limits if name in _LIMITS else policy
        yield Setting(name, special[name] if name in special else getattr(home, name), "default")


def _known(name: str, origin: str) -> None:
    if name not in _READERS:
        close = get_close_matches(name, NAMES, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(NAMES)}"
        raise ConfigurationError(f"{origin}: no setting {name!r}; {hint}")


def _from_environment(environ: Mapping[str, str]) -> Iterator[Setting]:
    for name, read in _READERS.items():
        variable = PREFIX + name.upper()
        text = environ.get(variable)
        if text is None:
            continue
        try:
            yield Setting(name, read(text), variable)
        except ValueError:
            kind = "a whole number" if read is int else "a number"
            raise ConfigurationError(f"{variable} must be {kind}, not {text!r}") from None


def _unknown_variables(environ: Mapping[str, str]) -> Iterator[str]:
    known = {PREFIX + name.upper() for name in NAMES} | {LOCATION}
    for variable in environ:
        if variable.startswith(PREFIX) and variable not in known:
            close = get_close_matches(variable, known, n=1, cutoff=0.8)
            if close:
                yield f"{variable} is no setting; did you mean {close[0]}?"


def _find_pyproject(environ: Mapping[str, str], folder: Path) -> Path | None:
    """Return the nearest pyproject.toml upwards, or the one that `PYSANDBOX_PYPROJECT` names."""
    named = environ.get(LOCATION)
    if named is not None:
        return Path(named) if named else None
    try:
        start = folder.resolve()
    except OSError:
        return None  # the working folder was removed
    above = (at / "pyproject.toml" for at in (start, *start.parents))
    return next(
        (path for path in above if os.path.isfile(path)), None
    )  # a folder above may be closed to this user


def _from_pyproject(environ: Mapping[str, str], folder: Path) -> Iterator[Setting]:
    path = _find_pyproject(environ, folder)
    if path is None:
        return
    import tomllib

    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"{path}: {error}") from None
    tools = document.get("tool", {})
    table = tools.get("pysandbox", {}) if isinstance(tools, dict) else None
    if not isinstance(table, dict):
        raise ConfigurationError(f"{path}: [tool.pysandbox] must be a table")
    for name, written in table.items():
        value = written
        _known(name, f"{path} [tool.pysandbox]")
        if name in ("read", "write") and isinstance(value, list):
            # Relative to the file they are written in, wherever the command is run.
            value = [
                str(path.parent.resolve() / part) if part and isinstance(part, str) else part
                for part in value
            ]
        yield Setting(name, tuple(value) if isinstance(value, list) else value, str(path))
