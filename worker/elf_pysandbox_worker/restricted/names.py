"""Which attribute and variable names are plain, guarded or refused.

Decided here and nowhere else. A constant attribute name is decided when the module is compiled: a *plain* one
stays an ordinary load, a *guarded* one goes through `guards.guarded_getattr`, a *refused* one is a finding.
Dynamic names (`getattr`, format strings, `attrgetter`, match patterns) are decided by the same table.

Only what leads out of the tool's own objects is here: frames, code, module namespaces, the class graph
downwards, and text that is evaluated. Reading names upwards (`__mro__`) ends at `object`, which every tool
has anyway; they are guarded all the same, so that no unpublished module or builtin comes with them.
"""

from __future__ import annotations

from typing import Final

PLAIN: Final = 0
GUARDED: Final = 1
REFUSED: Final = 2

GUARD_OPEN: Final = "\N{SINGLE LEFT-POINTING ANGLE QUOTATION MARK}"
"""First character of every name the compiler makes: no identifier can hold it (PEP 3131)."""


def words(text: str) -> list[str]:
    """Split a table of names that is written as text."""
    return text.split()


def guard_name(name: str) -> str:
    """Return the unspellable form of a guard's name."""
    return f"{GUARD_OPEN}{name}\N{SINGLE RIGHT-POINTING ANGLE QUOTATION MARK}"


# Frames, code objects and what leads to them (the `inspect` documentation's table of types and members).
_INSPECT = words(
    """
tb_frame f_back f_builtins f_code f_generator f_globals f_locals f_trace f_trace_lines f_trace_opcodes
co_code co_consts co_names co_positions co_lines co_qualname co_linetable co_exceptiontable gi_frame gi_code
gi_yieldfrom cr_frame cr_code cr_await cr_origin ag_frame ag_code ag_await get_stack
"""
)

# Namespaces and code of functions and modules, and the class graph downwards.
_INTERNAL = words(
    """
__globals__ __builtins__ __code__ __closure__ __subclasses__ __loader__ __spec__ __import__ __annotate__
__build_class__ __forward_code__ _convert_ _getframe _current_frames
"""
)

REFUSED_NAMES: Final = frozenset(_INSPECT + _INTERNAL)

# Modules that library objects hold in attributes; the guard lets everything but a raw module through, so an
# honest attribute of that name works, a little slower.
_MODULE_NAMES = words(
    """
os sys builtins posix subprocess importlib ctypes socket shutil pickle marshal gc signal threading
multiprocessing inspect linecache runpy pkgutil modules parser _flavour pathmod _module _os _sys _builtins _socket
_signal _threading _collections_abc _thread _imp _weakref _ctypes
"""
)

FORMAT_NAMES: Final = frozenset({"format", "format_map"})
ACCESSOR_NAMES: Final = frozenset({"__getattribute__", "__getattr__", "__setattr__", "__delattr__"})

_OTHERS = words(
    """
_csock _ssock lstat scandir
attrgetter methodcaller Formatter vformat get_field obj mro __dict__ __self__ __mro__ __bases__ __base__
"""
)
GUARDED_NAMES: Final = FORMAT_NAMES | ACCESSOR_NAMES | frozenset(_MODULE_NAMES + _OTHERS)

# Protocols of the data model and names of the standard library that give values of the tool's own making.
# Any other dunder name goes through the guard, so a later Python's new one is not plain by default.
PLAIN_DUNDERS: Final = frozenset(
    f"__{name}__"
    for name in words(
        """
abs add aenter aexit aiter all and anext annotations args array array_ufunc array_function array_interface
array_priority array_struct author await bool buffer bytes call cause ceil class class_getitem complex
constraints contains context copy ctx dataclass_fields dataclass_params debug deepcopy default del
delete delitem dir divmod doc ensure_type enter eq exit file final float floor floordiv format fspath func
future_feature ge get getitem getnewargs getnewargs_ex gt hash html iadd iand idiv ifloordiv
ilshift imatmul imod imul index init init_subclass instancecheck int invert ior ipow irshift
isabstractmethod isub iter itruediv ixor json le len length_hint license lshift lt main
match_args matmul members missing mod module mul name ne neg new next notes objclass optional_keys or
orig_bases orig_class origin parameters path pos post_init pow prepare private public qualname radd rand
rdivmod release_buffer repr required_keys reversed rfloordiv rich rich_repr rlshift rmatmul
rmod rmul ror round rpow rrshift rshift rsub rtruediv rxor set set_name setitem setstate slots slotnames str
sub subclasscheck subclasshook suppress_context text_signature thisclass total traceback truediv trunc
type_params typing_subst unpacked version weakref weakrefoffset wrapped xor replace abstractmethods bound
covariant contravariant infer_variance value supertype title summary description date copyright credits
email url package status maintainer build all_slots signature unittest_skip dataclass_transform
"""
    )
)

RESERVED_VARIABLES: Final = frozenset(
    {"__builtins__", "__import__", "__build_class__", "__loader__", "__spec__"}
)
"""Variable names that the interpreter itself reads from a module or from the builtins."""

REFUSED_WRITES: Final = REFUSED_NAMES | {"__defaults__", "__kwdefaults__", "__match_args__"}
"""Attribute names that may not be assigned or deleted: they steer code that is not the tool's own."""

_SPECIAL: Final = dict.fromkeys(REFUSED_NAMES, REFUSED) | dict.fromkeys(GUARDED_NAMES, GUARDED)


def decide(name: str) -> int:
    """Return PLAIN, GUARDED or REFUSED for reading an attribute of that name."""
    special = _SPECIAL.get(name)
    if special is not None:
        return special
    if name[:2] == "__" and name[-2:] == "__" and len(name) > 4 and name not in PLAIN_DUNDERS:
        return GUARDED
    return REFUSED if GUARD_OPEN in name else PLAIN


def refusal(name: str) -> tuple[str, str]:
    """Return why a refused name is refused, and the way out."""
    if name == "__subclasses__":
        return (
            f"`{name}` lists classes the tool never imported.",
            "Keep your own registry, for instance in __init_subclass__.",
        )
    if name in ("__code__",) or name.startswith("co_"):
        return f"`{name}` reaches code objects.", "Use inspect.signature(function) to learn its parameters."
    if name == "_convert_":
        return (
            f"`{name}` reads the namespace of any loaded module.",
            "Define the enum's members in its class.",
        )
    if name in ("__globals__", "__builtins__", "__closure__"):
        return f"`{name}` reaches a namespace behind a function.", "Pass the value as an argument instead."
    if name in ("__loader__", "__spec__", "__import__"):
        return f"`{name}` belongs to the import system.", "Use an import statement at the top of the module."
    if name in ("__defaults__", "__kwdefaults__"):
        return (
            f"`{name}` changes how a function behaves for everybody.",
            "Use functools.partial for new defaults.",
        )
    if name == "__match_args__":
        return f"`{name}` chooses attributes that match patterns read.", "Assign it in the class body."
    return (
        f"`{name}` reaches frames or other interpreter internals.",
        "Use the value itself; frames are not available.",
    )
