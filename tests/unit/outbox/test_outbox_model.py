"""The outbox against a model of it that fits on one screen, under random operations and crashes."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from sam3edge.core.errors import OutboxFull
from sam3edge.core.types import Message
from sam3edge.outbox.limits import DropOldest, OutboxOptions, ReplayOptions
from sam3edge.outbox.outbox import Outbox
from sam3edge.outbox.table import disk_bytes
from support.outbox_samples import Clock, message, unflushed

WINDOW = 3
MAX_BYTES = 6_000

frames = st.lists(
    st.builds(
        message,
        name=st.integers(0, 60),
        size=st.sampled_from([20, 400, 900]),
        supersedes=st.sampled_from(["", "", "", "status"]),
    ),
    max_size=3,
    unique_by=(lambda m: m.id, lambda m: m.supersedes or m.id),
)


@dataclass(eq=False)
class Queued:
    message: Message
    seq: int = 0
    state: str = "fresh"  # held, resting


class OutboxMachine(RuleBasedStateMachine):
    """``queue`` and ``window`` are what a correct outbox would hold."""

    @initialize(evicting=st.booleans())
    def begin(self, evicting: bool) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="outbox-"))
        self.evicting = evicting
        self.clock = Clock()
        self.queue: list[Queued] = []
        self.window: list[Message] = []
        self.unwritten: list[Queued] = []
        self.open()

    def open(self) -> None:
        options = OutboxOptions(max_bytes=MAX_BYTES, replay=ReplayOptions(messages=WINDOW))
        overflow = DropOldest() if self.evicting else None
        self.outbox = unflushed(Outbox(self.folder / "outbox.db", options, overflow=overflow, clock=self.clock))

    def trailing(self) -> list[Message]:
        """The window once the acknowledgements have reached the file; it takes at most a quarter of the quota."""
        window: list[Message] = []
        for delivered in reversed(self.window + [item.message for item in self.unwritten]):
            if len(window) == WINDOW or sum(map(disk_bytes, [*window, delivered])) > MAX_BYTES // 4:
                break
            window.insert(0, delivered)
        return window

    def written(self) -> None:
        self.window, self.unwritten = self.trailing(), []

    @rule(frame=frames)
    def put(self, frame: list[Message]) -> None:
        known = {m.id for m in self.trailing()} | {item.message.id for item in self.queue}
        fresh = [m for m in frame if m.id not in known]
        keys = {m.supersedes for m in fresh if m.supersedes}
        replaced = [item for item in self.queue if item.message.supersedes in keys]
        rest = [item for item in self.queue if item not in replaced]
        used = sum(disk_bytes(item.message) for item in rest)
        missing = used + sum(map(disk_bytes, fresh)) - MAX_BYTES
        named = {m.id for m in frame}
        evicted: list[Queued] = []
        for item in rest:
            if missing > 0 and self.evicting and item.state != "held" and item.message.id not in named:
                evicted.append(item)
                missing -= disk_bytes(item.message)
        try:
            self.outbox.put(frame)
        except OutboxFull:
            assert missing > 0
            return
        assert missing <= 0
        self.written()
        places = {item.message.supersedes: item for item in replaced if item.state == "fresh"}
        queue: list[Queued | None] = [None if item in replaced or item in evicted else item for item in self.queue]
        for new in fresh:
            if new.supersedes in places:
                place = places.pop(new.supersedes)
                queue[self.queue.index(place)] = Queued(new, place.seq)
            else:
                queue.append(Queued(new))
        self.queue = [item for item in queue if item is not None]

    @rule(limit=st.integers(1, 4))
    def take(self, limit: int) -> None:
        expected = [item for item in self.queue if item.state == "fresh"][:limit]
        parcels = self.outbox.take(limit)
        assert [parcel.message for parcel in parcels] == [item.message for item in expected]
        for item, parcel in zip(expected, parcels, strict=True):
            item.seq, item.state = parcel.seq, "held"

    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        held = [item for item in self.queue if item.state == "held"]
        if not held:
            return
        item = data.draw(st.sampled_from(held))
        if data.draw(st.booleans()):
            self.clock.now += 1
            self.outbox.acknowledge(item.seq)
            self.queue.remove(item)
            self.unwritten.append(item)
        else:
            self.outbox.release(item.seq)
            item.state = "resting"

    @rule(data=st.data())
    def retake(self, data: st.DataObject) -> None:
        resting = [item for item in self.queue if item.state == "resting"]
        if resting:
            item = data.draw(st.sampled_from(resting))
            parcel = self.outbox.retake(item.seq)
            assert parcel is not None
            assert parcel.message == item.message
            item.state = "held"

    @rule()
    def flush(self) -> None:
        self.outbox.flush()
        self.written()

    @rule(killed=st.booleans())
    def restart(self, killed: bool) -> None:
        if killed:
            self.outbox._storage._database.close()
            # Unwritten acknowledgements are lost: their messages are queued again, where they were.
            self.queue = sorted(self.queue + self.unwritten, key=lambda item: item.seq or 1 << 60)
            self.unwritten = []
        else:
            self.outbox.close()
            self.written()
        self.open()
        for item in self.queue:
            item.state = "fresh"

    @invariant()
    def counts_agree(self) -> None:
        statistics = self.outbox.statistics()
        assert statistics.queued == len(self.queue)
        assert statistics.queued_bytes == sum(disk_bytes(item.message) for item in self.queue) <= MAX_BYTES
        assert self.outbox.unwritten == len(self.unwritten)

    @rule()
    def replay(self) -> None:
        expected = self.window + [item.message for item in self.unwritten]
        places = self.outbox.replay()
        parcels = [self.outbox.retake(seq) for seq in places]
        assert places == sorted(places)
        assert sorted(parcel.message.id for parcel in parcels if parcel) == sorted(m.id for m in expected)
        for parcel in parcels:
            assert parcel is not None
            self.clock.now += 1
            self.outbox.acknowledge(parcel.seq)
        self.outbox.flush()
        self.window, self.unwritten = [parcel.message for parcel in parcels if parcel], []
        self.written()

    def teardown(self) -> None:
        if hasattr(self, "outbox"):
            self.outbox.close()
            shutil.rmtree(self.folder)


TestOutboxModel = OutboxMachine.TestCase
TestOutboxModel.settings = settings(
    max_examples=30, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
