"""Commands to a device, and what it responds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from typing_extensions import NotRequired, TypedDict

from sam3edge.core.messages.bounds import MAX_REASON, reason_of
from sam3edge.core.messages.envelope import Envelope, SchemaOnly, envelope, stable_id, to_json, write
from sam3edge.core.types import Message

MAX_COMMAND_ID, MAX_COMMAND_NAME = 128, 64
"""Characters."""


class CommandMessage(TypedDict):
    """A command as a sender writes it; its ``id`` is the sender's, and the response names it."""

    id: Annotated[str, SchemaOnly(minLength=1, maxLength=MAX_COMMAND_ID)]
    command: Annotated[str, SchemaOnly(minLength=1, maxLength=MAX_COMMAND_NAME)]
    arguments: NotRequired[dict[str, Any]]


class CommandMember(TypedDict):
    """Which command; ``name`` is empty, and ``id`` a digest, where the command could not be read."""

    id: str
    name: str


class CommandSucceeded(Envelope):
    """A command that was carried out; ``result`` is what its handler gives."""

    message_type: Literal["command_response"]
    command: CommandMember
    status: Literal["SUCCEEDED"]
    result: dict[str, Any]
    result_omitted: NotRequired[bool]


class CommandNotDone(Envelope):
    """``REJECTED`` is a command that cannot be carried out, ``FAILED`` a defect of the component."""

    message_type: Literal["command_response"]
    command: CommandMember
    status: Literal["REJECTED", "FAILED"]
    reason: str


CommandResponse: TypeAlias = CommandSucceeded | CommandNotDone


def succeeded(device: str, topic: str, command_id: str, name: str, result: Mapping[str, Any]) -> Message:
    """The response to a command that was carried out, without a ``result`` of more than ``MAX_REASON`` bytes.

    Raises:
        ValueError: ``result`` is not JSON.
    """
    body: CommandSucceeded = {
        **envelope(device, _identity(device, command_id)),  # type: ignore[typeddict-item]  # mypy: as in detections
        "message_type": "command_response",
        "command": {"id": command_id, "name": name},
        "status": "SUCCEEDED",
        "result": dict(result),
    }
    if len(to_json(body["result"])) > MAX_REASON:
        body["result"], body["result_omitted"] = {}, True
    return write(body, topic)


def not_done(
    device: str, topic: str, command_id: str, name: str, status: Literal["REJECTED", "FAILED"], reason: str
) -> Message:
    """The response to a command that was not carried out."""
    body: CommandNotDone = {
        **envelope(device, _identity(device, command_id)),
        "message_type": "command_response",
        "command": {"id": command_id, "name": name},
        "status": status,
        "reason": reason_of(reason, MAX_REASON // 2),
    }
    return write(body, topic)


def _identity(device: str, command_id: str) -> str:
    """A command that is sent again has the same response: its id follows from the command's."""
    return stable_id("command_response", device, command_id)
