"""Brings messages from the outbox to a publisher.

One thread, the dispatcher, takes messages in order, hands them to ``in_flight`` worker threads, and hears from them
what became of each; only the dispatcher talks to the schedule and moves messages, so there is nothing to race for. A
worker does nothing but call ``publish``.

After a start, and whenever an incident has ended, the trailing window of the outbox is sent again, behind everything
that was never delivered: a nucleus that broke down may have accepted those messages and lost them. Consumers drop
repetitions by id.

Three things may become of a message that is refused: it is tried again, it is split because smaller ones pass, or, when
it is refused for what it is (``PublishRejected``), it is set aside and tried again every hour and after a restart.
"""

from __future__ import annotations

import logging
import queue
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sam3edge.core.errors import ConnectionLost, DeliveryStuck, OutboxFull, PublishError, PublishRejected
from sam3edge.core.messages.bounds import reason_of
from sam3edge.core.ports import Publisher
from sam3edge.core.types import Message
from sam3edge.outbox.outbox import Outbox
from sam3edge.outbox.retry import DeliveryOptions, Schedule
from sam3edge.outbox.table import QueuedMessage

logger = logging.getLogger(__name__)

_HOUSEKEEPING = 1.0  # how often, at least, the dispatcher looks round
_COMPLAINT_PAUSE = 60.0
_RESTORE_PAUSE = 3600.0

Split = Callable[[Message, int], Sequence[Message]]
"""Divides a message into parts of at most this many bytes; none where it cannot be divided."""

Report = Callable[[PublishError, Message], None]
"""Told of a message that was set aside (``PublishRejected``) or is refused for a long time (``DeliveryStuck``)."""


@dataclass(frozen=True, slots=True)
class DeliveryStatistics:
    """A snapshot for the heartbeat; counters start at 0 with the process.

    Attributes:
        queued: undelivered messages, those in flight included.
        queued_bytes: what they count against the outbox's ``max_bytes``.
        in_flight: messages being sent now.
        delivered: messages that were accepted for the first time.
        retried: attempts that failed.
        replayed: messages of the window that were accepted once more.
        evicted: messages dropped for want of room.
        expired: messages dropped for their age.
        rejected: messages that are set aside because they were refused for what they are.
        split: messages that were divided because smaller ones passed.
        set_aside: damaged outbox files and rows that were taken out.
        last_error: what the last failed attempt said, bounded; empty when none failed yet.
        oldest_age_s: how long the oldest undelivered message has been waiting.
        refused_s: since the first attempt at the message that has been refused longest; 0 when none is.
    """

    queued: int
    queued_bytes: int
    in_flight: int
    delivered: int
    retried: int
    replayed: int
    evicted: int
    expired: int
    rejected: int
    split: int
    set_aside: int
    last_error: str
    oldest_age_s: float
    refused_s: float


@dataclass(frozen=True, slots=True)
class _Outcome:
    message: QueuedMessage
    error: PublishError | None


