"""Images on disk, asked about once: by a bundle on this computer, or by an endpoint."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from sam3edge.bundle.verify import model_files, verify
from sam3edge.core.errors import EndpointError, SettingsError
from sam3edge.core.fallback.breaker import Retry
from sam3edge.core.flow import DetectionOptions, detect
from sam3edge.core.messages.detections import FrameResult, encode, frame_result
from sam3edge.core.ports import Endpoint
from sam3edge.core.types import Detections, Frame, Origin, Prompt
from sam3edge.images.files import IMAGE_SUFFIXES, images_in, read_frame
from sam3edge.invocations.client import UploadOptions
from sam3edge.invocations.connect import open_endpoint

DEVICE = "command-line"
"""Where a device writes its name."""

ATTEMPTS = 4
MAX_WAIT = 30.0
"""Seconds that are waited for an endpoint that asks for it: nobody else is kept waiting here."""

_UNDIVIDED = 1 << 40


class ImageDetector(Protocol):
    """What finds the prompts' objects in one image."""

    def detect(self, frame: Frame, prompts: tuple[Prompt, ...]) -> Detections:
        """Raises FrameError, EngineError or EndpointError."""

    def close(self) -> None:
        """Release the model or the connection."""


class BundleDetector:
    """A bundle on this computer.

    Raises:
        BundleError: it is damaged.
        EngineError: it does not run here.
    """

    def __init__(self, bundle: Path) -> None:
        from sam3edge.engines.open_engine import open_engine

        self._engine = open_engine(model_files(bundle, verify(bundle, None)))

    def detect(self, frame: Frame, prompts: tuple[Prompt, ...]) -> Detections:
        """See ``ImageDetector``."""
        return detect(self._engine, frame, DetectionOptions(prompts))

    def close(self) -> None:
        """Release the model."""
        self._engine.close()


class EndpointDetector:
    """An endpoint, asked again while it says that it is busy.

    Args:
        endpoint: the client.
        seconds: that one request may take.
        sleep: waits this many seconds.
    """

    def __init__(self, endpoint: Endpoint, seconds: float, sleep: Callable[[float], None] = time.sleep) -> None:
        self._endpoint = endpoint
        self._seconds = seconds
        self._sleep = sleep
        self._retry = Retry(shortest=0.5, longest=MAX_WAIT, least=0.0)

    def detect(self, frame: Frame, prompts: tuple[Prompt, ...]) -> Detections:
        """See ``ImageDetector``."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                found = self._endpoint.ask(frame, prompts, self._seconds)
            except EndpointError as error:
                pause = self._retry.pause(error, MAX_WAIT, _soon)
                if pause is None or attempt == ATTEMPTS:
                    raise
                self._sleep(pause)
            else:
                return replace(found, origin=Origin("cloud"))
        raise AssertionError("unreachable")

    def close(self) -> None:
        """Release the connection."""
        self._endpoint.close()


def _soon(shortest: float, longest: float) -> float:
    """Within a second of the shortest wait, so that several who were sent away do not come back together."""
    return random.uniform(shortest, min(longest, shortest + 1.0))


def endpoint_detector(where: str, seconds: float) -> EndpointDetector:
    """For an address or a name in SageMaker; raises SettingsError."""
    return EndpointDetector(open_endpoint(where, UploadOptions(), seconds), seconds)


def detect_in(path: Path, detector: ImageDetector, prompts: tuple[Prompt, ...]) -> FrameResult:
    """Ask about one image file; raises FrameError and what ``ImageDetector.detect`` raises."""
    frame = read_frame(path)
    return frame_result(DEVICE, frame, prompts, detector.detect(frame, prompts))


def geojson(result: FrameResult) -> bytes:
    """The document that a device publishes, undivided."""
    [whole] = encode(result, "", _UNDIVIDED, 0.0)
    return whole.payload


def images_of(paths: Sequence[Path]) -> list[Path]:
    """The files that were named, and those of folders that were.

    Raises:
        SettingsError: a path is not there, or a folder holds no image.
    """
    return [image for path in paths for image in _images_of(path)]


def names_for(images: Sequence[Path]) -> Iterator[str]:
    """A name a file for what is written about it; files of the same name in several folders are counted."""
    seen: dict[str, int] = {}
    for image in images:
        seen[image.name] = seen.get(image.name, 0) + 1
        yield image.name if seen[image.name] == 1 else f"{image.name}-{seen[image.name]}"


def _images_of(path: Path) -> list[Path]:
    if not path.exists():
        raise SettingsError(f"{path} is not there")
    if not path.is_dir():
        return [path]
    found = images_in(path)
    if not found:
        raise SettingsError(f"{path} holds no image: none of its files ends in {', '.join(sorted(IMAGE_SUFFIXES))}")
    return found
