from __future__ import annotations

import time

import pytest

from sam3edge.sources.folder.listing import Listing, Stamp
from sam3edge.sources.folder.queue import Arrival, Arrivals

OLD, NEW = Stamp(1, 10), Stamp(2, 10)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def arrivals(clock: Clock) -> Arrivals:
    return Arrivals(1.0, clock)


def test_a_closed_file_is_due_at_once_and_unsettled(arrivals: Arrivals) -> None:
    arrivals.closed("a")
    arrivals.closed("a")
    assert arrivals.pop() == Arrival("a", None, settled=False)
    assert arrivals.pop() is None


def test_a_seen_file_is_due_when_it_has_settled(arrivals: Arrivals, clock: Clock) -> None:
    arrivals.seen("a", OLD)
    assert arrivals.pop() is None
    assert arrivals.seconds_until_next() == 1.0
    clock.now += 0.6
    arrivals.seen("a", OLD)
    arrivals.seen("b", OLD)
    clock.now += 0.4
    assert arrivals.pop() == Arrival("a", OLD, settled=True)
    assert arrivals.pop() is None


def test_a_file_that_grows_settles_anew(arrivals: Arrivals, clock: Clock) -> None:
    arrivals.seen("a", OLD)
    clock.now += 0.9
    arrivals.seen("a", NEW)
    clock.now += 0.9
    assert arrivals.pop() is None
    clock.now += 0.1
    assert arrivals.pop() == Arrival("a", NEW, settled=True)
    assert arrivals.pop() is None


def test_closing_ends_the_wait_of_a_file_that_was_seen_and_seeing_does_not_prolong_it(arrivals: Arrivals) -> None:
    arrivals.seen("a", OLD)
    arrivals.closed("a")
    arrivals.seen("a", NEW)
    assert arrivals.pop() == Arrival("a", None, settled=False)
    assert arrivals.pop() is None


def test_what_failed_comes_later_or_when_it_is_written_again(arrivals: Arrivals, clock: Clock) -> None:
    arrivals.later("a", 30.0)
    arrivals.later("b", 30.0)
    arrivals.closed("b")
    assert arrivals.pop() == Arrival("b", None, settled=False)
    assert arrivals.pop() is None
    clock.now += 30
    assert arrivals.pop() == Arrival("a", None, settled=False)


def test_what_has_gone_does_not_come(arrivals: Arrivals) -> None:
    arrivals.closed("a")
    arrivals.gone("a")
    arrivals.gone("b")
    assert arrivals.pop() is None


def test_the_backlog_goes_first_and_young_files_settle(arrivals: Arrivals, clock: Clock) -> None:
    just_now = Stamp(time.time_ns() + 10**9, 1)
    arrivals.closed("new")
    arrivals.backlog(Listing({"b": OLD, "c": just_now, "a": OLD, "d": NEW}, True, (0, 0)))
    assert arrivals.seconds_until_next() == 0.0
    order = []
    while (arrival := arrivals.pop()) is not None:
        order.append(arrival.relative)
    assert order == ["a", "b", "d", "new"]
    clock.now += 1.0
    assert arrivals.pop() == Arrival("c", just_now, settled=True)
    assert arrivals.seconds_until_next() == float("inf")


def test_what_waits_is_counted_once_a_file(arrivals: Arrivals) -> None:
    arrivals.backlog(Listing({"old": OLD}, True, (0, 0)))
    arrivals.closed("a")
    arrivals.closed("a")
    arrivals.seen("b", NEW)
    assert arrivals.waiting == 3
    arrivals.pop()
    arrivals.gone("b")
    assert arrivals.waiting == 1
