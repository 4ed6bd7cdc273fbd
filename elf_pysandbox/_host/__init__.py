"""Processes, descriptors, signals and clocks of the host side; nowhere else.

Moves sealed frames and counts: never decodes what a value means, never reads tool source. Read in this order:

- `processes`: socket pairs, pidfds, signals.
- `zygotes`: starting and keeping the zygote of an interpreter.
- `templates`: the host's record of one template: its channels, stock of workers, verdict.
- `flight`: one call from admission to its ending, as a state machine without waiting.
- `engine`: admission, leases and the templates of a pool.
- `supervisor`: the one thread, which listens to templates and drives submitted calls.
- `blocking`, `futures`, `asynchronous`: three ways to wait for a flight.
"""
