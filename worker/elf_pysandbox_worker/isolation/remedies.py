"""What an operator can do where the host refuses a layer: said for the host at hand.

Decided here and nowhere else: the wording of remedies that depend on the host. Nothing is tried and nothing
changed; a remedy is text.
"""

from __future__ import annotations

import os

_CONTAINER_MARKS = ("/.dockerenv", "/run/.containerenv")
_SYSTEMD_MARK = "/run/systemd/system"
# (sysctl, value that is in the way, value that is not, where it is found)
_NAMESPACE_SYSCTLS = (
    ("user.max_user_namespaces", "0", "15000", "any kernel"),
    ("kernel.unprivileged_userns_clone", "0", "1", "Debian"),
    ("kernel.apparmor_restrict_unprivileged_userns", "1", "0", "Ubuntu"),
)
_IN_CONTAINER = (
    "start it with --security-opt seccomp=unconfined --security-opt apparmor=unconfined (Docker, Podman), "
    "or with a seccomp profile that allows unshare, mount, umount2, pivot_root, open_tree, move_mount, mount_setattr "
    "and sethostname; no capability is needed. Kubernetes: seccompProfile Unconfined in the pod's securityContext"
)


def namespaces() -> str:
    """Return what to do about refused namespaces or mounts."""
    steps = [
        f"sysctl -w {name}={good} ({where})"
        for name, bad, good, where in _NAMESPACE_SYSCTLS
        if _sysctl(name) == bad
    ]
    if not steps or any(os.path.exists(mark) for mark in _CONTAINER_MARKS):
        steps.append(f"in a container, {_IN_CONTAINER}")
    return f"Allow user namespaces: {'; '.join(steps)}"


def cgroup() -> str:
    """Return what to do about the lack of a cgroup that this user may divide (cgroups(7), delegation)."""
    if _is_read_only("/sys/fs/cgroup"):
        return (
            "Start the container with --security-opt writable-cgroups=true (Docker 28; Podman: --security-opt "
            "unmask=/sys/fs/cgroup), and let the shell that starts the host program leave the container's own group "
            "first: mkdir /sys/fs/cgroup/host && echo 0 > /sys/fs/cgroup/host/cgroup.procs && "
            "echo '+memory +pids' > /sys/fs/cgroup/cgroup.subtree_control"
        )
    if os.path.exists(_SYSTEMD_MARK):
        return (
            "Start the host program with `systemd-run --user --scope -p Delegate=yes PROGRAM`; for a service put "
            "Delegate=yes and DelegateSubgroup=host into its unit"
        )
    user = os.geteuid()
    if _is_version_2():
        return (
            "Delegate a group, as root: G=/sys/fs/cgroup/pysandbox; mkdir -p $G/host; "
            "echo '+memory +pids' | tee $G/../cgroup.subtree_control $G/cgroup.subtree_control; "
            f"chown -R {user} $G; echo PID > $G/host/cgroup.procs, where PID is the shell that starts the host program"
        )
    return (
        "Delegate a group, as root: for C in memory pids; do G=/sys/fs/cgroup/$C/pysandbox; mkdir -p $G; "
        f"chown -R {user} $G; echo PID > $G/cgroup.procs; done, where PID is the shell that starts the host program"
    )


def _is_read_only(path: str) -> bool:
    try:
        return bool(os.statvfs(path).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def _is_version_2() -> bool:
    return "memory" in _read("/sys/fs/cgroup/cgroup.controllers").split()


def _sysctl(name: str) -> str:
    return _read(f"/proc/sys/{name.replace('.', '/')}").strip()


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except OSError:
        return ""
