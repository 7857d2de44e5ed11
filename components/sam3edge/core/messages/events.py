"""Small messages of the components: something that happened once."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from sam3edge.core.types import Message


def event_message(device: str, topic: str, kind: str, **members: Any) -> Message:
    """An error, an acknowledgement, an activation; every one has an id and a time of its own."""
    body = {"id": str(uuid.uuid4()), "device": device, "time": now(), "kind": kind, **members}
    return Message(body["id"], topic, encode(body))


def now() -> str:
    """UTC, ISO 8601 with milliseconds."""
    return datetime.now(timezone.utc).isoformat(timespec="milliseconds")


def encode(body: Mapping[str, Any]) -> bytes:
    """Compact JSON."""
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()
