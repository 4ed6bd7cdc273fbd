"""A pandas tool: takes a table, returns a table. Run it in profile `native`, or allow the import of pandas.

    pysandbox run examples/tools/sales.py:by_region --allow-import pandas \\
        --args '{"orders": [{"region": "north", "amount": 3.5}, {"region": "north", "amount": 1.5}]}'
"""

# /// script
# requires-python = ">=3.11"
# dependencies = ["pandas>=2"]
# ///

import pandas as pd


def by_region(orders: pd.DataFrame, top: int = 3) -> pd.DataFrame:
    """Sum orders by region, largest first.

    Args:
        orders: Rows with `region` and `amount`.
        top: At most so many regions.

    Returns:
        One row for each region: `region`, `amount`, `orders`.
    """
    groups = orders.groupby("region", as_index=False).agg(amount=("amount", "sum"), orders=("amount", "size"))
    return groups.sort_values("amount", ascending=False).head(top).reset_index(drop=True)
