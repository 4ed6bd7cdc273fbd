"""The first blank template, asked for before there is an engine: it is made while the host imports the rest.

It is confined as calls under the pool's own policy and limits are, so that the first of them finds it in reserve. Where
the first call is of another kind, it waits there for one that is not.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from elf_pysandbox._errors import ConfigurationError
from elf_pysandbox._host.templates import Template, ask_for
from elf_pysandbox._host.zygotes import Zygote
from elf_pysandbox._route import confinement_of

if TYPE_CHECKING:
    from elf_pysandbox._interpreter import Interpreter
    from elf_pysandbox._limits import Limits
    from elf_pysandbox._policy import Policy


def ask(
    zygote: Zygote, policy: Policy, limits: Limits, max_workers: int, interpreter: Interpreter
) -> Template | None:
    """Return the template that a zygote is asked for, if it can be."""
    if policy.profile == "trusted":
        return None
    try:
        confinement = confinement_of(policy, limits, max_workers, interpreter)
        zygote.prepare_first(policy.profile)
        template = ask_for(zygote, confinement)
    except (ConfigurationError, OSError):
        return None  # the first call that needs one meets the same error and tells it
    template.python, template.roots, template.profile = interpreter.python, interpreter.roots, policy.profile
    with suppress(OSError):
        template.prepare(policy.profile)
    return template
