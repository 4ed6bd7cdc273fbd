"""The three doors together."""

from __future__ import annotations

import os

from elf_pysandbox._policy import LAYER_NAMES
from elf_pysandbox_worker.isolation import LAYERS
from tests.isolation.driver import run


def test_layers_stand_in_the_order_of_the_policy() -> None:
    assert tuple(layer.name for layer in LAYERS) == LAYER_NAMES


def test_every_layer_reports_once() -> None:
    result = run(lambda: None)
    assert sorted(result.reports) == sorted(LAYER_NAMES)


def _compute() -> tuple[float, int, int]:
    import numpy as np
    import pandas as pd
    import pydantic

    class Model(pydantic.BaseModel):
        x: int

    return (
        float(np.ones((50, 50)).sum()),
        int(pd.DataFrame({"a": [1, 2]}).a.sum()),
        Model.model_validate({"x": "3"}).x,
    )


def test_numpy_pandas_and_pydantic_work_under_all_layers() -> None:
    assert run(_compute).value == (2500.0, 3, 3)


def test_a_worker_is_neither_root_nor_the_host_user() -> None:
    assert run(lambda: (os.getuid() != 0, os.getgroups())).value == (True, [])
