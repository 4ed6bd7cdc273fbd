"""Source as text: what a tool is, where its module comes from, what travels along. Never executes any of it.

- `context`: `ModuleContext`, a module's source with the sibling modules it needs, and their hashes.
- `tool`: `Tool`, a module context with the attribute path of the callable.
- `load`: a target ("pkg.mod:f", "file.py:f", a source text) to a `Tool`.
- `capture`: a live callable to a `Tool`; `emit`, `emit_code` and `emit_kinds` write down what is in no file,
  `definitions` cuts it out of where it was written, `pickling` is the last resort.
- `imports`, `locate`, `siblings`, `origin`: which modules a source names, where they lie, which travel.
- `dependencies`: what must be installed.
"""
