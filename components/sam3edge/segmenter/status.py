"""What the component says of itself: counters, the heartbeat, and the snapshot that somebody asked for."""

from __future__ import annotations

import base64
import logging
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import cv2
import numpy as np

from sam3edge.core.errors import FrameError
from sam3edge.core.messages.detections import FrameResult
from sam3edge.core.messages.events import encode, event_message, now
from sam3edge.core.types import Frame, Message, ModelInfo, Prompt

logger = logging.getLogger(__name__)

RATE_WINDOW = 60.0
"""Seconds over which frames a second are counted."""

MIN_SNAPSHOT = 64
"""Pixels of the longer side below which a snapshot is given up."""


class Statistics:
    """Counts what the flow does, and keeps what the next snapshot needs. Read by the heartbeat's thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._started = clock()
        self._lock = threading.Lock()
        self._recent: deque[float] = deque(maxlen=10_000)
        self._counts = {"frames": 0, "instances": 0, "messages": 0, "rejected": 0, "unchanged": 0}
        self._last_error = ""
        self._wanted: list[Callable[[FrameResult], None]] = []

    def detected(self, result: FrameResult, messages: int) -> None:
        """Count a frame; serve those who asked for a snapshot of the next one."""
        with self._lock:
            self._recent.append(self._clock())
            self._counts["frames"] += 1
            self._counts["instances"] += len(result.detections)
            self._counts["messages"] += messages
            wanted, self._wanted = self._wanted, []
        found = len(result.detections)
        total = sum(result.timing.values())
        logger.info("answered %s: %d found, %.0f ms", result.frame.name, found, total, extra={"frame": result.frame.id})
        for serve in wanted:
            serve(result)

    def rejected(self, error: FrameError) -> None:
        """Count a frame that could not be used."""
        with self._lock:
            self._counts["rejected"] += 1
        self.failed(error)
        logger.warning("rejected %s: %s", error.name, error, extra={"frame": error.frame_id})

    def unchanged(self, frame: Frame) -> None:
        """Count a frame that the gate held back."""
        with self._lock:
            self._counts["unchanged"] += 1

    def failed(self, error: Exception) -> None:
        """Remember the last error."""
        with self._lock:
            self._last_error = str(error)

    def request_snapshot(self, serve: Callable[[FrameResult], None]) -> None:
        """Have ``serve`` called once, with the next answer."""
        with self._lock:
            self._wanted.append(serve)

    def report(self) -> dict[str, Any]:
        """Counters since the start, frames a second over the last minute, seconds of uptime, last error."""
        moment = self._clock()
        with self._lock:
            span = min(RATE_WINDOW, max(1.0, moment - self._started))
            frames = sum(1 for at in self._recent if at > moment - RATE_WINDOW)
            return {
                "uptime_s": round(moment - self._started, 1),
                "counts": dict(self._counts),
                "frames_per_second": round(frames / span, 3),
                "last_error": self._last_error,
            }


def status_message(
    device: str,
    topic: str,
    state: str,
    model: ModelInfo | None,
    prompts: tuple[Prompt, ...],
    report: Mapping[str, Any],
    delivery: Mapping[str, Any],
    max_bytes: int,
    fallback: Mapping[str, Any] | None = None,
) -> Message:
    """One heartbeat; an undelivered older one gives way to it. Prompts that do not fit are only counted.

    Args:
        fallback: how it stands with the cloud; None where none is asked.
    """
    body: dict[str, Any] = {
        "id": str(uuid.uuid4()),
        "device": device,
        "time": now(),
        "state": state,
        "model": asdict(model) if model else None,
        "prompts": [{"text": p.text, "label": p.name, "threshold": p.threshold} for p in prompts],
        "prompt_count": len(prompts),
        **report,
        "delivery": dict(delivery),
    }
    if fallback is not None:
        body["fallback"] = dict(fallback)
    while len(encode(body)) > max_bytes and body["prompts"]:
        body["prompts"] = body["prompts"][: len(body["prompts"]) // 2]
    return Message(body["id"], topic, encode(body), supersedes="status")


def snapshot_message(device: str, topic: str, request: str, answer: FrameResult, max_bytes: int) -> Message | None:
    """The frame as JPEG, shrunk until it fits into one message; None when even a thumbnail does not fit."""
    image, quality = answer.frame.image[..., ::-1], 80
    side = max(image.shape[:2])
    target = min(side, 1280)
    while target >= MIN_SNAPSHOT:
        size = (max(1, round(image.shape[1] * target / side)), max(1, round(image.shape[0] * target / side)))
        small = cv2.resize(np.ascontiguousarray(image), size, interpolation=cv2.INTER_AREA)
        _, jpeg = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, quality])
        message = event_message(
            device,
            topic,
            "snapshot",
            request=request,
            frame={"id": answer.frame.id, "name": answer.frame.name},
            width=size[0],
            height=size[1],
            media_type="image/jpeg",
            image=base64.b64encode(jpeg.tobytes()).decode(),
        )
        if len(message.payload) <= max_bytes:
            return message
        target = int(target * 0.75)
    return None


class Heartbeat:
    """Calls ``beat`` at once and then every ``seconds``, from a thread of its own."""

    def __init__(self, seconds: float, beat: Callable[[], None]) -> None:
        self._seconds = seconds
        self._beat = beat
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat")

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def close(self) -> None:
        """End; no beat is under way when this returns."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            self._beat()
            if self._stop.wait(self._seconds):
                return
