"""The steps of an order report."""

import asyncio

import pandas as pd

ORDERS = [
    {"id": 1, "currency": "EUR", "amount": 120.0},
    {"id": 2, "currency": "USD", "amount": 80.0},
    {"id": 3, "currency": "EUR", "amount": 30.0},
]


def fetch(folder: str) -> dict:
    """Return the orders; the first two attempts find nobody at home."""
    path = f"{folder}/attempts.txt"
    with open(path, "a", encoding="utf-8") as log:
        log.write("attempt\n")
    with open(path, encoding="utf-8") as log:
        attempts = len(log.readlines())
    if attempts < 3:
        raise ConnectionError(f"attempt {attempts} failed")
    return {"orders": ORDERS, "valid": True}


def totals(orders: list[dict]) -> dict[str, float]:
    """Sum the amounts of each currency."""
    table = pd.DataFrame(orders)
    return {name: float(total) for name, total in table.groupby("currency")["amount"].sum().items()}


async def rates(currencies: list[str]) -> dict[str, float]:
    """Look up what each currency is worth."""

    async def rate(name: str) -> float:
        await asyncio.sleep(0.001)
        return {"EUR": 1.0, "USD": 0.5}[name]

    names = sorted(set(currencies))
    return dict(zip(names, await asyncio.gather(*map(rate, names)), strict=True))


def tax(orders: list[dict], percent: float) -> float:
    """Return the tax on all orders."""
    return sum(order["amount"] for order in orders) * percent / 100


def combine(totals: dict, rates: dict, tax: float) -> float:
    """Return the value of all orders in one currency, with tax."""
    return sum(total * rates[name] for name, total in totals.items()) + tax


def refine(value: float, target: float, rounds: int) -> dict:
    """Come closer to the target; how often is the workflow's business."""
    return {"value": value - (value - target) / 2, "rounds": rounds + 1}


def publish(text: str) -> str:
    """Fail, as the printer is out of paper."""
    raise RuntimeError(f"cannot print {text!r}")


def archive(why: str, value: float) -> str:
    """Keep what could not be published."""
    return f"archived {value}: {why}"
