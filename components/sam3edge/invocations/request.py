"""What the endpoint is asked, in the form of SageMaker's ``POST /invocations``; the one writer of such requests.

Standard library only: Lambda functions carry this module as it is.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Protocol

from sam3edge.invocations.attributes import MAX_HEADER, Attributes, write_attributes

ACCEPT = "application/geo+json"
"""The media type of the detections message, which is asked for where nothing else is."""

SEGMENTATIONS = "application/vnd.sam3edge.segmentations+json"
"""The media type of found objects with their masks as PNG, in the shape of OpenAI's images."""

MAX_REQUEST_BYTES = 25_000_000
"""Of a request to a real-time endpoint, by SageMaker's quotas."""

MAX_RESPONSE_BYTES = 25 << 20
"""What SageMaker passes on; more is not read."""


@dataclass(frozen=True, slots=True, eq=False)
class InvocationRequest:
    """One request, whatever carries it.

    Attributes:
        id: what a bucket may call it; letters, digits and hyphens.
        attributes: value of the header ``attributes.HEADER``; empty when everything is in the body.
        accept: the media type that is asked for.
    """

    id: str
    body: bytes = field(repr=False)
    content_type: str
    attributes: str = field(default="", repr=False)
    accept: str = ACCEPT


class Transport(Protocol):
    """What carries requests to an endpoint. Used by one thread."""

    def send(self, request: InvocationRequest, seconds: float) -> bytes:
        """The body of the response, at most ``MAX_RESPONSE_BYTES`` bytes.

        Raises:
            EndpointError: another status than success, or no response in ``seconds``.
        """

    def close(self) -> None:
        """Release the connection. Idempotent."""


def build_request(identity: str, image: bytes, media_type: str, attributes: Attributes) -> InvocationRequest:
    """The image as it is with the rest in the header; or all in JSON, which takes a third more, for many phrases.

    Args:
        identity: see ``InvocationRequest.id``.
        image: encoded, of ``media_type``.
    """
    header = write_attributes(attributes)
    if len(header) <= MAX_HEADER:
        return InvocationRequest(identity, image, media_type, header)
    members: dict[str, object] = {
        "image": base64.b64encode(image).decode(),
        "text_prompt": list(attributes.phrases),
        "threshold": attributes.threshold,
        "image_id": attributes.image_id,
    }
    given = {name: value for name, value in members.items() if value not in (None, "")}
    return InvocationRequest(identity, json.dumps(given, separators=(",", ":")).encode(), "application/json")


def room_for_image(max_body: int, attributes: Attributes) -> int:
    """Bytes that an encoded image may have within a body of ``max_body`` bytes."""
    if len(write_attributes(attributes)) <= MAX_HEADER:
        return max_body
    phrases = sum(6 * len(text) + 3 for text in attributes.phrases)  # \uXXXX for every character at worst
    return (max_body - 1000 - 6 * len(attributes.image_id) - phrases) * 3 // 4
