"""An uploader over a bucket in memory, on a clock that tests move."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

import pytest

from sam3edge.budget_file import BudgetFile
from sam3edge.core.backoff import Backoff
from sam3edge.core.fallback.budget import UNLIMITED, Budget, Limits
from sam3edge.hard_examples.example import EXAMPLE, FRAME, examples_in
from sam3edge.uploader.fake import FakeBucket
from sam3edge.uploader.progress import ProgressFile
from sam3edge.uploader.schedule import DENIED_SECONDS, RETRY_SECONDS, Schedule, UploadBudget
from sam3edge.uploader.transfer import Transfer

NOON = datetime(2026, 1, 2, 12, tzinfo=timezone.utc).timestamp()
PART = 1000


def put_example(folder: Path, number: int, size: int = 300, at: float = NOON) -> str:
    """An example as the segmenter writes it; returns its key without a name."""
    moment = datetime.fromtimestamp(at, timezone.utc)
    identity = f"{number:032x}"
    root = folder / f"{moment:%Y%m%dT%H%M%S%f}-{identity}"
    root.mkdir(parents=True)
    jpeg = hashlib.shake_128(identity.encode()).digest(size)
    document = {
        "format": 1,
        "frame": {"id": identity, "captured_at": moment.isoformat()},
        "image": {"sha256": hashlib.sha256(jpeg).hexdigest()},
    }
    (root / FRAME).write_bytes(jpeg)
    (root / EXAMPLE).write_text(json.dumps(document))
    return f"hard-examples/line-7/{moment:%Y/%m/%d}/{identity}/"


@dataclass
class World:
    """A device whose uploader can be killed at any time; the bucket is elsewhere and outlives it."""

    root: Path
    per_hour: int = 1000
    bytes_per_day: int = 1 << 30
    now: float = NOON
    bucket: FakeBucket = field(default_factory=FakeBucket)
    address: str = "https://labels"

    def __post_init__(self) -> None:
        self.folder = self.root / "examples"
        self.start()

    def start(self) -> None:
        """A new process: nothing is known but what is on the disk."""

        def budget(name: str, an_hour: int, a_day: int) -> Budget:
            file = BudgetFile(self.root / "work" / f"{name}.json")
            return Budget(Limits(an_hour, a_day), file.read(), file.write, lambda: self.now, name)

        self.budget = UploadBudget(
            budget("examples", self.per_hour, UNLIMITED),
            budget("bytes", UNLIMITED, self.bytes_per_day),
            lambda: self.now,
        )
        self.bucket._spend = self.budget.spend
        file = ProgressFile(self.root / "work" / "progress.json")
        transfer = Transfer(self.bucket, self.address, file, self.budget.allow, PART)
        longest = [Backoff(*seconds, uniform=lambda low, high: high) for seconds in (RETRY_SECONDS, DENIED_SECONDS)]
        self.schedule = Schedule(self.folder, transfer, self.budget, "hard-examples", "line-7", *longest)

    def step(self) -> float:
        """One step, and the wait after it."""
        pause = self.schedule.step()
        self.now += pause
        return pause

    def run(self, seconds: float) -> None:
        """Steps for some time; nothing is done while there is nothing to do. A step takes a second."""
        until = self.now + seconds
        while self.now < until and (self.waiting or self.schedule.status.waiting):
            self.step()
            self.now += 1.0
        self.now = max(self.now, until)

    @property
    def waiting(self) -> int:
        return len(examples_in(self.folder))

    def arrived(self, key: str) -> bool:
        """Whether both objects are in the bucket, the document last."""
        order = self.bucket.order
        return {key + FRAME, key + EXAMPLE} <= set(order) and order.index(key + FRAME) < order.index(key + EXAMPLE)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)
