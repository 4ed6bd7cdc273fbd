"""From a tool, a policy and limits to a route: what its template is confined to and what it loads."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING

from elf_pysandbox._errors import ConfigurationError, ModuleLoadError
from elf_pysandbox._host.endings import HostLimits
from elf_pysandbox._host.route import Route
from elf_pysandbox_worker.wire.messages import Confinement, Load, encode

if TYPE_CHECKING:
    from elf_pysandbox._interpreter import Interpreter
    from elf_pysandbox._limits import Limits
    from elf_pysandbox._policy import Policy
    from elf_pysandbox._tools.tool import Tool

# Where tools see their scratch directories (`elf_pysandbox_worker.isolation.mount_namespace`).
_SCRATCH = "/scratch"
# One thread each: a BLAS that starts one per core in every worker buys nothing on a pool and costs processes.
_ENVIRONMENT = {
    "HOME": "/",
    "LANG": "C.UTF-8",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}


def confinement_of(policy: Policy, limits: Limits, max_workers: int, interpreter: Interpreter) -> Confinement:
    """Compose the confinement that this policy and these limits mean on this host.

    Raises
    ------
    ConfigurationError
        A granted path does not exist, or leaves no place for the scratch directory.
    """
    files = policy.files
    scratch_mb = max(files.scratch_mb, limits.scratch_mb)
    for path in (*files.read, *files.write):
        _check_grant(path, scratch_mb > 0)
    modes: dict[str, str] = dict(policy.layer_modes())
    if limits.processes and modes["pid_namespace"] == "prefer":
        # Without one, a process that the tool left behind would outlive its call.
        modes["pid_namespace"] = "require"
    workers = max_workers + 4  # those that are ending while their successors start
    _check_text((*files.read, *files.write, *policy.env, *policy.allowed_imports))
    environment = dict(_ENVIRONMENT)
    environment |= {name: os.environ[name] for name in policy.env if name in os.environ}
    _check_text(environment.values())
    return Confinement(
        layers=modes,
        read=list(dict.fromkeys((*interpreter.readable, *files.read))),
        write=list(files.write),
        scratch_mb=scratch_mb,
        scratch_slots=min(workers, 128) if scratch_mb else 0,
        memory_mb=limits.memory_mb,
        file_mb=limits.file_mb,
        open_files=limits.open_files,
        processes=limits.processes,
        cpu_s=limits.cpu_s,
        load_s=limits.load_s,
        workers=min(workers, 128) if scratch_mb else workers,
        env=environment,
        grants_read=list(files.read),
    )


def _check_grant(path: str, with_scratch: bool) -> None:
    if not os.path.exists(path):
        raise ConfigurationError(f"the granted path {path!r} does not exist; create it or correct the grant")
    try:
        real = os.path.realpath(path)
    except OSError:
        return  # It changes at this moment: the confined side resolves it for good.
    if with_scratch and (real in ("/", _SCRATCH) or real.startswith(f"{_SCRATCH}/")):
        raise ConfigurationError(
            f"the granted path {path!r} leaves no place for the scratch directory, which appears at {_SCRATCH}: "
            "grant only the folders that the tool needs, or set scratch_mb to 0"
        )


def _check_text(texts: Iterable[str]) -> None:
    for text in texts:
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ConfigurationError(
                f"{text!r} is not valid UTF-8; a policy can only pass on what is"
            ) from None


def host_limits_of(limits: Limits) -> HostLimits:
    """Return the part of the limits that the host holds."""
    return HostLimits(
        limits.wall_s, limits.cpu_s, limits.queue_s, limits.load_s, limits.output_bytes, limits.result_bytes
    )


def route_of(tool: Tool, policy: Policy, limits: Limits, max_workers: int, interpreter: Interpreter) -> Route:
    """Return the route of a tool's calls under these options."""
    if policy.profile == "trusted":
        raise ConfigurationError(
            "profile 'trusted' runs nothing in the pool: it is for entrypoints that an operator lists by name"
        )
    if tool.context.pickled and interpreter.version != sys.version_info[:2]:
        # Its bytes hold this version's bytecode; another one would run it all the same, as far as it gets.
        here, there = sys.version_info[:2], interpreter.version
        raise ModuleLoadError(
            f"tool {tool.name!r} has no source and was pickled by Python {here[0]}.{here[1]}; Python "
            f"{there[0]}.{there[1]} cannot run it: put its function into a file"
        )
    confinement = confinement_of(policy, limits, max_workers, interpreter)
    load = Load(
        bundle=tool.context.bundle(),
        path=tool.path,
        profile=policy.profile,
        allowed_imports=sorted(policy.allowed_imports),
        search=list(interpreter.packages),
        calls_per_worker=policy.calls_per_worker,
        files_granted=bool(policy.files.read or policy.files.write or confinement.scratch_mb),
    )
    options = (load.profile, tuple(load.allowed_imports), load.calls_per_worker)
    key = (tool.context.key, options, encode(confinement), interpreter.python)
    return Route(key, interpreter.python, interpreter.roots, confinement, load, host_limits_of(limits))
