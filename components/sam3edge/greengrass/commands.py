"""Commands from the cloud, each answered with an acknowledgement.

A command is a JSON object on the component's command topic, and the acknowledgement one on another topic::

    {"id": "3f1c", "command": "pause", "arguments": {"minutes": 5}}

    {"type": "Acknowledgement", "id": "<message id>", "schema_version": "1.0", "device": "<thing>",
     "command": {"id": "3f1c", "name": "pause"}, "status": "SUCCEEDED", "result": {...}}

``status`` is ``done``, ``rejected`` (this cannot be obeyed; ``reason`` says why) or ``failed`` (a defect; ``reason``
names it). MQTT may deliver a command twice, and a sender that got no answer will repeat it: a command whose id was seen
lately is not obeyed again, its acknowledgement is sent again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sam3edge.core.errors import OutboxFull, Sam3EdgeError
from sam3edge.core.messages.detections import NAMESPACE, SCHEMA_VERSION
from sam3edge.core.types import Message

logger = logging.getLogger(__name__)

_REMEMBERED = 200


class _Received(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    id: str = Field(min_length=1, max_length=128)
    command: str = Field(min_length=1, max_length=64)
    arguments: dict[str, Any] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Command:
    """What is to be done.

    Attributes:
        id: the sender's, to recognise the answer by.
        name: which handler it is for.
        arguments: JSON values.
    """

    id: str
    name: str
    arguments: Mapping[str, Any]


CommandHandler = Callable[[Command], Mapping[str, Any]]
"""Obeys, and returns JSON values for the acknowledgement; raises a Sam3EdgeError to reject."""


class Commands:
    """Obeys commands. Used by one thread; ``handle`` is what the nucleus's ``subscribe`` wants.

    Args:
        device: the thing's name.
        topic: where acknowledgements go.
        handlers: by command name.
        put: accepts the acknowledgement: the outbox's ``put``.
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
        self._answered: OrderedDict[str, Message] = OrderedDict()

    def handle(self, topic: str, payload: bytes) -> None:
        """Obey one command, and answer."""
        try:
            received = _Received.model_validate_json(payload)
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, f['loc'])) or 'message'}: {f['msg']}" for f in error.errors())
            unknown = Command(id=hashlib.sha256(payload).hexdigest()[:32], name="", arguments={})
            reason = f"expected a JSON object with id, command and arguments; {faults}"
            self._answer(unknown, self._acknowledgement(unknown, "REJECTED", {"reason": reason}))
            return
        command = Command(received.id, received.command, received.arguments)
        answer = self._answered.get(command.id)
        if answer is None:
            answer = self._obey(command)
        self._answer(command, answer)

    def _obey(self, command: Command) -> Message:
        handler = self._handlers.get(command.name)
        if handler is None:
            known = ", ".join(sorted(self._handlers))
            return self._acknowledgement(
                command, "REJECTED", {"reason": f"expected one of {known}, came {command.name}"}
            )
        try:
            result = handler(command)
        except Sam3EdgeError as error:
            return self._acknowledgement(command, "REJECTED", {"reason": str(error)})
        except Exception as error:
            self._answer(command, self._acknowledgement(command, "FAILED", {"reason": type(error).__name__}))
            raise
        return self._acknowledgement(command, "SUCCEEDED", {"result": dict(result)})

    def _acknowledgement(
        self, command: Command, status: Literal["SUCCEEDED", "REJECTED", "FAILED"], rest: Mapping[str, Any]
    ) -> Message:
        message_id = str(uuid.uuid5(NAMESPACE, f"acknowledgement/{self._device}/{command.id}"))
        body = {
            "type": "Acknowledgement",
            "id": message_id,
            "schema_version": SCHEMA_VERSION,
            "device": self._device,
            "command": {"id": command.id, "name": command.name},
            "status": status,
            **rest,
        }
        return Message(message_id, self._topic, json.dumps(body, separators=(",", ":")).encode())

    def _answer(self, command: Command, answer: Message) -> None:
        self._answered[command.id] = answer
        if len(self._answered) > _REMEMBERED:
            self._answered.popitem(last=False)
        try:
            self._put([answer])
        except OutboxFull as error:
            logger.warning("command %s cannot be answered now; it is when it comes again: %s", command.id, error)
