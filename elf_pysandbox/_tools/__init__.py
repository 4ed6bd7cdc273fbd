"""Source as text: what a tool is, where its module comes from, what travels with it. Never executes any of
it.

- `context`: `ModuleContext`, a module's source with the sibling modules it needs, and their hashes.
- `tool`: `Tool`, a module context with the attribute path of the callable.
- `imports`: which modules a source names, found without parsing it.
- `locate`: where a module lies, found without importing anything.
- `siblings`: the modules of the same project that must travel along.
- `load`: a target ("pkg.mod:f", "file.py:f", a source text) to a `Tool`.
- `capture`: a live callable to a `Tool`.
"""
