"""The confined side: what runs in zygote, keeper, template and worker processes.

Imports the standard library, msgspec and RestrictedPython only. `wire` and `state` are the rooms the host
imports too.
"""
