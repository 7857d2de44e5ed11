"""What keeps a device from asking too often: over any order of successes, failures, clocks and restarts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam3edge.core.errors import EndpointError
from sam3edge.core.fallback.breaker import Breaker, BreakerOptions, Retry
from sam3edge.core.fallback.budget import DAY, HOUR, Budget, Limits, Spent


class Clock:
    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def breaker(clock: Clock) -> Breaker:
    return Breaker(BreakerOptions(failures=3, pause=30.0, longest_pause=100.0, probes=2), clock)


def test_it_opens_after_failures_in_a_row_probes_and_closes() -> None:
    clock = Clock(1000.0)
    one = breaker(clock)
    steps: list[tuple[str, float, str, bool]] = [
        # what happens, seconds later, state then, whether a request may go out
        ("failed", 0, "closed", True),
        ("failed", 0, "closed", True),
        ("succeeded", 0, "closed", True),
        ("failed", 0, "closed", True),
        ("failed", 0, "closed", True),
        ("failed", 0, "open", False),
        ("", 29.9, "open", False),
        ("", 0.1, "half-open", True),
        ("failed", 0, "open", False),  # the probe failed: twice as long
        ("", 59, "open", False),
        ("", 1, "half-open", True),
        ("failed", 99, "open", False),  # no longer than the longest
        ("", 1, "half-open", True),
        ("succeeded", 0, "half-open", True),
        ("failed", 0, "open", False),
        ("", 100, "half-open", True),
        ("succeeded", 0, "half-open", True),
        ("succeeded", 0, "closed", True),
        ("failed", 0, "closed", True),
        ("failed", 0, "closed", True),
        ("failed", 29, "open", False),  # the pause is the first one again
        ("", 1, "half-open", True),
    ]
    for number, (what, later, state, may) in enumerate(steps):
        if what:
            getattr(one, what)()
        clock.now += later
        assert (one.state, not one.refusal()) == (state, may), number


@pytest.mark.parametrize(("asked", "waits"), [(5.0, 5.0), (5000.0, 100.0), (None, 0.0)])
def test_an_endpoint_that_asks_to_be_left_alone_is_but_not_for_ever(asked: float | None, waits: float) -> None:
    clock = Clock()
    one = breaker(clock)
    one.failed(asked)
    assert one.state == "closed"
    clock.now = max(0.0, waits - 0.1)
    assert bool(one.refusal()) == (waits > 0)
    clock.now = waits
    assert not one.refusal()


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 200)), max_size=200))
def test_an_endpoint_that_fails_is_asked_less_and_less_and_always_again(events: list[tuple[bool, float]]) -> None:
    clock = Clock()
    one = breaker(clock)
    failures = 0
    for works, later in events:
        if not one.refusal():
            (one.succeeded if works else one.failed)()
            failures = 0 if works else failures + 1
            assert not (failures >= 3 and not one.refusal())
        clock.now += later
    clock.now += 100.0
    assert not one.refusal()


ERRORS = {
    "passes": EndpointError("busy", retryable=True),
    "final": EndpointError("no such phrase"),
    "soon": EndpointError("busy", retryable=True, retry_after=0.8),
    "later": EndpointError("busy", retryable=True, retry_after=30),
}


@pytest.mark.parametrize(
    ("error", "left", "expected"),
    [
        ("passes", 10.0, (0.2, 1.0)),
        ("passes", 1.5, None),  # too little is left for the second
        ("final", 10.0, None),
        ("soon", 10.0, (0.8, 1.0)),
        ("later", 60.0, None),
    ],
)
def test_what_is_retried_and_when(error: str, left: float, expected: tuple[float, float] | None) -> None:
    drawn: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        drawn.append((low, high))
        return high

    pause = Retry(shortest=0.2, longest=1.0, least=1.0).pause(ERRORS[error], left, uniform)
    assert pause == (None if expected is None else expected[1])
    assert expected is None or drawn == [expected]


START = 20_000 * DAY


def budget(clock: Clock, kept: list[Spent], limits: Limits = Limits(3, 5)) -> Budget:  # noqa: B008
    return Budget(limits, kept[-1], kept.append, clock)


def test_hours_and_days_are_counted_and_end() -> None:
    clock, kept = Clock(START), [Spent()]
    one = budget(clock, kept)
    for later, refused in [(0, ""), (1, ""), (1, ""), (1, "hour"), (HOUR, ""), (1, ""), (1, "day"), (DAY, ""), (1, "")]:
        clock.now += later
        assert (refused in one.refusal()) if refused else not one.refusal()
        if not refused:
            one.take()
    assert one.spent == Spent(int(clock.now) // HOUR, 2, 20_001, 2)


def test_a_restart_forgets_nothing() -> None:
    clock, kept = Clock(START), [Spent()]
    for _ in range(3):
        one = budget(clock, kept)
        assert not one.refusal()
        one.take()
    assert "3 requests an hour" in budget(clock, kept).refusal()


def test_a_clock_that_was_wrong_gives_nothing_back_and_does_not_lock_for_ever() -> None:
    clock, kept = Clock(START + 900 * DAY), [Spent()]
    for _ in range(3):
        budget(clock, kept).take()
    clock.now = START
    assert budget(clock, kept).refusal()
    clock.now = START + 1
    budget(clock, kept).take()  # taken anyway
    clock.now = START + HOUR
    assert not budget(clock, kept).refusal()


def test_a_budget_of_nothing_asks_nothing() -> None:
    assert budget(Clock(START), [Spent()], Limits(0, 10)).refusal()
    assert budget(Clock(START), [Spent()], Limits(10, 0)).refusal()


def test_what_cannot_be_written_down_is_not_spent() -> None:
    def fail(spent: Spent) -> None:
        raise EndpointError("the disk is full")

    one = Budget(Limits(3, 5), Spent(), fail, Clock(START))
    with pytest.raises(EndpointError):
        one.take()
    assert one.spent.in_hour == 0


@given(st.lists(st.tuples(st.floats(0, 2 * HOUR), st.booleans()), max_size=100))
def test_no_clock_hour_and_no_day_ever_exceeds_its_limit(events: list[tuple[float, bool]]) -> None:
    clock, kept = Clock(START), [Spent()]
    one = budget(clock, kept)
    hours: dict[int, int] = {}
    days: dict[int, int] = {}
    for later, restart in events:
        clock.now += later
        one = budget(clock, kept) if restart else one
        if not one.refusal():
            one.take()
            for counted, length in ((hours, HOUR), (days, DAY)):
                counted[int(clock.now) // length] = counted.get(int(clock.now) // length, 0) + 1
    assert max(hours.values(), default=0) <= 3
    assert max(days.values(), default=0) <= 5


def test_what_was_spent_in_a_future_that_was_none_is_free_in_an_hour() -> None:
    now = [2_000_000_000.0]
    budget = Budget(Limits(1, 100), Spent(), lambda spent: None, lambda: now[0], "examples")
    budget.take()
    assert "1 examples an hour" in budget.refusal()
    now[0] -= 10 * 365 * 86_400
    assert budget.refusal()
    now[0] += 3600
    assert not budget.refusal()


def test_an_amount_counts_as_much() -> None:
    budget = Budget(Limits(1 << 60, 100), Spent(), lambda spent: None, lambda: 0.0, "bytes")
    budget.take(60)
    assert not budget.refusal(40)
    assert budget.refusal(41) == "the budget of 100 bytes a day is spent"
