"""`Tool`: the frozen handle of one callable, what a pool runs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from elf_pysandbox._errors import ConfigurationError, ToolNotFoundError
from elf_pysandbox._limits import Limits
from elf_pysandbox._policy import Policy
from elf_pysandbox._records import record
from elf_pysandbox._tools.context import ModuleContext

if TYPE_CHECKING:
    from elf_pysandbox._tools.uses import Uses
    from elf_pysandbox._tools.wishes import Wishes
else:
    Wishes = object  # for hints; few tools come from a saved set


@record(frozen=True, eq=False)
class Tool:
    """One callable with the module it lives in; equal when all of its content is.

    Attributes
    ----------
    name : str
        What it is called in messages and requests.
    context : ModuleContext
    path : str
        Attribute path of the callable in the module: ``word_count``, ``Greeter.hello``, ``greeter.greet``.
    limits : Limits or None
        This tool's own limits; None leaves them to the pool.
    policy : Policy or None
        This tool's own policy; None leaves it to the pool.
    strict : bool
        Take arguments of the annotated types, or what stands for one in JSON, and convert nothing else: what the tool's
        schema admits is taken, what it refuses is `invalid_arguments`. False asks for lax reading, which also
        converts as pydantic does ("3" to int).
    check_result : bool
        Hold results against the return annotation; one that does not fit is `bad_result`.
    environment : {"host", "managed"}
        Where its requirements are looked for: in the pool's interpreter, or in an environment of its own, which uv
        builds and keeps.
    named : bool
        Calls give every argument by name, also those that Python takes by position only.
    wishes : Wishes or None
        Of a tool from a saved set: the policy and limits it was saved with. Only `policy` and `limits` count, which
        hold what of that was granted; the wishes are saved again with it.
    """

    name: str
    context: ModuleContext
    path: str
    limits: Limits | None = None
    policy: Policy | None = None
    strict: bool = True
    check_result: bool = False
    environment: str = "host"
    named: bool = False
    wishes: Wishes | None = None

    def __post_init__(self) -> None:
        if self.environment not in ("host", "managed"):
            raise ConfigurationError(
                f"Tool.environment must be 'host' or 'managed', not {self.environment!r}"
            )
        if not self.path or not all(part.isidentifier() for part in self.path.split(".")):
            raise ToolNotFoundError(
                f"{self.path!r} names no function of module {self.context.name!r}: write the name of a "
                f"function, or a "
                "dotted path such as Class.method"
            )

    def needing(
        self, requirements: Sequence[str], requires_python: str = "", environment: str = "host"
    ) -> Tool:
        """Return this tool with requirements added to those its source names."""
        from dataclasses import replace

        if isinstance(requirements, str) or not all(isinstance(item, str) for item in requirements):
            raise ConfigurationError(
                f"requirements must be a list of requirement strings, not {requirements!r}"
            )
        merged = tuple(dict.fromkeys((*self.context.requirements, *requirements)))
        python = ",".join(part for part in (self.context.requires_python, requires_python) if part)
        context = replace(self.context, requirements=merged, requires_python=python)
        return replace(self, context=context, environment=environment)

    def written_from(self, uses: Uses) -> Tool:
        """Remember what this was written down from, beside what makes it this tool; returns it."""
        object.__setattr__(self, "_uses", uses)
        return self

    def __getstate__(self) -> dict[str, object]:
        # What it was written down from is of this process.
        return {name: value for name, value in self.__dict__.items() if name != "_uses"}

    @property
    def is_current(self) -> bool:
        """Whether the live function that this was written down from, if any, would be written alike now."""
        uses: Uses | None = self.__dict__.get("_uses")
        return uses is None or uses.unchanged()

    @cached_property
    def key(self) -> str:
        """The context's key with the path: equal keys run the same callable."""
        return f"{self.context.key}:{self.path}"

    @property
    def requirements(self) -> tuple[str, ...]:
        """Distributions the tool's module needs (PEP 508)."""
        return self.context.requirements

    @cached_property
    def call_options(self) -> dict[str, str]:
        """What each call of this tool tells the worker."""
        options = {"lax": not self.strict, "check_result": self.check_result, "named": self.named}
        return {name: "1" for name, wanted in options.items() if wanted}

    @cached_property
    def module_identity(self) -> tuple[object, ...]:
        """Equal for tools of one module under the same policy and limits."""
        needs = (self.context.requirements, self.context.requires_python, self.environment)
        return (self.context.key, self.limits, self.policy, needs)

    @cached_property
    def _identity(self) -> tuple[object, ...]:
        return (self.key, self.name, *self.module_identity[1:], tuple(self.call_options))

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Tool):
            return NotImplemented
        return self._identity == other._identity

    @cached_property
    def _hash(self) -> int:
        return hash((self.key, self.name))

    def __hash__(self) -> int:
        return self._hash
