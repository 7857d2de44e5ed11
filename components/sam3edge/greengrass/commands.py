"""Commands from the cloud, each with a response. How both are written is in ``core/messages/commands.py``.

``REJECTED`` is a command that cannot be carried out, ``FAILED`` a defect; ``reason`` names it. MQTT may deliver a
command twice, and a sender that got no response will repeat it: a command whose id was seen lately is not carried out
again, its response is sent again.
"""

from __future__ import annotations

import hashlib
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from sam3edge.core.errors import OutboxFull, Sam3EdgeError
from sam3edge.core.messages.commands import MAX_COMMAND_ID, MAX_COMMAND_NAME, not_done, succeeded
from sam3edge.core.messages.envelope import to_json
from sam3edge.core.types import Message
from sam3edge.validation import Complaint, complaints

logger = logging.getLogger(__name__)

MAX_SHOWN = 60
"""Characters of a wrong value that a response repeats."""

_REMEMBERED = 200


class _Received(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    id: str = Field(min_length=1, max_length=MAX_COMMAND_ID)
    command: str = Field(min_length=1, max_length=MAX_COMMAND_NAME)
    arguments: dict[str, Any] = Field(default_factory=dict)

    @field_validator("arguments")
    @classmethod
    def _is_json(cls, value: dict[str, Any]) -> dict[str, Any]:
        """Pydantic reads ``NaN`` and ``Infinity``, which are not JSON and could not be sent back."""
        to_json(value)
        return value


@dataclass(frozen=True, slots=True)
class Command:
    """What is to be done.

    Attributes:
        id: the sender's, to recognise the response by.
        name: which handler it is for.
        arguments: JSON values.
    """

    id: str
    name: str
    arguments: Mapping[str, Any]


CommandHandler = Callable[[Command], Mapping[str, Any]]
"""Carries a command out, and returns JSON values for the response; raises a Sam3EdgeError to reject it."""


class Commands:
    """Carries commands out. Used by one thread; ``handle`` is what the nucleus's ``subscribe`` wants.

    Args:
        device: the thing's name.
        topic: where responses go.
        handlers: by command name.
        put: accepts the response: the outbox's ``put``.
    """

    def __init__(
        self,
        device: str,
        topic: str,
        handlers: Mapping[str, CommandHandler],
        put: Callable[[Sequence[Message]], None],
    ) -> None:
        self._device = device
        self._topic = topic
        self._handlers = dict(handlers)
        self._put = put
        self._responses: OrderedDict[str, Message] = OrderedDict()

    def handle(self, topic: str, payload: bytes) -> None:
        """Carry one command out, and respond."""
        try:
            received = _Received.model_validate_json(payload)
        except ValidationError as error:
            faults = "; ".join(map(_describe, complaints(error)))
            unknown = Command(id=hashlib.sha256(payload).hexdigest()[:32], name="", arguments={})
            reason = f"expected a JSON object with id, command and arguments; {faults}"
            self._respond(unknown, self._rejected(unknown, reason))
            return
        command = Command(received.id, received.command, received.arguments)
        response = self._responses.get(command.id)
        if response is None:
            response = self._carry_out(command)
        self._respond(command, response)

    def _carry_out(self, command: Command) -> Message:
        handler = self._handlers.get(command.name)
        if handler is None:
            known = ", ".join(sorted(self._handlers))
            return self._rejected(command, f"expected one of {known}, got {command.name}")
        try:
            return succeeded(self._device, self._topic, command.id, command.name, handler(command))
        except Sam3EdgeError as error:
            return self._rejected(command, str(error))
        except Exception as error:
            reason = type(error).__name__
            self._respond(command, not_done(self._device, self._topic, command.id, command.name, "FAILED", reason))
            raise

    def _rejected(self, command: Command, reason: str) -> Message:
        return not_done(self._device, self._topic, command.id, command.name, "REJECTED", reason)

    def _respond(self, command: Command, response: Message) -> None:
        self._responses[command.id] = response
        if len(self._responses) > _REMEMBERED:
            self._responses.popitem(last=False)
        try:
            self._put([response])
        except OutboxFull as error:
            logger.warning("no room for the response to command %s; it is sent when it repeats: %s", command.id, error)


def _describe(fault: Complaint) -> str:
    shown = "" if fault.kind == "missing" or not fault.location else f", got {str(fault.got)[:MAX_SHOWN]!r}"
    return f"{fault}{shown}"
