"""What crosses between host and confined side: frames, messages, values. Sans-I/O; does not know its side.

- `errors`: `WireError`, the one error inside.
- `frames`: bytes to frames and back (length prefix, out-of-band buffers, caps).
- `messages`: the typed structs inside the frames.
- `values`: Python values to bytes and back (the closed, tagged set).
"""
