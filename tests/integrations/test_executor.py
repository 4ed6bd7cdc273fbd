"""`PythonExecutor` runs live functions under its two limits."""

from __future__ import annotations

import asyncio
import os

import pytest

from elf_pysandbox import (
    CallTimeoutError,
    ConfigurationError,
    InvalidArgumentsError,
    MemoryLimitError,
    PythonExecutor,
    SandboxPool,
)


def add(a: int, b: int = 1) -> int:
    return a + b


async def later(a: int) -> int:
    return a


def where() -> int:
    return os.getpid()


def spin() -> None:
    while True:
        pass


def hoard() -> int:
    return len([0] * 10**9)


def test_sync_and_async_functions_run_in_processes_of_their_own(native_pool: SandboxPool) -> None:
    executor = PythonExecutor(pool=native_pool)

    async def main() -> list[int]:
        calls = [executor.execute_function(add, {"a": 1}), executor.execute_function(later, {"a": 7})]
        return list(await asyncio.gather(*calls, executor.execute_function(where, {})))

    assert asyncio.run(main())[:2] == [2, 7]
    assert executor.run_function(where, {}) != os.getpid()


def test_its_limits_end_a_call(native_pool: SandboxPool) -> None:
    with pytest.raises(CallTimeoutError):
        PythonExecutor(max_execution_time=0.3, pool=native_pool).run_function(spin, {})
    with pytest.raises(MemoryLimitError):
        PythonExecutor(max_memory_mb=64, pool=native_pool).run_function(hoard, {})


def test_parameters_that_are_no_mapping_are_refused(native_pool: SandboxPool) -> None:
    with pytest.raises(ConfigurationError, match="must be a mapping"):
        asyncio.run(PythonExecutor(pool=native_pool).execute_function(add, [1]))  # type: ignore[arg-type]


def test_parameters_are_converted_to_the_annotated_types(native_pool: SandboxPool) -> None:
    executor = PythonExecutor(pool=native_pool)
    assert executor.run_function(add, {"a": "3", "b": 2}) == 5
    assert asyncio.run(executor.execute_function(add, {"a": "4"})) == 5
    with pytest.raises(InvalidArgumentsError, match="a: "):
        executor.run_function(add, {"a": "three"})
