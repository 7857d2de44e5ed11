"""What is asked of the endpoint: the contract of its ``POST /invocations``, and the port for it."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import quote

from sam3edge_serving.api.images import Image
from sam3edge_serving.api.problems import ModelFailed, TooLarge, Unanswerable

GEOJSON = "application/geo+json"

MAX_ATTRIBUTES = 1024
"""Characters of custom attributes that SageMaker hands through (CustomAttributes of InvokeEndpoint)."""

MAX_BYTES = 25_000_000
"""Of a request to a real-time endpoint."""


@dataclass(frozen=True, slots=True)
class DetectionQuery:
    """What to look for.

    Attributes:
        phrases: at least one, none twice.
        threshold: 0..1; None leaves it to the endpoint.
        image_id: what the image is called in the answer; may be empty.
    """

    phrases: tuple[str, ...] = field(repr=False)
    threshold: float | None = None
    image_id: str = ""

    def attributes(self) -> str:
        """As custom attributes: pairs with commas between them, phrases with bars, values URL-encoded."""
        pairs = ["text_prompt=" + "|".join(quote(phrase, safe="") for phrase in self.phrases)]
        if self.threshold is not None:
            pairs.append(f"threshold={self.threshold:g}")
        if self.image_id:
            pairs.append(f"image_id={quote(self.image_id, safe='')}")
        return ",".join(pairs)

    def json(self) -> dict[str, Any]:
        """As members of a JSON request."""
        members: dict[str, Any] = {"text_prompt": list(self.phrases)}
        if self.threshold is not None:
            members["threshold"] = self.threshold
        if self.image_id:
            members["image_id"] = self.image_id
        return members


@dataclass(frozen=True, slots=True, eq=False)
class InvocationRequest:
    """A request to the endpoint; ``attributes`` is empty where the body says it all."""

    body: bytes = field(repr=False)
    content_type: str
    attributes: str = field(default="", repr=False)


class Model(Protocol):
    """What answers questions about images. Used by one thread."""

    def ask(self, image: Image, looking: DetectionQuery) -> str:
        """What is found, as the device's message (``detections.schema.json``).

        Raises:
            Problem: why there is no answer.
        """


def to_request(image: Image, looking: DetectionQuery) -> InvocationRequest:
    """The image with custom attributes, or both in JSON where the attributes are too long for their header.

    Raises:
        TooLarge: more than an endpoint takes.
    """
    attributes = looking.attributes()
    if len(attributes) <= MAX_ATTRIBUTES:
        asked = InvocationRequest(image.data, image.media_type, attributes)
    else:
        members = {"image": base64.b64encode(image.data).decode(), **looking.json()}
        asked = InvocationRequest(json.dumps(members).encode(), "application/json")
    if len(asked.body) > MAX_BYTES:
        raise TooLarge("image and phrases together are too large; ask for fewer phrases or send a smaller image")
    return asked


def read_answer(body: bytes) -> str:
    """The endpoint's answer, if it is one.

    Raises:
        ModelFailed: no JSON, or no FeatureCollection.
    """
    try:
        text = body.decode()
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise ModelFailed("the model's endpoint answered something that is no JSON; try again") from None
    whole = isinstance(value, dict) and value.get("type") == "FeatureCollection" and "schema_version" in value
    if not whole or not isinstance(value.get("features"), list):
        raise ModelFailed("the model's endpoint answered JSON that is no message of detections; try again")
    return text


def too_long(size: int, most: int) -> Unanswerable:
    """An answer that cannot be handed through."""
    return Unanswerable(
        f"the answer has {size} bytes and at most {most} can be given; ask for fewer phrases, raise the threshold, or "
        "send the image by POST /v1/uploads",
        code="answer_too_large",
    )
