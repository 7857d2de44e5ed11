"""Writes the JSON Schema of every topic: ``python -m sam3edge.cli.schemas --out FOLDER``.

The schemas are generated from the types in ``core/messages`` and kept in the repository, in ``core/messages/schemas``,
for consumers; ``make schema`` writes them there.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from sam3edge.core.messages import topics
from sam3edge.core.messages.commands import CommandMessage, CommandResponse
from sam3edge.core.messages.detections import DetectionsMessage
from sam3edge.core.messages.envelope import SCHEMA_VERSION
from sam3edge.core.messages.errors import ErrorMessage
from sam3edge.core.messages.events import EventsMessage
from sam3edge.core.messages.features import Properties
from sam3edge.core.messages.ping import PingMessage
from sam3edge.core.messages.schemas import schema_file, schema_name
from sam3edge.core.messages.snapshots import SnapshotMessage
from sam3edge.core.messages.status import ModelActivatedMessage, StatusMessage
from sam3edge.core.messages.uploads import UploaderStatusMessage

MESSAGES: dict[str, Any] = {
    topics.DETECTIONS: DetectionsMessage,
    topics.EVENTS: EventsMessage,
    topics.ERRORS: ErrorMessage,
    topics.STATUS: StatusMessage,
    topics.MODEL_STATUS: ModelActivatedMessage,
    topics.UPLOADER_STATUS: UploaderStatusMessage,
    topics.COMMANDS: CommandMessage,
    topics.COMMAND_RESPONSES: CommandResponse,
    topics.SNAPSHOTS: SnapshotMessage,
    topics.PING: PingMessage,
}
"""What is sent on each topic."""

OPEN = frozenset({Properties.__name__})
"""Objects that may have members beside those that are described: stages add properties to features."""


def generate_schema(topic: str) -> dict[str, Any]:
    """JSON Schema, draft 2020-12, of a topic without its prefix; made from the types, where ``schema`` reads a file."""
    generated = TypeAdapter(MESSAGES[topic]).json_schema()
    for name, definition in {"": generated, **generated.get("$defs", {})}.items():
        if "properties" in definition and name not in OPEN:
            definition["additionalProperties"] = False
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:sam3edge:{schema_name(topic)}:{SCHEMA_VERSION}",
        **generated,
    }


def detections_schema() -> dict[str, Any]:
    """The schema of the detections, which the endpoint's responses follow, too."""
    return generate_schema(topics.DETECTIONS)


def main() -> None:
    """Read the command line and write the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the folder to write into; it is created if need be")
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    for topic in topics.NAMES:
        text = json.dumps(generate_schema(topic), indent=1, ensure_ascii=False) + "\n"
        (out / schema_file(topic)).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
