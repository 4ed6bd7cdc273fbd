from __future__ import annotations

import pytest
import yaml

from elf_pysandbox._hints import Hint
from elf_pysandbox.config.models import PythonFunction
from elf_pysandbox.config.spelling import in_yaml


@pytest.mark.parametrize(
    ("hint", "key", "value"),
    [
        (Hint("wall_s", "5"), "timeout", 5.0),
        (Hint("cpu_s", "5"), "cpu_limit", 5.0),
        (Hint("memory_mb", "64"), "memory_limit_mb", 64),
        (Hint("allowed_imports", "pandas"), "allowed_imports", ("pandas",)),
        (Hint("env", "HOME"), "env", ("HOME",)),
        (Hint("profile"), "profile", "native"),
    ],
)
def test_a_hint_is_a_line_that_a_document_takes(hint: Hint, key: str, value: object) -> None:
    written = yaml.safe_load(in_yaml(hint))
    function = PythonFunction.model_validate({"name": "f", "file": "f.py", "function": "f", **written})
    assert getattr(function, key) == value


@pytest.mark.parametrize("name", ["read", "write"])
def test_a_hint_about_files_is_a_line_that_a_document_takes(name: str) -> None:
    written = yaml.safe_load(in_yaml(Hint(name, "/srv/data")))
    function = PythonFunction.model_validate({"name": "f", "file": "f.py", "function": "f", **written})
    assert getattr(function.files, name) == ("/srv/data",)


def test_what_has_no_key_in_a_document_is_told_in_python() -> None:
    assert in_yaml(Hint("result_bytes")) == "Limits(result_bytes=…)"
