"""What a record must have."""


def problems_of(records: list[dict]) -> list[str]:
    """Return one line for each record that lacks a field of the first."""
    wanted = set(records[0]) if records else set()
    return [
        f"record {number} has no {', '.join(sorted(wanted - set(record)))}"
        for number, record in enumerate(records)
        if wanted - set(record)
    ]
