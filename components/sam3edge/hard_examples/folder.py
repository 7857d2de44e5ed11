"""Examples that are kept for training, in a bounded folder; the format is in ``example.py``.

An example appears whole or not at all. Whoever takes examples out (the uploader) moves or deletes their folders.
"""

from __future__ import annotations

import json
import logging
import queue
import shutil
import threading
from dataclasses import dataclass, replace
from pathlib import Path

import cv2

from sam3edge.core.fallback.detector import HardExample
from sam3edge.durable import sync_folder, sync_tree
from sam3edge.hard_examples.example import (
    DRAFT,
    EXAMPLE,
    FRAME,
    Candidate,
    describe,
    examples_in,
    folder_name,
    remove,
    stored_hash,
    sweep,
)
from sam3edge.hard_examples.perceptual_hash import REMEMBERED, RecentHashes, dhash
from sam3edge.hard_examples.quotas import Quotas
from sam3edge.hard_examples.selection import Choice

logger = logging.getLogger(__name__)

QUALITY = 95
WAITING = 2
"""Examples that may wait to be written; each holds a frame in memory."""

MODE = 0o770
"""Of the folders: examples are images, so they are for the group of the nucleus's components only."""


@dataclass(frozen=True, slots=True)
class ExampleCounts:
    """Counters start at 0 with the process.

    Attributes:
        kept: examples in the folder now.
        kept_bytes: what they take.
        stored: written.
        evicted: deleted to make room; the oldest go first.
        repeated: not written, because they look like one before.
        over_quota: not written, because the hour's or the day's quota is used up.
        let_go: not written, because the writer was behind or the disk failed.
    """

    kept: int = 0
    kept_bytes: int = 0
    stored: int = 0
    evicted: int = 0
    repeated: int = 0
    over_quota: int = 0
    let_go: int = 0


class HardExamples:
    """Writes examples in a thread of its own, so that the flow does not wait for the disk.

    Args:
        folder: created if need be.
        device: the thing's name.
        max_bytes: of all examples together.
        quotas: of what is written; used by the writing thread only.
    """

    def __init__(self, folder: Path, device: str, max_bytes: int, quotas: Quotas) -> None:
        self._folder = folder
        self._device = device
        self._max_bytes = max_bytes
        self._quotas = quotas
        self._recent = RecentHashes()
        self._queue: queue.Queue[Candidate | None] = queue.Queue(WAITING)
        self._lock = threading.Lock()
        self._counts = ExampleCounts()
        self._thread = threading.Thread(target=self._run, name="hard-examples")

    def start(self) -> None:
        """Count what is there, and begin."""
        sweep(self._folder)
        self._evict(0)
        newest = examples_in(self._folder)[-REMEMBERED:]
        self._recent = RecentHashes(known for known in map(stored_hash, newest) if known is not None)
        self._thread.start()

    def keep(self, candidate: Candidate) -> None:
        """Keep it, or drop it; never waits and raises nothing."""
        try:
            self._queue.put_nowait(candidate)
        except queue.Full:
            self._count(let_go=1)

    def offer(self, example: HardExample) -> None:
        """See ``Examples``: device and cloud disagree."""
        only = example.disagreement
        detail = f"{example.escalation.detail}; only the device has {only.device} objects, only the cloud {only.cloud}"
        choice = Choice("disagreement", detail)
        self.keep(Candidate(example.frame, example.prompts, choice, example.device, example.cloud))

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
        while (candidate := self._queue.get()) is not None:
            try:
                self._store(candidate)
            except (OSError, ValueError, cv2.error) as error:
                self._count(let_go=1)
                logger.warning("a hard example is dropped: %s", error, extra={"frame": candidate.frame.id})

    def _store(self, candidate: Candidate) -> None:
        frame, kind = candidate.frame, candidate.choice.kind
        target = self._folder / folder_name(frame)
        if target.exists():
            return
        fingerprint = dhash(frame.image)
        if self._recent.has_like(fingerprint):
            self._count(repeated=1)
            return
        if self._quotas.refusal(kind):
            self._count(over_quota=1)
            return
        bgr = cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR)
        done, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        if not done:
            raise OSError(
                f"the image with {frame.image.shape[1]} x {frame.image.shape[0]} pixels cannot be encoded as JPEG"
            )
        jpeg = encoded.tobytes()
        document = json.dumps(describe(self._device, candidate, jpeg, fingerprint)).encode()
        size = len(jpeg) + len(document)
        if size > self._max_bytes:
            raise OSError(f"it takes {size} bytes, the whole folder may have {self._max_bytes}")
        if self._quotas.refusal(kind, size):
            self._count(over_quota=1)
            return
        self._quotas.take(kind, size)
        self._evict(size)
        self._write(target, jpeg, document)
        self._recent.add(fingerprint)
        self._count(stored=1, kept=1, kept_bytes=size)

    def _write(self, target: Path, jpeg: bytes, document: bytes) -> None:
        draft = self._folder / DRAFT
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        for folder in (self._folder, draft):
            folder.chmod(MODE)
        (draft / FRAME).write_bytes(jpeg)
        (draft / EXAMPLE).write_bytes(document)
        sync_tree(draft)
        draft.rename(target)
        sync_folder(self._folder)

    def _evict(self, room: int) -> None:
        """Delete the oldest until there is room; what others took out meanwhile is noticed here."""
        sizes = {path: _size(path) for path in examples_in(self._folder)}
        total, evicted = sum(sizes.values()), 0
        for path, size in list(sizes.items()):
            if total + room <= self._max_bytes:
                break
            remove(path)
            total -= size
            evicted += 1
        with self._lock:
            self._counts = replace(
                self._counts, kept=len(sizes) - evicted, kept_bytes=total, evicted=self._counts.evicted + evicted
            )

    def _count(self, **more: int) -> None:
        with self._lock:
            self._counts = replace(self._counts, **{n: getattr(self._counts, n) + by for n, by in more.items()})


def _size(example: Path) -> int:
    try:
        return sum(path.stat().st_size for path in example.iterdir())
    except OSError:  # somebody is taking it away
        return 0
