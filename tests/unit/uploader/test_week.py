"""A device offline for a week, and for any other time: nothing that was kept is lost, and no quota is exceeded."""

from __future__ import annotations

import random
import tempfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sam3edge.core.errors import UploadError
from sam3edge.hard_examples.example import EXAMPLE, FRAME, examples_in
from sam3edge.hard_examples.folder import HardExamples
from sam3edge.hard_examples.quotas import QuotaLimits, Quotas
from unit.hard_examples.test_folder import candidate, sum_of, wait_until
from unit.uploader.conftest import NOON, World, put_example

HOUR = 3600.0
OFFLINE = UploadError("the bucket cannot be reached", failure="offline")


class Segmenter:
    """Keeps examples as the segmenter does, on the world's clock."""

    def __init__(self, world: World, limits: QuotaLimits) -> None:
        self.world = world
        self.limits = limits
        self.pattern = candidate()
        self.start()

    def start(self) -> None:
        quotas = Quotas(self.limits, self.world.root / "quotas", lambda: self.world.now)
        self.examples = HardExamples(self.world.folder, "line-7", self.limits.max_bytes, quotas)
        self.examples.start()

    def see(self, number: int) -> None:
        """A frame that resembles no other."""
        image = np.random.default_rng(number).integers(0, 255, (8, 9, 3), dtype=np.uint8)
        frame = replace(self.pattern.frame, id=f"{number:032x}", image=np.kron(image, np.ones((6, 6, 1), np.uint8)))
        done = sum_of(self.examples)
        moment = frame.captured_at + timedelta(minutes=number)
        self.examples.keep(replace(self.pattern, frame=replace(frame, captured_at=moment)))
        wait_until(lambda: sum_of(self.examples) > done)


@pytest.mark.long
def test_a_week_offline_loses_no_example_that_was_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two examples an hour; both programs are killed now and then; the bucket is away for seven days."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)  # programs are killed here, not the power
    chance = random.Random(7)
    limits = QuotaLimits(per_hour=3, bytes_per_day=400_000, max_bytes=8 * 400_000)
    world = World(tmp_path, per_hour=10, bytes_per_day=500_000)
    segmenter = Segmenter(world, limits)
    kept: set[str] = set()
    evicted = 0
    number = 0
    for hour in range(9 * 24):
        world.bucket.outage = OFFLINE if 12 <= hour < 12 + 7 * 24 else None
        for _ in range(3):
            segmenter.see(number)
            number += 1
        kept |= {path.name.partition("-")[2] for path in examples_in(world.folder)}
        assert segmenter.examples.counts().kept_bytes <= limits.max_bytes
        day, before = world.now // 86_400, world.bucket.requests
        world.run(HOUR - (world.now - NOON) % HOUR)
        assert world.budget.sent_bytes.spent.in_day <= 500_000
        assert world.budget.examples.spent.in_hour <= 10
        if world.bucket.outage is not None:
            assert world.bucket.requests - before <= 20, "it must not hammer at a bucket that is away"
        assert world.now // 86_400 >= day
        if chance.random() < 0.1:
            evicted += segmenter.examples.counts().evicted
            segmenter.examples.close()
            segmenter.start()
        if chance.random() < 0.1:
            world.start()
    segmenter.examples.close()
    evicted += segmenter.examples.counts().evicted
    assert evicted == 0
    assert len(kept) > 300
    world.run(4 * 86_400)
    assert world.waiting == 0
    arrived = {key.split("/")[-2] for key in world.bucket.objects if key.endswith(EXAMPLE)}
    assert arrived == kept
    assert {key.split("/")[-2] for key in world.bucket.objects if key.endswith(FRAME)} == kept


class UploaderMachine(RuleBasedStateMachine):
    """Examples arrive, the bucket comes and goes and loses responses, the uploader is killed, time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.place = tempfile.TemporaryDirectory()
        self.world = World(Path(self.place.name), per_hour=5, bytes_per_day=20_000)
        self.keys: list[str] = []
        self.sent: dict[int, int] = {}
        self._count_bytes()

    def _count_bytes(self) -> None:
        spend = self.world.budget.spend

        def counted(size: int) -> None:
            day = int(self.world.now // 86_400)
            self.sent[day] = self.sent.get(day, 0) + size
            spend(size)

        self.world.bucket._spend = counted

    @rule(size=st.integers(1, 5000))
    def keep(self, size: int) -> None:
        number = len(self.keys)
        self.keys.append(put_example(self.world.folder, number, size, NOON + number))

    @rule(steps=st.integers(1, 12))
    def work(self, steps: int) -> None:
        for _ in range(steps):
            self.world.step()

    @rule(failure=st.sampled_from([None, "offline", "busy", "denied"]))
    def change_the_weather(self, failure: str | None) -> None:
        self.world.bucket.outage = failure and UploadError("no", failure=failure)  # type: ignore[assignment, arg-type]

    @rule(count=st.integers(1, 3))
    def lose_responses(self, count: int) -> None:
        now = self.world.bucket.requests
        self.world.bucket.lost = set(range(now + 1, now + 1 + count))

    @rule()
    def forget_uploads(self) -> None:
        self.world.bucket.forget_uploads()

    @rule()
    def kill(self) -> None:
        self.world.start()
        self._count_bytes()

    @rule(days=st.integers(1, 9))
    def pass_time(self, days: int) -> None:
        self.world.now += days * 86_400

    @invariant()
    def what_is_not_in_the_bucket_is_on_the_device(self) -> None:
        here = {path.name.partition("-")[2] for path in examples_in(self.world.folder)}
        for key in self.keys:
            assert key.split("/")[-2] in here or self.world.arrived(key)

    @invariant()
    def no_day_has_more_bytes_than_it_may(self) -> None:
        assert all(size <= 20_000 for size in self.sent.values())

    def teardown(self) -> None:
        self.world.bucket.outage, self.world.bucket.lost = None, set()
        self.world.run(30 * 86_400)
        assert self.world.waiting == 0
        assert all(self.world.arrived(key) for key in self.keys)
        self.place.cleanup()


TestUploader = UploaderMachine.TestCase
TestUploader.settings = settings(
    max_examples=20, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
