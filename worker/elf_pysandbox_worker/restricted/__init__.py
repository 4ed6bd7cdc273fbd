"""The language policy of the profile `restricted`: ordinary Python, checked when it is compiled.

What holds a tool is the process around it (`isolation`); the policy is the first filter, and what explains.
One door, `load`, used by the template once, before any call.

- `names`, `builtin_names`, `published`: the decisions, as tables.
- `transformer`, `compiler`: source to code.
- `guards`, `formatting`, `views`, `standins`, `shadows`: what runs beside the tool.
- `namespace`, `facades`, `importer`: what the tool sees.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any

from elf_pysandbox_worker.restricted.diagnostics import RULES, Diagnostic, PolicyDenied

if TYPE_CHECKING:
    from elf_pysandbox_worker.wire.messages import Bundle

__all__ = ["RULES", "Diagnostic", "PolicyDenied", "learned", "load"]


def load(
    bundle: Bundle,
    *,
    allowed_imports: Sequence[str] = (),
    search: Sequence[str] = (),
    files_granted: bool = False,
    learn: bool = False,
) -> ModuleType:
    """Load a bundle under the policy and return its entry module.

    Parameters
    ----------
    bundle : Bundle
        The entry module and its siblings, as bytes.
    allowed_imports : sequence of str
        Modules beyond the default allowlist. Standard library modules come as facades, packages natively.
    search : sequence of str
        Folders in which native packages are found, beside the interpreter's own.
    files_granted : bool
        Whether the tool has a file grant: `open` and its like are published then.
    learn : bool
        Refuse nothing at the language level, and record what would have been refused (see `learned`).

    Raises
    ------
    PolicyDenied
        With every finding of the first module that has one; its subclasses for refusals while the module
        runs.
    Exception
        Whatever else decoding, compiling or running the module raises.
    """
    import sys

    from elf_pysandbox_worker.restricted import shadows
    from elf_pysandbox_worker.restricted.importer import Importer
    from elf_pysandbox_worker.restricted.state import STATE

    for folder in search:
        if folder not in sys.path:
            sys.path.append(folder)
    roots = {name.partition(".")[0] for name in allowed_imports} - set(sys.stdlib_module_names)
    STATE.native_roots = frozenset(roots)
    STATE.confined = True
    STATE.learn = learn
    STATE.files_granted = files_granted
    shadows.install_loaded()
    importer = Importer(bundle, allowed_imports)
    values: dict[str, Any] = {}
    if bundle.values:
        from elf_pysandbox_worker.wire import bundled

        values = bundled.read(bundle.values)
    return importer.load(bundle.entry, values)


def learned() -> dict[str, dict[str, Any]]:
    """Return what a tool loaded with ``learn=True`` was found to need: imports, names and files, with
    details.
    """
    from elf_pysandbox_worker.restricted.state import STATE

    return STATE.record
