"""The one error of the wire."""


class WireError(Exception):
    """The peer sent bytes that are no valid frame, message or value."""
