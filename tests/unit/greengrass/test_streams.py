from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from sam3edge.core.errors import ConnectionLost, PublishError, SettingsError
from sam3edge.greengrass.callback_thread import EventThread
from sam3edge.greengrass.streams import KeptStream, StreamCallbacks, StreamOptions


class Opener:
    """Opens streams as scripted, and remembers their callbacks."""

    def __init__(self, *script: Exception | None) -> None:
        self.script = list(script)
        self.attempts = 0
        self.opened: list[StreamCallbacks] = []
        self.open = 0
        self._changed = threading.Condition()

    def __call__(self, callbacks: StreamCallbacks) -> Opener:
        with self._changed:
            self.attempts += 1
            error = self.script.pop(0) if self.script else None
            if error is None:
                self.opened.append(callbacks)
                self.open += 1
            self._changed.notify_all()
        if error is not None:
            callbacks.on_closed()  # as the SDK does
            raise error
        return self

    def close(self) -> None:
        self.open -= 1

    def wait(self, opened: int) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: len(self.opened) == opened, 30)


@pytest.fixture
def events() -> Iterator[EventThread]:
    events = EventThread("events")
    yield events
    events.close(5)


def keep(events: EventThread, opener: Opener, heard: list[Any] | None = None) -> KeptStream:
    handle = [].append if heard is None else heard.append
    options = StreamOptions(first_pause=0.01, longest_pause=0.05)
    return KeptStream("commands", events, opener, handle, on_open=lambda: None, options=options)


def settled(events: EventThread) -> None:
    done = threading.Event()
    events.submit(done.set)
    assert done.wait(30)


def test_a_stream_that_ended_is_opened_again(events: EventThread) -> None:
    opener = Opener()
    keep(events, opener)
    opener.opened[0].on_closed()
    assert opener.wait(2)


def test_failures_are_tried_again_with_pauses(events: EventThread) -> None:
    opener = Opener(PublishError("offline"), PublishError("offline"), PublishError("offline"))
    begin = time.monotonic()
    keep(events, opener)
    assert opener.wait(1)
    assert opener.attempts == 4
    assert time.monotonic() - begin >= 0.035  # half of 0.01, 0.02 and 0.04


def test_a_denial_is_told_at_first(events: EventThread) -> None:
    with pytest.raises(SettingsError):
        keep(events, Opener(SettingsError("denied")))


def test_a_long_outage_is_one_attempt_after_the_other(events: EventThread) -> None:
    opener = Opener(*[PublishError("offline")] * 12)
    stream = keep(events, opener)
    stream.renew()
    assert opener.wait(1)
    time.sleep(0.2)
    assert opener.attempts == 13
    assert opener.open == 1


def test_a_denial_after_the_first_opening_is_tried_again(events: EventThread) -> None:
    opener = Opener(None, SettingsError("denied"), None)
    keep(events, opener)
    opener.opened[0].on_closed()
    assert opener.wait(2)


def test_a_lost_connection_is_told_at_first_and_ends_it_later(events: EventThread) -> None:
    with pytest.raises(ConnectionLost):
        keep(events, Opener(ConnectionLost("gone")))
    opener = Opener(None, ConnectionLost("gone"))
    keep(events, opener).renew()
    settled(events)
    time.sleep(0.1)
    assert opener.attempts == 2


def test_what_an_old_stream_says_is_not_listened_to(events: EventThread) -> None:
    opener, heard = Opener(), list[Any]()
    keep(events, opener, heard).renew()
    assert opener.wait(2)
    settled(events)
    opener.opened[0].on_event("late")
    opener.opened[0].on_closed()
    opener.opened[1].on_event("now")
    settled(events)
    time.sleep(0.05)
    assert heard == ["now"]
    assert opener.attempts == 2


def test_a_stream_with_an_error_is_closed(events: EventThread) -> None:
    opener = Opener()
    keep(events, opener)
    assert opener.opened[0].on_error(ValueError("an event that cannot be read")) is True


def test_closing_is_final(events: EventThread) -> None:
    opener, heard = Opener(), list[Any]()
    stream = keep(events, opener, heard)
    stream.close()
    stream.close()
    opener.opened[0].on_event("late")
    opener.opened[0].on_closed()
    stream.renew()
    settled(events)
    time.sleep(0.05)
    assert (opener.open, opener.attempts, heard) == (0, 1, [])


class TestEventThread:
    def test_runs_in_order_and_delayed_jobs_later(self, events: EventThread) -> None:
        ran: list[str] = []
        done = threading.Event()
        events.submit(lambda: ran.append("late"), 0.05)
        events.submit(done.set, 0.06)
        events.submit(lambda: ran.append("first"))
        events.submit(lambda: ran.append("second"))
        assert done.wait(30)
        assert ran == ["first", "second", "late"]

    def test_may_close_itself(self) -> None:
        events = EventThread("events")
        done = threading.Event()

        def job() -> None:
            events.close(5)
            done.set()

        events.submit(job)
        assert done.wait(30)
        events.close(5)


def test_senseless_pauses_are_refused() -> None:
    with pytest.raises(ValueError, match="expected"):
        StreamOptions(first_pause=2.0, longest_pause=1.0)
