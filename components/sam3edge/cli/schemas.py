"""Prints the JSON Schema of the detections message: ``python -m sam3edge.cli.schemas``.

The schema is generated from the types in ``core/messages/detections.py`` and kept in the repository as
``core/messages/schemas/detections.schema.json``, for consumers; ``make schema`` writes it.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from pydantic import TypeAdapter

from sam3edge.core.messages.detections import SCHEMA_VERSION, DetectionsMessage


def detections_schema() -> dict[str, Any]:
    """JSON Schema, draft 2020-12."""
    schema = TypeAdapter(DetectionsMessage).json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:sam3edge:detections:{SCHEMA_VERSION}",
        **schema,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(detections_schema(), indent=1) + "\n")
