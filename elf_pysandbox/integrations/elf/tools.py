"""One entrypoint in the sandbox: its real signature, its calls, and its failures in ELF's terms."""

from __future__ import annotations

import inspect
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from elf_pysandbox._errors import CallError, ConfigurationError, SandboxError
from elf_pysandbox._outcome import Outcome
from elf_pysandbox.config.models import Settings
from elf_pysandbox.integrations.attempts import attempt
from elf_pysandbox.integrations.elf.sources import ELF, tool_of
from elf_pysandbox.integrations.settings import view_of

if TYPE_CHECKING:
    from elf_pysandbox._pool import SandboxPool

_KINDS = {
    "positional_only": inspect.Parameter.POSITIONAL_ONLY,
    "positional_or_keyword": inspect.Parameter.POSITIONAL_OR_KEYWORD,
    "var_positional": inspect.Parameter.VAR_POSITIONAL,
    "keyword_only": inspect.Parameter.KEYWORD_ONLY,
    "var_keyword": inspect.Parameter.VAR_KEYWORD,
}


class ElfToolError(SandboxError):
    """A tool that failed, with a message of one line, as ELF shows it.

    Attributes
    ----------
    status : str
        How the call ended.
    """

    def __init__(self, message: str, status: str) -> None:
        super().__init__(message)
        self.status = status


class _Default:
    """Stands in a signature for a default value, which stays on the confined side."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


class ElfTool:
    """The tool behind an entrypoint.

    Parameters
    ----------
    entrypoint : str
        Dotted path of the function.
    pool : callable
        Returns the pool that runs it; asked at the first call.
    settings : Settings
        What the call may use and reach.
    """

    def __init__(self, entrypoint: str, pool: Callable[[], SandboxPool], settings: Settings) -> None:
        if entrypoint.partition(".")[0] == ELF and settings.profile is None:
            # ELF's own functions use what the language policy refuses; the kernel layers hold all the same.
            settings = settings.model_copy(update={"profile": "native"})
        self.entrypoint, self._settings, self._pool = entrypoint, settings, pool
        # ELF's state is what models and people wrote: lax, unless the node says otherwise.
        tool = replace(tool_of(entrypoint, settings.python_path or ()), strict=bool(settings.strict))
        self.tool = tool.needing(settings.requirements or (), settings.requires_python or "")
        self._lock = threading.Lock()
        self._view: SandboxPool | None = None
        self._signature: inspect.Signature | None = None

    @property
    def view(self) -> SandboxPool:
        """The pool with this tool's settings."""
        if self._view is None:
            self._view = view_of(self._pool(), self._settings)
        return self._view

    def signature(self) -> inspect.Signature:
        """Return the function's signature, told by its confined template; defaults show only their text.

        Raises
        ------
        ElfToolError
            There is no such function, or its module does not load.
        """
        with self._lock:
            if self._signature is None:
                described = self._describer().operation("describe", self.tool)
                if not described.ok:
                    raise self.failure(described)
                self._signature = _signature_of(described.value["order"])
            return self._signature

    def _describer(self) -> SandboxPool:
        """Return the view for describing: the tool's time limit is for its calls, not for looking at it."""
        limits = self.view.limits
        return self.view.with_options(limits=replace(limits, wall_s=max(limits.wall_s, limits.load_s)))

    def run(self, kwargs: Mapping[str, Any]) -> Any:
        """Call the function and return its value.

        Raises
        ------
        ElfToolError
            The call did not return a value.
        UserExitRequested
            ELF's own, when the function raised it.
        """
        outcome, _ = attempt(lambda: self.view.outcome(self.tool, **kwargs), self._settings.retry, None)
        if outcome.ok:
            return outcome.value
        raise self.failure(outcome)

    def failure(self, outcome: Outcome) -> Exception:
        """Return the exception that tells ELF how a call ended."""
        error = outcome.error
        info = error.info if isinstance(error, CallError) else None
        if info is not None and outcome.status == "raised":
            if info.type == "UserExitRequested" and info.module.startswith(ELF):
                exceptions = sys.modules.get(f"{ELF}.core.exceptions")
                kind = getattr(exceptions, "UserExitRequested", None)
                if kind is not None:
                    ended: Exception = kind(info.message)
                    return ended
            # ELF shows an exception as its message; what would have ended ELF says also what it was.
            ending = info.type in ("SystemExit", "KeyboardInterrupt", "GeneratorExit")
            text = f"{info.type}: {info.message}" if ending else info.message or info.type
            return ElfToolError(one_line(text), "raised")
        return ElfToolError(f"{outcome.status}: {one_line(str(error))}", outcome.status)


def one_line(text: str) -> str:
    """Return the first line of a text that has something in it."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def _signature_of(order: list[dict[str, Any]]) -> inspect.Signature:
    parameters = []
    for entry in order:
        default: Any = inspect.Parameter.empty
        if "default" in entry:
            default = _Default(str(entry["default"]))
        parameters.append(inspect.Parameter(entry["name"], _KINDS[entry["kind"]], default=default))
    return inspect.Signature(parameters)


def settings_of(config: Mapping[str, Any]) -> Settings:
    """Return the settings in a node's ``config``; its other keys are ELF's.

    Raises
    ------
    ConfigurationError
        A setting of the wrong type.
    """
    from pydantic import ValidationError

    named = {name: config[name] for name in Settings.model_fields if name in config}
    try:
        return Settings(**named)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ConfigurationError(f"config.{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
