import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from elf_pysandbox._errors import ConfigurationError, ModuleLoadError
from elf_pysandbox._tools.context import ModuleContext, Sibling
from elf_pysandbox._tools.load import load

SOURCE = b"def f():\n    return 1\n"


def test_code_hash_is_sha256_of_the_bytes() -> None:
    assert ModuleContext("m", SOURCE, "m.py").code_hash == hashlib.sha256(SOURCE).hexdigest()


def test_a_wrong_hash_is_refused_and_names_the_module() -> None:
    context = replace(ModuleContext("m", SOURCE, "m.py"), source_bytes=SOURCE + b"#")
    with pytest.raises(ModuleLoadError, match=r"'m'.*accept_changes=True"):
        context.verify()


def test_a_wrong_sibling_hash_is_refused() -> None:
    sibling = Sibling("s", "s.py", b"x = 1", code_hash="0" * 64)
    with pytest.raises(ModuleLoadError, match="'s'"):
        ModuleContext("m", SOURCE, "m.py", (sibling,)).verify()


def test_accepting_a_change_records_it() -> None:
    context = replace(ModuleContext("m", SOURCE, "m.py"), source_bytes=b"x = 2")
    accepted = context.verify(accept_changes=True)
    assert accepted.verify() is accepted
    assert accepted.code_hash == hashlib.sha256(b"x = 2").hexdigest()


@pytest.mark.parametrize(
    "change",
    [
        {"source_bytes": b"#"},
        {"name": "n"},
        {"path": "n.py"},
        {"values": b"v"},
        {"pickled": b"p"},
        {"is_package": True},
        {"siblings": (Sibling("s", "s.py", b""),)},
    ],
)
def test_the_key_covers_everything_the_bundle_holds(change: dict[str, object]) -> None:
    context = ModuleContext("m", SOURCE, "m.py")
    assert replace(context, code_hash="", **change).key != context.key  # type: ignore[arg-type]


def test_the_bundle_holds_the_entry_first_and_all_siblings() -> None:
    context = ModuleContext("m", SOURCE, "m.py", (Sibling("s", "s.py", b"y", is_package=True),))
    bundle = context.bundle()
    assert bundle.entry == "m"
    assert [(f.name, f.source, f.is_package) for f in bundle.files] == [
        ("m", SOURCE, False),
        ("s", b"y", True),
    ]


def test_imports_leaves_out_what_travels() -> None:
    context = ModuleContext(
        "m", b"import s, json, numpy.linalg", "m.py", (Sibling("s", "s.py", b"import re"),)
    )
    assert context.imports == ("json", "numpy", "re")


def test_an_oversized_bundle_says_what_to_do() -> None:
    siblings = tuple(Sibling(f"s{n}", f"s{n}.py", b"#" * (8 << 20)) for n in range(5))
    with pytest.raises(ModuleLoadError, match="Install what is not"):
        ModuleContext("m", SOURCE, "m.py", siblings)


def test_text_as_source_bytes_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="bytes"):
        ModuleContext("m", "text", "m.py")  # type: ignore[arg-type]


def test_changed_files_names_what_was_edited_or_deleted(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import b\ndef f(): pass\n")
    (tmp_path / "b.py").write_text("")
    context = load(f"{tmp_path}/a.py:f").context
    assert context.changed_files() == ()
    (tmp_path / "a.py").write_text("import b\ndef f(): return 1\n")
    (tmp_path / "b.py").unlink()
    assert context.changed_files() == (str(tmp_path / "a.py"), str(tmp_path / "b.py"))
