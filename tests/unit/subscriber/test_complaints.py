"""How much is said about what others send."""

from __future__ import annotations

import logging

import pytest

from sam3edge.subscriber.complaints import LINES, SECONDS, Complaints
from sam3edge.subscriber.reassembly import Bounds, Reassembly
from support.device_messages import PARTS, of_frame


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_some_a_minute_are_said_and_then_how_many_more_there_were(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    some = Complaints(logging.getLogger("x"), logging.ERROR, clock)
    for number in range(LINES + 5):
        some.say("number %d", number)
    some.report()
    assert caplog.messages == [f"number {number}" for number in range(LINES)]
    clock.now = SECONDS
    some.report()
    some.report()
    some.say("later")
    assert caplog.messages[LINES:] == ["and 5 more like these within 60 seconds", "later"]
    clock.now *= 2
    some.report()
    assert len(caplog.messages) == LINES + 2
    assert {record.levelname for record in caplog.records} == {"ERROR"}


def test_frames_that_are_dropped_or_late_are_said_some_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock()
    reassembly = Reassembly(Bounds(waiting=100), clock=clock)
    for number in range(500):
        reassembly.take(of_frame(PARTS[0], str(number)))
    assert len(caplog.messages) == LINES
    clock.now = 2 * SECONDS
    reassembly.report_overdue()
    assert len(caplog.messages) == LINES + 1 + LINES
    assert reassembly.incomplete == 500
