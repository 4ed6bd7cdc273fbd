"""Async tools: several things at once inside one call, and results as they come."""

import asyncio
from collections.abc import AsyncIterator


async def _measure(name: str, delay: float) -> dict[str, object]:
    await asyncio.sleep(delay)
    return {"name": name, "length": len(name)}


async def measure_all(names: list[str], delay: float = 0.05) -> list[dict[str, object]]:
    """Measure all names at the same time.

    Args:
        names: What to measure.
        delay: Seconds that each takes.
    """
    return list(await asyncio.gather(*(_measure(name, delay) for name in names)))


async def countdown(start: int) -> AsyncIterator[int]:
    """Count down to 1, one number at a time."""
    for number in range(start, 0, -1):
        await asyncio.sleep(0)
        yield number
