"""The endpoint as the device and the command line see it: a frame and prompts in, findings out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sam3edge.core.errors import EndpointError
from sam3edge.core.types import Detections, Frame, Prompt
from sam3edge.images.jpeg import JpegError, picture_of
from sam3edge.invocations.request import Transport, request_of, room_for_jpeg
from sam3edge.invocations.response import read_answer


@dataclass(frozen=True, slots=True)
class UploadOptions:
    """What is uploaded.

    Attributes:
        longest_side: pixels of the longer side, at most. The model looks at a square of 1008 pixels; a picture twice as
            large leaves it nothing to wish for.
        max_body: bytes of a request: 4 MB of a serverless endpoint, 25 MB of one that is always there.
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

    A picture that exceeds the body limit goes to ``larger``, where there is one, or is made smaller until it does not.
    """

    def __init__(
        self, transport: Transport, options: UploadOptions | None = None, larger: Larger | None = None
    ) -> None:
        self._transport = transport
        self._options = options or UploadOptions()
        self._larger = larger

    def ask(self, frame: Frame, prompts: Sequence[Prompt], seconds: float) -> Detections:
        """See ``Endpoint``. Prompts with exemplars are not answered: the contract carries phrases only."""
        phrases = [prompt for prompt in prompts if not prompt.exemplars]
        shown = {prompt.text: "the endpoint takes no exemplars" for prompt in prompts if prompt.exemplars}
        if not phrases:
            raise EndpointError("the endpoint is asked by phrase, and all prompts are exemplars")
        transport, max_body = self._transport, self._options.max_body
        room = room_for_jpeg(max_body, phrases, frame.id)
        if self._larger is not None:
            room = room_for_jpeg(self._larger.max_body, phrases, frame.id)
        try:
            picture = picture_of(frame, self._options.longest_side, room)
        except JpegError as error:
            raise EndpointError(f"{error}; raise the limit on the request's body") from error
        request = request_of(picture, phrases, frame.id)
        if self._larger is not None and len(request.body) > max_body:
            transport = self._larger.transport
        found = read_answer(transport.send(request, seconds), frame, picture, phrases)
        return replace(found, unsupported_prompts={**found.unsupported_prompts, **shown}) if shown else found

    def close(self) -> None:
        """Release the connections."""
        self._transport.close()
        if self._larger is not None:
            self._larger.transport.close()
