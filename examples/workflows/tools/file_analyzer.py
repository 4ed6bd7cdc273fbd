"""Looking at a table in a file."""

import pandas as pd


def analyze_file(file_path: str, deep_scan: bool = False) -> dict:
    """Describe a CSV file.

    Args:
        file_path: The file; the workflow must be granted it.
        deep_scan: Also compute the mean of every column of numbers.
    """
    with open(file_path, encoding="utf-8") as file:
        table = pd.read_csv(file)
    found = {"rows": len(table), "columns": list(table.columns)}
    if deep_scan:
        found["means"] = {name: float(value) for name, value in table.mean(numeric_only=True).items()}
    return found
