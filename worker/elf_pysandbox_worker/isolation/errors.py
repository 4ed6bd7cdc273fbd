"""What a layer says when it cannot hold."""

from __future__ import annotations

from msgspec import Struct


class Missing(Struct, frozen=True):
    """Why a layer cannot be had here, and what to do about it."""

    reason: str
    remedy: str


class Unavailable(Exception):  # noqa: N818 - not a failure of the program: what to do is the mode's decision
    """Raised inside a layer's `apply`: the layer cannot hold, nothing of it was left half done.

    Attributes
    ----------
    missing : Missing
    """

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(reason)
        self.missing = Missing(reason, remedy)


class LayerMissing(Exception):  # noqa: N818 - it names a state of the host, as the host's error tree does
    """A layer that the policy requires does not hold: no byte of tool code may run.

    Attributes
    ----------
    layer, reason, remedy : str
    """

    def __init__(self, layer: str, reason: str, remedy: str) -> None:
        super().__init__(f"layer {layer!r} is required but missing: {reason}. {remedy}")
        self.layer, self.reason, self.remedy = layer, reason, remedy
