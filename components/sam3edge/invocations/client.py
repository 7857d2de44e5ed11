"""The endpoint as the device and the command line see it: a frame and prompts in, detections out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sam3edge.core.errors import EndpointError
from sam3edge.core.types import Detections, Frame, Prompt
from sam3edge.images.jpeg import JpegError, picture_of
from sam3edge.invocations.attributes import Attributes
from sam3edge.invocations.request import Transport, build_request, room_for_image
from sam3edge.invocations.response import read_response


@dataclass(frozen=True, slots=True)
class UploadOptions:
    """What is uploaded.

    Attributes:
        longest_side: pixels of the longer side, at most. The model looks at a square of 1008 pixels; an image twice as
            large gives it all the detail it can use.
        max_body: bytes of a request: 4 MB of a serverless endpoint, 25 MB of a real-time one.
    """

    longest_side: int = 2016
    max_body: int = 4_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Larger:
    """Where requests go that are too large for the first way: an asynchronous endpoint.

    Attributes:
        max_body: bytes of a request.
    """

    transport: Transport
    max_body: int = 100_000_000


class EndpointClient:
    """An ``Endpoint`` behind a transport.

    An image that exceeds the body limit goes to ``larger``, where there is one, or is made smaller until it fits.
    """

    def __init__(
        self, transport: Transport, options: UploadOptions | None = None, larger: Larger | None = None
    ) -> None:
        self._transport = transport
        self._options = options or UploadOptions()
        self._larger = larger

    def ask(self, frame: Frame, prompts: Sequence[Prompt], seconds: float) -> Detections:
        """See ``Endpoint``. Prompts with exemplars are unsupported: the contract carries phrases only."""
        phrases = [prompt for prompt in prompts if not prompt.exemplars]
        shown = {prompt.text: "the endpoint takes no exemplars" for prompt in prompts if prompt.exemplars}
        if not phrases:
            raise EndpointError("expected a prompt with a phrase, got exemplars only, which an endpoint does not take")
        transport, max_body = self._transport, self._options.max_body
        query = query_of(phrases, frame.id)
        room = room_for_image(max_body if self._larger is None else self._larger.max_body, query)
        try:
            picture = picture_of(frame, self._options.longest_side, room)
        except JpegError as error:
            raise EndpointError(f"{error}; raise the limit on the request's body") from error
        request = build_request(frame.id, picture.jpeg, "image/jpeg", query)
        if self._larger is not None and len(request.body) > max_body:
            transport = self._larger.transport
        found = read_response(transport.send(request, seconds), frame, picture, phrases)
        return replace(found, unsupported_prompts={**found.unsupported_prompts, **shown}) if shown else found

    def close(self) -> None:
        """Release the connections."""
        self._transport.close()
        if self._larger is not None:
            self._larger.transport.close()


def query_of(prompts: Sequence[Prompt], image_id: str) -> Attributes:
    """Every phrase once, and the lowest threshold: one is sent for all, the others are applied to what comes back."""
    phrases = tuple(dict.fromkeys(prompt.text for prompt in prompts))
    return Attributes(phrases, min(prompt.threshold for prompt in prompts), image_id=image_id)
