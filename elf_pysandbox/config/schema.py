"""The JSON Schema of workflow documents, for editors."""

from __future__ import annotations

from typing import Any

SCHEMA_ID = "urn:elf-pysandbox:workflow"
"""Names the schema; nothing is fetched from there."""


def workflow_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a workflow document."""
    from elf_pysandbox.config.models import DocumentModel

    schema = DocumentModel.model_json_schema()
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "title": "pysandbox workflow",
    }
    return {**schema, **head}
