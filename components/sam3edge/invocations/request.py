"""What the endpoint is asked, in the form of SageMaker's ``/invocations``."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import quote

from sam3edge.core.types import Prompt
from sam3edge.images.jpeg import Picture

ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
MAX_ATTRIBUTES = 1024
"""ASCII characters, by SageMaker's API."""

ACCEPT = "application/geo+json"

MAX_RESPONSE_BYTES = 25 << 20
"""Bytes, what SageMaker hands through; more is not read."""


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """One request, whatever carries it.

    Attributes:
        id: of the frame; letters and digits.
        attributes: value of the header ``ATTRIBUTES``; empty when all is in the body.
    """

    id: str
    body: bytes
    content_type: str
    attributes: str


class Transport(Protocol):
    """What carries requests to an endpoint. Used by one thread."""

    def send(self, request: Request, seconds: float) -> bytes:
        """The body of the answer, at most ``MAX_RESPONSE_BYTES`` bytes.

        Raises:
            EndpointError: another answer than success, or none in ``seconds``.
        """

    def close(self) -> None:
        """Release the connection. Idempotent."""


def attributes_of(prompts: Sequence[Prompt], image_id: str) -> str:
    """The header's value, OSML's pairs with commas between them and bars between phrases; empty when it is too long."""
    phrases = "|".join(quote(text, safe="") for text in phrases_of(prompts))
    value = f"text_prompt={phrases},threshold={lowest(prompts):g},image_id={quote(image_id, safe='')}"
    return value if len(value) <= MAX_ATTRIBUTES else ""


def request_of(picture: Picture, prompts: Sequence[Prompt], image_id: str) -> Request:
    """The picture as it is with phrases in the header; or all in JSON, which takes a third more, for many phrases."""
    attributes = attributes_of(prompts, image_id)
    if attributes:
        return Request(image_id, picture.jpeg, "image/jpeg", attributes)
    asked = {
        "image": base64.b64encode(picture.jpeg).decode(),
        "text_prompt": phrases_of(prompts),
        "threshold": lowest(prompts),
        "image_id": image_id,
    }
    return Request(image_id, json.dumps(asked, separators=(",", ":")).encode(), "application/json", "")


def room_for_jpeg(max_body: int, prompts: Sequence[Prompt], image_id: str) -> int:
    """Bytes that a JPEG may have within a body of ``max_body`` bytes."""
    if attributes_of(prompts, image_id):
        return max_body
    return (max_body - 1000 - sum(6 * len(text) + 3 for text in phrases_of(prompts))) * 3 // 4


def phrases_of(prompts: Sequence[Prompt]) -> list[str]:
    """Every phrase once."""
    return list(dict.fromkeys(prompt.text for prompt in prompts))


def lowest(prompts: Sequence[Prompt]) -> float:
    """The lowest threshold: one is sent for all, the others are applied to what comes back."""
    return min(prompt.threshold for prompt in prompts)