class Delivery:
    """Delivers until it is closed or the connection is lost.

    The outbox and the publisher stay the caller's, who closes them after this.

    Args:
        outbox: where messages come from.
        publisher: where they go.
        options: bounds and pauses.
        on_lost: called once, from a thread of this object, when delivery has ended for good: with the
            ``ConnectionLost``, or with whatever else must end the program. The program has to leave with a non-zero
            status then, so that the nucleus starts it again.
        split: divides a message that is too large for now; by default none is divided.
        report: told what nobody else would notice; from a thread of this object.
        randomness: where the jitter of the pauses comes from; replaced by tests.
    """

    def __init__(
        self,
        outbox: Outbox,
        publisher: Publisher,
        options: DeliveryOptions | None = None,
        *,
        on_lost: Callable[[Exception], None],
        split: Split = lambda message, max_bytes: (),
        report: Report = lambda error, message: None,
        randomness: random.Random | None = None,
    ) -> None:
        self._outbox = outbox
        self._publisher = publisher
        self._options = options or DeliveryOptions()
        self._on_lost = on_lost
        self._split = split
        self._report = report
        self._schedule = Schedule(self._options, randomness or random.Random())
        self._changed = threading.Condition()
        self._outcomes: list[_Outcome] = []
        self._woken = False
        self._stopping = False
        self._lost = False
        self._in_flight: dict[int, int] = {}  # seq -> bytes
        self._waiting: QueuedMessage | None = None  # taken, and too large to be sent beside what is in flight
        self._kept: list[int] = []  # to be replayed when the present error spell ends
        self._replays: deque[int] = deque()  # of a replay that has begun: not sent yet
        self._repeated: set[int] = set()  # sent, and not delivered yet
        self._jobs: queue.SimpleQueue[QueuedMessage | None] = queue.SimpleQueue()
        self._delivered = self._retried = self._replayed = self._divided = 0
        self._last_error = ""
        self._complain_at = time.monotonic()
        self._flush_due = time.monotonic()
        self._restore_due = time.monotonic() + _RESTORE_PAUSE
        self._refused_for = 0.0
        self._fresh_first = True
        names = [("dispatcher", self._dispatch)] + [(f"worker-{n}", self._work) for n in range(self._options.in_flight)]
        self._threads = [
            threading.Thread(target=self._supervise, args=(body,), name=f"delivery-{name}", daemon=True)
            for name, body in names
        ]

    def start(self) -> None:
        """Begin, with a replay of what was delivered last."""
        self._outbox.on_put(self._wake)
        for thread in self._threads:
            thread.start()

    def drain(self, timeout: float) -> bool:
        """Wait until everything was delivered and acknowledged.

        Returns:
            Whether it was, within ``timeout`` seconds.
        """
        with self._changed:
            return self._changed.wait_for(lambda: self._lost or self._idle, timeout) and not self._lost

    def close(self, timeout: float = 5.0) -> None:
        """Stop: nothing more is begun, and what is in flight has ``timeout`` seconds to end. Idempotent.

        What is not acknowledged by then stays in the outbox.
        """
        self._outbox.on_put(lambda: None)
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            if thread.is_alive() and thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))

    def statistics(self) -> DeliveryStatistics:
        """Its present state."""
        outbox = self._outbox.statistics()
        with self._changed:
            return DeliveryStatistics(
                queued=outbox.queued,
                queued_bytes=outbox.queued_bytes,
                in_flight=len(self._in_flight),
                delivered=self._delivered,
                retried=self._retried,
                replayed=self._replayed,
                evicted=outbox.evicted,
                expired=outbox.expired,
                rejected=outbox.rejected,
                split=self._divided,
                set_aside=outbox.set_aside,
                last_error=self._last_error,
                oldest_age_s=outbox.oldest_age_s,
                refused_s=self._refused_for,
            )

    # -- threads -------------------------------------------------------------------------------------------------

    def _supervise(self, body: Callable[[], None]) -> None:
        """What ends a thread must end the program, and never just the thread."""
        try:
            body()
        except Exception as error:
            if not isinstance(error, ConnectionLost):
                logger.exception("delivery ended by an error")
            with self._changed:
                expected = self._stopping
                self._lost = self._stopping = True
                self._changed.notify_all()
            if not expected:
                self._on_lost(error)

    def _work(self) -> None:
        while (message := self._jobs.get()) is not None:
            error: PublishError | None = None
            try:
                self._publisher.publish(message.message)
            except ConnectionLost:
                raise
            except PublishError as refused:
                error = refused
            with self._changed:
                self._outcomes.append(_Outcome(message, error))
                self._changed.notify_all()

    def _dispatch(self) -> None:
        try:
            while not self._over:
                with self._changed:
                    self._changed.wait_for(self._has_work, self._patience())
                    outcomes, self._outcomes = self._outcomes, []
                    self._woken = False
                for outcome in outcomes:
                    self._settle(outcome)
                if not self._stopping:
                    self._restore_when_due()
                    self._send()
                    self._notice_stuck()
                self._flush_when_due()
                with self._changed:
                    self._changed.notify_all()  # for drain
            self._flush()
        finally:
            for _ in range(self._options.in_flight):
                self._jobs.put(None)

    # -- the dispatcher's steps ----------------------------------------------------------------------------------

    @property
    def _over(self) -> bool:
        return self._stopping and (self._lost or not self._in_flight)

    @property
    def _idle(self) -> bool:
        return not (self._in_flight or self._replays or self._waiting or self._outbox.queued)

    def _has_work(self) -> bool:
        return bool(self._outcomes) or self._over or (self._woken and not self._stopping)

    def _patience(self) -> float:
        now = time.monotonic()
        change = self._schedule.next_change(len(self._in_flight), now)
        return max(0.0, min(_HOUSEKEEPING, self._flush_due - now, _HOUSEKEEPING if self._stopping else change))

    def _wake(self) -> None:
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def _settle(self, outcome: _Outcome) -> None:
        seq, error = outcome.message.seq, outcome.error
        repeated = seq in self._repeated
        if error is None:
            self._succeeded(outcome.message)
        elif isinstance(error, PublishRejected):
            self._rejected(outcome.message, error)
        else:
            self._failed(outcome.message, error)
        with self._changed:
            self._in_flight.pop(seq, None)
            if error is not None:
                self._retried += 1
                self._last_error = reason_of(error)
            elif repeated:
                self._replayed += 1
            else:
                self._delivered += 1

    def _succeeded(self, queued: QueuedMessage) -> None:
        now = time.monotonic()
        self._outbox.acknowledge(queued.seq)
        self._schedule.succeeded(queued.seq, queued.message.topic, len(queued.message.payload), now)
        self._repeated.discard(queued.seq)
        self._flush_due = min(self._flush_due, now + self._options.flush_after)

    def _rejected(self, queued: QueuedMessage, error: PublishRejected) -> None:
        """No reason to doubt the connection, and nobody waits for this message."""
        self._schedule.gone(queued.seq)
        if queued.seq in self._repeated:  # it was accepted once; what forbids it now is of a later day
            self._repeated.discard(queued.seq)
            self._outbox.acknowledge(queued.seq)
            return
        self._outbox.reject(queued.seq)
        logger.error("message %s is set aside: %s", queued.message.id, error)
        self._report(error, queued.message)

    def _failed(self, queued: QueuedMessage, error: PublishError) -> None:
        seq, message = queued.seq, queued.message
        self._outbox.release(seq)
        if self._schedule.failed(seq, message.topic, time.monotonic()):
            # Kept from now on: until the replay, any number of messages may go through the window.
            self._kept += self._outbox.replay()
        self._complain("message %s will be tried again: %s", message.id, error)
        below = self._schedule.split_below(seq, len(message.payload), time.monotonic())
        parts = () if below is None or seq in self._repeated else self._split(message, below)
        if parts:
            self._schedule.gone(seq)
            self._outbox.replace(seq, parts)
            self._divided += 1
            logger.warning(
                "message %s of %d bytes is refused while smaller ones pass: it is sent in %d parts",
                message.id,
                len(message.payload),
                len(parts),
            )

    def _send(self) -> None:
        now = time.monotonic()
        if self._schedule.begin_replay(now):
            # What was accepted while the spell was noticed may be lost as well.
            self._replays.extend(sorted(self._kept + self._outbox.replay()))
            self._kept.clear()
        for _ in range(self._schedule.free(len(self._in_flight), now)):
            message = self._waiting or self._next_probe() or self._next_in_turn(now) or self._next_replay()
            if message is None:
                return
            size = len(message.message.payload)
            if self._in_flight and sum(self._in_flight.values()) + size > self._options.in_flight_bytes:
                self._waiting = message
                return
            with self._changed:
                self._waiting = None
                self._in_flight[message.seq] = size
            self._jobs.put(message)

    def _next_probe(self) -> QueuedMessage | None:
        """The smallest message, while the transport is in doubt."""
        message = self._outbox.take_smallest() if self._schedule.in_doubt else None
        if message is not None:
            self._schedule.taken(message.seq)
        return message

    def _next_replay(self) -> QueuedMessage | None:
        while self._replays:
            message = self._outbox.retake(self._replays.popleft())
            if message is not None:
                self._repeated.add(message.seq)
                return message
        return None

    def _next_in_turn(self, now: float) -> QueuedMessage | None:
        self._fresh_first = not self._fresh_first
        if self._fresh_first:
            return self._next_fresh() or self._next_rested(now)
        return self._next_rested(now) or self._next_fresh()

    def _next_fresh(self) -> QueuedMessage | None:
        taken = self._outbox.take(1)
        return taken[0] if taken else None

    def _next_rested(self, now: float) -> QueuedMessage | None:
        while (seq := self._schedule.due(now)) is not None:
            message = self._outbox.retake(seq)
            if message is not None:
                return message
            self._schedule.gone(seq)
            self._repeated.discard(seq)
        return None

    def _notice_stuck(self) -> None:
        now = time.monotonic()
        for seq in self._schedule.newly_stuck(now):
            queued = self._outbox.peek(seq)
            if queued is None:
                self._schedule.gone(seq)
                continue
            error = DeliveryStuck(
                f"message {queued.message.id} of {len(queued.message.payload)} bytes on {queued.message.topic} is "
                f"refused for {self._options.stuck_after:.0f} s now; last: {self._last_error}"
            )
            logger.error("%s", error)
            self._report(error, queued.message)
        with self._changed:
            self._refused_for = round(self._schedule.refused_for(now), 1)

    def _restore_when_due(self) -> None:
        """What was set aside may be allowed by now."""
        now = time.monotonic()
        if now >= self._restore_due:
            self._restore_due = now + _RESTORE_PAUSE
            self._outbox.restore()

    def _flush_when_due(self) -> None:
        if time.monotonic() >= self._flush_due or self._outbox.unwritten >= self._options.flush_count:
            self._flush()

    def _flush(self) -> None:
        try:
            self._outbox.flush()
        except OutboxFull as error:
            self._complain("acknowledgements could not be written, messages may be sent again: %s", error)
        self._flush_due = time.monotonic() + _HOUSEKEEPING

    def _complain(self, text: str, *arguments: object) -> None:
        """Log, but let no outage fill the log."""
        now = time.monotonic()
        if now >= self._complain_at:
            self._complain_at = now + _COMPLAINT_PAUSE
            logger.warning(text, *arguments)
        else:
            logger.debug(text, *arguments)
