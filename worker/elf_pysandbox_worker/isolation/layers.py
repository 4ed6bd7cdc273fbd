"""The layers in their only legal order, and the loop that applies them.

Decided here and nowhere else: the order, and what becomes of a layer that cannot hold (`require`, `prefer`,
`off`). Fail closed: a required layer that is missing ends in `LayerMissing`, never in a weaker sandbox.
"""

from __future__ import annotations

import os

from elf_pysandbox_worker.isolation import (
    capabilities,
    cgroup,
    descriptors,
    environment,
    identity,
    landlock,
    lifeline,
    mount_namespace,
    namespaces,
    no_new_privs,
    owners,
    remedies,
    rlimits,
    seccomp,
    session,
    user_namespace,
)
from elf_pysandbox_worker.isolation.context import Context, Door, Layer
from elf_pysandbox_worker.isolation.errors import LayerMissing, Missing, Unavailable
from elf_pysandbox_worker.wire.messages import LayerReport

LAYERS: tuple[Layer, ...] = (
    descriptors.LAYER,
    # descriptors before session: an open terminal would survive setsid(2) and take TIOCSTI.
    session.LAYER,
    # session before environment: only a process that no terminal can stop or signal rearranges its own
    # memory.
    environment.LAYER,
    # environment before user_namespace: the mapper is a fork, and what it inherits is readable by root
    # outside.
    user_namespace.LAYER,
    # user before pid: the PID namespace must belong to the user namespace, or an ordinary user may not make
    # it.
    namespaces.PID,
    # pid before mount: the private root must not be able to show another PID namespace's /proc.
    mount_namespace.LAYER,
    # mount before ipc: /dev/mqueue of the host's IPC namespace must be out of the tree that stays.
    namespaces.IPC,
    # ipc before uts: no effect on each other; kept so that one order exists.
    namespaces.UTS,
    # uts before network: sysfs and the netns name come from the host; the cheap one fails first.
    namespaces.NETWORK,
    # network before cgroup: making it costs kernel memory that the template's own small group should not pay.
    cgroup.LAYER,
    # cgroup before rlimits: what the limits count is counted from inside the group. It is waited for only here, since a
    # keeper that has to admit the template needs some milliseconds, and the private root takes as long to build.
    rlimits.LAYER,
    # rlimits before identity: a hard limit inherited too low can only be seen, not raised, without privilege,
    # and RLIMIT_NPROC must be in force when the new user's first process starts.
    identity.LAYER,
    # identity before capabilities: setgroups(2) and setresuid(2) need capabilities.
    capabilities.LAYER,
    # capabilities before no_new_privs: emptying the bounding set is moot after it, but must hold without it.
    no_new_privs.LAYER,
    # no_new_privs before landlock: landlock_restrict_self(2) demands it of a process without privilege.
    landlock.LAYER,
    # landlock before seccomp: which signals the filter may leave to the template depends on Landlock's scope,
    # and every layer above uses calls that seccomp takes away.
    seccomp.LAYER,
)

_OFF = "off by policy"
_FILE_LAYERS = ("mount_namespace", "landlock")


def apply_door(context: Context, door: Door) -> list[LayerReport]:
    """Apply every layer that belongs to this door; return the reports of those that have no later door.

    Raises
    ------
    LayerMissing
        If a required layer cannot hold.
    """
    for layer in LAYERS:
        if door in layer.doors:
            _apply_layer(layer, context, door)
        if door == "template":
            _check_after(layer.name, context)
        elif layer.name == "environment":
            # Descriptors are closed, so what this opens stays; the first namespace takes the right to do it.
            owners.take(context)
    return [context.reports[layer.name] for layer in LAYERS if layer.doors[-1] == door]


def _apply_layer(layer: Layer, context: Context, door: Door) -> None:
    mode = context.spec.layers.get(layer.name, "require")
    earlier = context.reports.get(layer.name)
    if mode == "off":
        context.reports[layer.name] = LayerReport(layer.name, False, _OFF)
        return
    if earlier is not None and not earlier.held:
        return  # Its first half did not hold, so there is nothing for the second to complete.
    missing = layer.available(context.spec) if earlier is None else None
    if missing is None:
        try:
            context.reports[layer.name] = LayerReport(layer.name, True, layer.apply(context, door))
            return
        except Unavailable as error:
            missing = error.missing
        except OSError as error:
            what = f"{error.filename}: " if error.filename else ""
            missing = Missing(f"{what}{error.strerror or error}", "Run `pysandbox doctor` on this host")
    if mode == "require":
        raise LayerMissing(layer.name, missing.reason, missing.remedy)
    context.reports[layer.name] = LayerReport(layer.name, False, f"{missing.reason}. {missing.remedy}")


def _check_after(name: str, context: Context) -> None:
    """Hold what no single layer can promise, as soon as it can be known and before seccomp."""
    if name == "mount_namespace":
        # The private root has them, or there is none: one that is left would be a way out.
        while context.owned:
            os.close(context.owned.popitem()[1])
    if name == "capabilities":
        # The change of uid is behind us, which would clear the signal; seccomp is not, which would deny it.
        lifeline.tie(context.alive)
    if name != "landlock":
        return
    modes = [context.spec.layers.get(layer, "require") for layer in _FILE_LAYERS]
    if not context.holds(*_FILE_LAYERS) and modes != ["off", "off"]:
        details = "; ".join(f"{layer}: {context.reports[layer].detail}" for layer in _FILE_LAYERS)
        raise LayerMissing(
            "mount_namespace or landlock",
            f"nothing keeps the tool from the host's files ({details})",
            "At least one of the two must hold; set both to 'off' to run without",
        )
    if context.spec.processes and not context.holds("pid_namespace", "cgroup"):
        raise LayerMissing(
            "pid_namespace",
            "processes are granted, and without a PID namespace or a cgroup one could outlive its call",
            f"Set processes to 0. {remedies.namespaces()}",
        )
    if context.spec.scratch_mb and not context.holds("mount_namespace"):
        raise LayerMissing(
            "mount_namespace",
            "a scratch directory is a size-capped tmpfs, which needs a mount namespace",
            f"Set scratch_mb to 0 or grant a directory to write to. {remedies.namespaces()}",
        )
