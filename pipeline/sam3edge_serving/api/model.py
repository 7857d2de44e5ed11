"""The model behind the API: what is asked of the endpoint, and what its failures mean for clients of the API.

How requests are written and carried is ``sam3edge.invocations``, as on devices.
"""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from sam3edge.core.errors import EndpointError, EndpointFailure
from sam3edge.invocations.attributes import Attributes
from sam3edge.invocations.request import ACCEPT, MAX_REQUEST_BYTES, InvocationRequest, Transport, build_request
from sam3edge_serving.api.images import Image
from sam3edge_serving.http.errors import (
    BadGateway,
    BadRequest,
    Busy,
    GatewayTimeout,
    HttpError,
    InternalError,
    NotReady,
    TooLarge,
    Unanswerable,
)

logger = logging.getLogger(__name__)

MAX_WAIT = 60
"""Seconds that a client is asked to wait at most, whatever the endpoint says."""

_REFUSALS: Mapping[EndpointFailure, type[HttpError]] = {
    "bad_request": BadRequest,
    "too_large": TooLarge,
    "unanswerable": Unanswerable,
}
"""The client's own mistakes: what the endpoint says of them is meant for the client."""


@dataclass(frozen=True, slots=True)
class DetectionQuery:
    """What to look for.

    Attributes:
        phrases: at least one, none twice.
        threshold: 0..1; None leaves it to the endpoint.
        image_id: what the image is called in the response; may be empty.
    """

    phrases: tuple[str, ...] = field(repr=False)
    threshold: float | None = None
    image_id: str = ""

    def attributes(self) -> Attributes:
        """As the endpoint is told."""
        return Attributes(self.phrases, self.threshold, image_id=self.image_id)

    def request(self, image: Image, accept: str = ACCEPT) -> InvocationRequest:
        """About an image.

        Args:
            accept: media type of the response.

        Raises:
            TooLarge: more than an endpoint takes.
        """
        request = build_request(uuid.uuid4().hex, image.data, image.media_type, self.attributes())
        if len(request.body) > MAX_REQUEST_BYTES:
            raise TooLarge("image and phrases together are too large; ask for fewer phrases or send a smaller image")
        return replace(request, accept=accept)


class Model(Protocol):
    """What finds things in images. Used by one thread."""

    def ask(self, image: Image, query: DetectionQuery, accept: str = ACCEPT) -> str:
        """What is found, as JSON: the device's message (``detections.schema.json``), or what ``accept`` names.

        Raises:
            HttpError: why there is no response.
        """


class EndpointModel:
    """A ``Model`` behind an endpoint.

    Args:
        transport: carries the requests.
        seconds: for its response.
        retry_after: seconds to wait that clients are told where the endpoint says nothing.
    """

    def __init__(self, transport: Transport, seconds: float, retry_after: int) -> None:
        self._transport = transport
        self._seconds = seconds
        self._retry_after = retry_after

    def ask(self, image: Image, query: DetectionQuery, accept: str = ACCEPT) -> str:
        """See ``Model``."""
        request = query.request(image, accept)
        try:
            body = self._transport.send(request, self._seconds)
        except EndpointError as error:
            raise error_of(error, self._retry_after) from error
        return read_detections(body) if accept == ACCEPT else read_json(body)


class UploadsOnly:
    """The ``Model`` of an API whose endpoint is asynchronous: it takes images from S3 and no others."""

    def ask(self, image: Image, query: DetectionQuery, accept: str = ACCEPT) -> str:
        """See ``Model``; nothing is asked."""
        raise BadRequest(
            "this API takes uploads only; send the image by POST /v1/uploads, then its id to POST /v1/detections",
            code="uploads_only",
        )


def error_of(error: EndpointError, retry_after: int) -> HttpError:
    """What clients are told. Account and endpoint are not repeated.

    Args:
        retry_after: seconds to wait where the endpoint does not say.
    """
    logger.warning("the endpoint could not be asked: %s", error.failure)
    if error.failure in _REFUSALS:
        return _REFUSALS[error.failure](error.said or "the model's endpoint refused the request")
    wait = retry_after if error.retry_after is None else min(max(1, int(error.retry_after)), MAX_WAIT)
    if error.failure == "busy":
        return Busy("the model has too much to do; try again later", retry_after=wait)
    if error.failure == "not_ready":
        return NotReady("the model is not ready, it may be starting; try again later", retry_after=wait)
    if error.failure == "unreachable":
        return NotReady("the model's endpoint cannot be reached; try again later", retry_after=retry_after)
    if error.failure == "timeout":
        return GatewayTimeout(
            "the model did not answer in time; send a smaller image or fewer phrases, or use POST /v1/uploads"
        )
    if error.failure == "denied":
        return InternalError("this API may not use the model's endpoint; tell the operator", code="endpoint_refused")
    return BadGateway("the model failed on this request; try again, and tell the operator when it happens again")


def read_detections(body: bytes) -> str:
    """The endpoint's response, if it is one.

    Raises:
        BadGateway: not JSON, or not a message of detections.
    """
    text, value = _parsed(body)
    whole = isinstance(value, dict) and value.get("type") == "FeatureCollection" and "schema_version" in value
    if not whole or not isinstance(value.get("features"), list):
        raise BadGateway("the model's endpoint responded with JSON that is not a message of detections; try again")
    return text


def read_json(body: bytes) -> str:
    """The endpoint's response, if it is JSON; raises BadGateway."""
    return _parsed(body)[0]


def _parsed(body: bytes) -> tuple[str, Any]:
    try:
        text = body.decode()
        return text, json.loads(text)
    except (ValueError, RecursionError):
        raise BadGateway("the model's endpoint responded with something that is not JSON; try again") from None


def too_long(size: int, most: int) -> Unanswerable:
    """A response that cannot be passed on."""
    return Unanswerable(
        f"the response has {size} bytes, expected at most {most}; ask for fewer phrases, raise the threshold, or send "
        "the image by POST /v1/uploads",
        code="response_too_large",
    )
