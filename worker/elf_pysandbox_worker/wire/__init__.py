"""What crosses between host and confined side: frames, messages, values. Sans-I/O; does not know its side.

- `errors`: `WireError`, the one error inside; the reasons why a value cannot be sent.
- `frames`: bytes to frames and back (length prefix, out-of-band buffers, caps).
- `messages`: the typed structs inside the frames; `decode`: payloads to messages, per channel.
- `values`: Python values to bytes and back (the closed, tagged set), the face of the files below.
- `tags`, `leaves`, `arrays`, `tables`, `record`: the kinds of values.
- `plain`, `writer`, `instances`, `paths`: writing them; `scan`, `reader`, `hashing`: reading them from a hostile peer.
"""
