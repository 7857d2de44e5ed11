"""What every message has in common: the members by which a consumer recognises it, and how it is written."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Annotated, Any, TypeAlias

from typing_extensions import TypedDict

from sam3edge.core.messages.bounds import MAX_NAME, MAX_WORD, bounded
from sam3edge.core.types import Message, ModelInfo

SCHEMA_VERSION = "1.0"

NAMESPACE = uuid.UUID("6f0a5b52-6d1c-5b0e-9d7e-5a3ed6e00001")
"""Stable ids are UUIDs of version 5 in this namespace."""


class SchemaOnly:
    """Members of a type's JSON Schema that Python's types do not express, for ``Annotated``.

    Pydantic, which the core does not import, calls ``__get_pydantic_json_schema__`` where the schema is generated.
    """

    def __init__(self, **members: Any) -> None:
        self._members = members

    def __get_pydantic_json_schema__(
        self, core_schema: Any, handler: Callable[[Any], dict[str, Any]]
    ) -> dict[str, Any]:
        return {**handler(core_schema), **self._members}


Timestamp: TypeAlias = Annotated[str, SchemaOnly(format="date-time")]
"""RFC 3339 in UTC, with milliseconds."""

Identity: TypeAlias = Annotated[str, SchemaOnly(format="uuid")]


class Envelope(TypedDict):
    """Members of every message; each kind adds ``message_type``, a constant.

    ``id`` is the same when a message is sent again: consumers drop repetitions by it. ``device`` is the thing's name.
    ``time`` is when the message was made. A message that is made again for the same frame after a crash has the same
    ``id`` and another ``time``.
    """

    id: Identity
    schema_version: str
    device: str
    time: Timestamp


class FrameReference(TypedDict):
    """Which frame a message is about."""

    id: str
    name: str


class ModelMember(TypedDict):
    """Which model, as ``core.types.ModelInfo``."""

    name: str
    version: str
    digest: str
    precision: str
    provider: str


def envelope(device: str, identity: str = "", made_at: datetime | None = None) -> Envelope:
    """The members of every message.

    Args:
        device: the thing's name.
        identity: of a message that keeps its id when it is made again, see ``stable_id``; random when empty.
        made_at: now, unless given.
    """
    return {
        "id": identity or str(uuid.uuid4()),
        "schema_version": SCHEMA_VERSION,
        "device": device,
        "time": timestamp(made_at or datetime.now(timezone.utc)),
    }


def stable_id(*parts: str | int) -> str:
    """The id of what these parts name; the same parts always give the same."""
    return str(uuid.uuid5(NAMESPACE, "/".join(map(str, parts))))


def message_id(device: str, frame_id: str, kind: str, index: int = 0) -> str:
    """The stable id of one message about one frame."""
    return stable_id(device, frame_id, kind, index)


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC with milliseconds, 29 characters. ``moment`` is timezone-aware."""
    return moment.astimezone(timezone.utc).isoformat(timespec="milliseconds")


def model_member(model: ModelInfo, max_bytes: int = MAX_WORD) -> ModelMember:
    """A model as messages name it, each word of at most ``max_bytes``."""
    return {
        "name": bounded(model.name, max_bytes),
        "version": bounded(model.version, max_bytes),
        "digest": bounded(model.digest, max_bytes),
        "precision": bounded(model.precision, max_bytes),
        "provider": bounded(model.provider, max_bytes),
    }


def frame_reference(identity: str, name: str) -> FrameReference:
    """Which frame, its name bounded; of a long path, the end is kept."""
    return {"id": bounded(identity, MAX_WORD), "name": bounded(name, MAX_NAME, keep="end")}


def write(body: Envelope, topic: str, supersedes: str = "") -> Message:
    """A message as it is sent; for ``supersedes`` see ``Message``."""
    return Message(body["id"], topic, to_json(body), supersedes)


def to_json(value: Mapping[str, Any] | list[Any]) -> bytes:
    """Compact UTF-8; a lone surrogate, which UTF-8 cannot write, becomes a question mark.

    Raises:
        ValueError: it holds a number that JSON cannot write (infinite, or not a number).
    """
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
