"""The seams: what the flow needs from the outside world. Adapters and their fakes implement these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from sam3edge.core.errors import FrameError
from sam3edge.core.types import (
    Detections,
    EngineOutput,
    Frame,
    MaskPrediction,
    Message,
    ModelInfo,
    Prompt,
    VisualPrompt,
)


@dataclass(frozen=True, slots=True)
class SourceTraits:
    """What the parts around a source have to know of it.

    Attributes:
        waits: whether a frame stays where it is until it was processed, as files do. Then a full outbox holds the
            source up; where frames pass by, as a camera's do, the oldest messages give way instead.
    """

    waits: bool


class Source(Protocol):
    """Where frames come from. Used by one thread; ``backlog`` by any."""

    @property
    def traits(self) -> SourceTraits:
        """The same for as long as the source is open."""

    @property
    def backlog(self) -> int:
        """Frames that wait to be delivered; 0 where none do."""

    @property
    def unfinished(self) -> int:
        """Of those, the ones that look as if they were still being written."""

    def next(self, timeout: float) -> Frame | None:
        """Wait up to ``timeout`` seconds for the next frame.

        Returns:
            The frame, or None when there was none in time.

        Raises:
            FrameError: it is not a usable image; ``reject`` it and continue.
            EndOfSource: there will be no more frames (a video file has ended).
        """

    def done(self, frame: Frame) -> None:
        """The frame's result is durable: it must not be delivered again after a restart."""

    def reject(self, error: FrameError) -> None:
        """The frame or file with ``error.frame_id`` cannot be used: put it out of the way, with a report."""

    def close(self) -> None:
        """Release the device, the watcher and the journal. Idempotent."""


class EndOfSource(Exception):
    """There will be no more frames from this source."""


class Engine(Protocol):
    """What segments a frame. Used by one thread."""

    @property
    def model(self) -> ModelInfo:
        """Which model runs, and on what."""

    def segment(self, frame: Frame, prompts: Sequence[Prompt]) -> EngineOutput:
        """Find every instance of every prompt in one frame.

        One pass of the vision encoder serves all prompts. A prompt that the model does not support is named in
        ``EngineOutput.unsupported_prompts``; the others are segmented.

        Raises:
            FrameError: this image cannot be processed.
            EngineError: the model cannot run.
        """

    def close(self) -> None:
        """Release the accelerator. Idempotent."""


class Endpoint(Protocol):
    """A model elsewhere, for when the device's cannot run or is in doubt. Used by one thread."""

    def ask(self, frame: Frame, prompts: Sequence[Prompt], seconds: float) -> Detections:
        """Have every instance of every prompt found in one frame; ``Detections.origin`` is the caller's to say.

        Args:
            seconds: to wait at most.

        Returns:
            Detections in pixels of the frame, admitted by their prompt's threshold and ``min_area``.

        Raises:
            EndpointError: no response, or one that is not valid.
        """

    def close(self) -> None:
        """Release the connection. Idempotent."""


class InteractiveSegmenter(Protocol):
    """What segments the objects that a person points at. Used by one thread."""

    def predict(self, frame: Frame, prompts: Sequence[VisualPrompt]) -> Sequence[MaskPrediction]:
        """Segment one object for each of ``prompts``, in their order.

        Every object is segmented as if it were the only one. The frame's features are kept for the next call.

        Raises:
            PromptError: something that was pointed at is not in the frame, or nothing was pointed at.
            FrameError: this image cannot be processed.
            EngineError: the model cannot run.
        """


class Publisher(Protocol):
    """A transport for messages. Used by several threads at once."""

    def publish(self, message: Message) -> None:
        """Deliver one message at QoS 1; returns once the transport has accepted responsibility.

        Raises:
            PublishError: not delivered; may be tried again.
            ConnectionLost: not delivered, and this transport will never deliver again.
        """

    def close(self) -> None:
        """Release the connection. Idempotent."""
