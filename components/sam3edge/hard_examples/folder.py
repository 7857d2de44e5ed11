"""Frames about which device and cloud disagree, kept for training in a bounded folder.

    <captured>-<frame id>/frame.jpg     the whole frame, quality 95
    <captured>-<frame id>/answers.json  reason, disagreement, and both answers as detections messages, undivided

An example appears whole or not at all. Whoever takes examples out (an uploader) moves or deletes their folders.
"""

from __future__ import annotations

import json
import logging
import queue
import shutil
import threading
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import cv2

from sam3edge.core.fallback.detector import HardExample
from sam3edge.core.messages.detections import encode, frame_result
from sam3edge.core.types import Detections
from sam3edge.durable import sync_folder, sync_tree

logger = logging.getLogger(__name__)

FRAME, ANSWERS = "frame.jpg", "answers.json"
QUALITY = 95
WAITING = 2
"""Examples that may wait to be written; each holds a frame in memory."""

_DRAFT = ".draft"
_UNDIVIDED = 1 << 40


@dataclass(frozen=True, slots=True)
class ExampleCounts:
    """Counters start at 0 with the process.

    Attributes:
        kept: examples in the folder now.
        kept_bytes: what they take.
        stored: written.
        evicted: deleted to make room; the oldest go first.
        let_go: not written, because the writer was behind or the disk failed.
    """

    kept: int = 0
    kept_bytes: int = 0
    stored: int = 0
    evicted: int = 0
    let_go: int = 0


class HardExamples:
    """Writes examples in a thread of its own, so that the flow does not wait for the disk.

    Args:
        folder: created if need be.
        device: the thing's name.
        max_bytes: of all examples together.
    """

    def __init__(self, folder: Path, device: str, max_bytes: int) -> None:
        self._folder = folder
        self._device = device
        self._max_bytes = max_bytes
        self._queue: queue.Queue[HardExample | None] = queue.Queue(WAITING)
        self._lock = threading.Lock()
        self._counts = ExampleCounts()
        self._thread = threading.Thread(target=self._run, name="hard-examples")

    def start(self) -> None:
        """Count what is there, and begin."""
        shutil.rmtree(self._folder / _DRAFT, ignore_errors=True)
        self._evict(0)
        self._thread.start()

    def offer(self, example: HardExample) -> None:
        """See ``Examples``."""
        try:
            self._queue.put_nowait(example)
        except queue.Full:
            self._count(let_go=1)

    def counts(self) -> ExampleCounts:
        """A snapshot."""
        with self._lock:
            return self._counts

    def close(self) -> None:
        """Write what waits, and end. Idempotent."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()

    def _run(self) -> None:
        while (example := self._queue.get()) is not None:
            try:
                self._store(example)
            except (OSError, cv2.error) as error:
                self._count(let_go=1)
                logger.warning("a hard example is dropped: %s", error, extra={"frame": example.frame.id})

    def _store(self, example: HardExample) -> None:
        frame = example.frame
        target = self._folder / f"{frame.captured_at:%Y%m%dT%H%M%S%f}-{frame.id}"
        if target.exists():
            return
        _, jpeg = cv2.imencode(
            ".jpg", cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, QUALITY]
        )
        answers = json.dumps(self._describe(example)).encode()
        size = len(jpeg) + len(answers)
        if size > self._max_bytes:
            raise OSError(f"it takes {size} bytes, the whole folder may have {self._max_bytes}")
        self._evict(size)
        draft = self._folder / _DRAFT
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        (draft / FRAME).write_bytes(jpeg.tobytes())
        (draft / ANSWERS).write_bytes(answers)
        sync_tree(draft)
        draft.rename(target)
        sync_folder(self._folder)
        self._count(stored=1, kept=1, kept_bytes=size)

    def _evict(self, room: int) -> None:
        """Delete the oldest until there is room; what others took out meanwhile is noticed here."""
        sizes = {path: _size(path) for path in sorted(self._folder.glob("[0-9]*-*"))}
        total, evicted = sum(sizes.values()), 0
        for path, size in list(sizes.items()):
            if total + room <= self._max_bytes:
                break
            shutil.rmtree(path, ignore_errors=True)
            total -= size
            evicted += 1
        with self._lock:
            self._counts = replace(
                self._counts, kept=len(sizes) - evicted, kept_bytes=total, evicted=self._counts.evicted + evicted
            )

    def _describe(self, example: HardExample) -> dict[str, Any]:
        return {
            "reason": example.escalation.reason,
            "detail": example.escalation.detail,
            "disagreement": asdict(example.disagreement),
            "device": self._message(example, example.device),
            "cloud": self._message(example, example.cloud),
        }

    def _message(self, example: HardExample, found: Detections) -> Any:
        answer = frame_result(self._device, example.frame, example.prompts, found)
        [whole] = encode(answer, "", _UNDIVIDED, 0.0)
        return json.loads(whole.payload)

    def _count(self, **more: int) -> None:
        with self._lock:
            self._counts = replace(self._counts, **{n: getattr(self._counts, n) + by for n, by in more.items()})


def _size(example: Path) -> int:
    try:
        return sum(path.stat().st_size for path in example.iterdir())
    except OSError:  # somebody is taking it away
        return 0
