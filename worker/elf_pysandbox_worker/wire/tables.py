from typing import Any


def write(writer: Any, value: Any) -> bool:
    return False
