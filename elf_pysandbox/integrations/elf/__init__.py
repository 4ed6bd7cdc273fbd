"""ELF (https://github.com/emson/elf0): its Python tools in the sandbox, by two ways in, neither of which patches it.

- ``entrypoint: "pysandbox.my_tools.data.process"`` works with the plain ELF command line: `hook` serves a stand-in
  for the function, and the function's module is never imported here.
- `register(pool)` makes ELF's public `NodeFactoryRegistry` build "tool" nodes with `nodes`, which also see the node's
  ``config``: timeout, memory_limit_mb, allowed_imports, retry, …

What ELF asks of a tool: a synchronous, thread-safe callable that takes keyword arguments and fails with ordinary
exceptions of one line. The state is a plain dict of the keys set so far.
"""

from __future__ import annotations

from elf_pysandbox.integrations.elf.nodes import ELF_TERMINAL, register, unregister

register_elf = register

__all__ = ["ELF_TERMINAL", "register", "register_elf", "unregister"]
