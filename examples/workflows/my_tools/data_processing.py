"""Reading records out of text: what a workflow does with what it was given."""

import csv
import io
import json

from my_tools.checks import problems_of


def process_data(input_data, config):
    """Parse records and say what is wrong with them.

    Args:
        input_data: A text in the configured format, or the records themselves.
        config: ``format`` is "json" or "csv"; ``validate`` asks for the list of problems.

    Returns:
        The records, their number, and the problems found.
    """
    records = input_data if isinstance(input_data, list) else parse(input_data, config["format"])
    problems = problems_of(records) if config.get("validate") else []
    return {"records": records, "count": len(records), "problems": problems}


def parse(text: str, kind: str) -> list[dict]:
    if kind == "json":
        return json.loads(text)
    if kind == "csv":
        return list(csv.DictReader(io.StringIO(text)))
    raise ValueError(f"format must be json or csv, not {kind!r}")
