"""A bot's turn without the model: tools in, declarations out, requests answered in the provider's own shape.

python examples/tools/bot.py
"""

from __future__ import annotations

import json
from pathlib import Path

from elf_pysandbox import Policy, Retry, SandboxPool, ToolHandler

FOLDER = Path(__file__).parent


def main() -> None:
    """Show one turn."""
    policy = Policy(allowed_imports=("pandas", "numpy", "pydantic"))
    with SandboxPool(4, policy=policy) as pool:
        handler = ToolHandler(pool, retry=Retry(attempts=3))
        for name in ("sales.py", "booking.py", "batches.py"):
            handler.add_tools(FOLDER / name)
        print(json.dumps(handler.describe("book", "anthropic"), indent=2)[:200], "…")
        # What a model answers: one good request, one with a mistake that it can read and correct.
        message = {
            "role": "assistant",
            "content": [
                {
                    "type": "tool_use",
                    "id": "toolu_1",
                    "name": "book",
                    "input": {
                        "guest": {"name": "Ada"},
                        "arrival": "2024-05-01",
                        "nights": 3,
                        "room": "double",
                    },
                },
                {
                    "type": "tool_use",
                    "id": "toolu_2",
                    "name": "book",
                    "input": {"guest": {}, "arrival": "soon", "nights": 99},
                },
            ],
        }
        for answer in handler.execute_many(message):
            print(json.dumps(answer, indent=2))


if __name__ == "__main__":
    main()
