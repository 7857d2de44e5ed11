from __future__ import annotations

import itertools
import math
import random

import pytest

from sam3edge.outbox.retry import DeliveryOptions, Schedule

OPTIONS = DeliveryOptions(in_flight=3, first_pause=1.0, longest_pause=8.0, replay_pause=10.0)


class Longest(random.Random):
    """The jitter that waits as long as it may."""

    def uniform(self, a: float, b: float) -> float:
        return b


@pytest.fixture
def schedule() -> Schedule:
    schedule = Schedule(OPTIONS, Longest())
    assert schedule.begin_replay(0.0)
    return schedule


def test_pauses_grow_to_a_bound(schedule: Schedule) -> None:
    now, pauses = 0.0, []
    for _ in range(6):
        schedule.failed(7, "t", now)
        schedule.succeeded(8, "other", 100, now)  # keeps the transport out of doubt
        pauses.append(schedule.next_change(0, now))
        now += pauses[-1]
        assert schedule.due(now - 0.01) is None
        assert schedule.due(now) == 7
    assert pauses == [1, 2, 4, 8, 8, 8]


def test_the_jitter_is_full() -> None:
    schedule = Schedule(OPTIONS, random.Random(3))
    schedule.begin_replay(0.0)
    pauses = []
    for seq in range(200):
        schedule.failed(seq, "t", 0.0)
        schedule.succeeded(1000, "other", 100, 0.0)
        pauses.append(schedule.next_change(0, 0.0))
        while schedule.due(1.0) is not None:
            pass
    assert min(pauses) < 0.05
    assert max(pauses) > 0.95


def test_a_success_forgets_the_failures_of_the_message(schedule: Schedule) -> None:
    for _ in range(3):
        schedule.failed(7, "t", 0.0)
        schedule.due(math.inf)
    schedule.succeeded(7, "t", 100, 0.0)
    schedule.failed(7, "t", 0.0)
    assert schedule.next_change(0, 0.0) == 1.0


def test_as_many_as_allowed_may_fly(schedule: Schedule) -> None:
    assert schedule.free(0, 0.0) == 3
    assert schedule.free(2, 0.0) == 1
    assert schedule.free(3, 0.0) == 0


def test_a_transport_in_doubt_gets_one_message_at_a_time_after_growing_pauses(schedule: Schedule) -> None:
    schedule.failed(1, "t", 0.0)
    schedule.failed(2, "t", 0.0)
    assert schedule.free(0, 0.0) == 1
    schedule.failed(3, "t", 0.0)
    assert schedule.free(0, 0.0) == 0
    assert schedule.next_change(0, 0.0) == 1.0
    assert schedule.free(0, 1.0) == 1
    assert schedule.free(1, 1.0) == 0
    schedule.failed(4, "t", 1.0)
    assert schedule.free(0, 2.9) == 0
    assert schedule.free(0, 3.0) == 1
    schedule.succeeded(5, "t", 100, 3.0)
    assert schedule.free(0, 3.0) == 2


def test_what_rests_is_due_at_once_when_the_transport_is_back_oldest_first(schedule: Schedule) -> None:
    for seq in (3, 1, 2):
        schedule.failed(seq, "t", 0.0)
    schedule.succeeded(9, "t", 100, 0.5)
    assert [schedule.due(0.5) for _ in range(4)] == [1, 2, 3, None]


def test_nothing_changes_by_itself_while_all_places_are_taken(schedule: Schedule) -> None:
    schedule.failed(1, "t", 0.0)
    assert schedule.next_change(0, 0.0) == 1.0
    assert schedule.next_change(3, 5.0) == math.inf


def test_what_may_fly_is_halved_by_failures_and_grows_back_by_and_by() -> None:
    schedule = Schedule(DeliveryOptions(in_flight=8), Longest())
    may = []
    for seq in range(3):
        schedule.failed(seq, "t", 0.0)
        may.append(schedule.free(0, 0.0))
    assert may == [4, 2, 1]
    grown = []
    for _ in range(40):
        schedule.succeeded(9, "t", 100, 1.0)
        grown.append(schedule.free(0, 1.0))
    assert grown == sorted(grown)
    assert grown[0] == 2
    assert grown[5] < 8  # additive: not at once
    assert grown[-1] == 8


def test_a_message_is_split_when_it_fails_again_and_again_while_smaller_ones_pass() -> None:
    schedule = Schedule(DeliveryOptions(split_after=3), Longest())
    for size in (4000, 500):
        schedule.failed(1, "t", 0.0)
        assert schedule.split_below(1, 6500, 0.0) is None
        schedule.succeeded(2, "t", size, 0.0)
    schedule.failed(1, "t", 0.0)
    assert schedule.split_below(1, 6500, 0.0) == 4000
    assert schedule.split_below(1, 4000, 0.0) is None  # as large as what passes: it is not its size
    schedule.failed(3, "t", 1.0)
    assert schedule.split_below(3, 7000, 1.0) == 4000  # what is as large has to learn nothing
    schedule.succeeded(4, "t", 5000, 1.0)
    schedule.failed(5, "t", 2.0)
    assert schedule.split_below(5, 7000, 2.0) == 5000
    assert schedule.split_below(5, 7000, 62.0) is None  # nothing passes any more: that is an outage


def test_an_outage_splits_nothing() -> None:
    schedule = Schedule(DeliveryOptions(split_after=3), Longest())
    schedule.succeeded(2, "t", 4000, 0.0)
    for _ in range(30):
        schedule.failed(1, "t", 1.0)
    assert schedule.split_below(1, 6500, 1.0) is None


def test_who_is_refused_for_long_is_named_once() -> None:
    schedule = Schedule(DeliveryOptions(stuck_after=300), Longest())
    schedule.failed(1, "t", 10.0)
    schedule.failed(2, "t", 200.0)
    assert schedule.refused_for(110.0) == 100.0
    assert schedule.newly_stuck(309.0) == []
    assert schedule.newly_stuck(310.0) == [1]
    assert schedule.newly_stuck(311.0) == []
    schedule.succeeded(1, "t", 100, 320.0)
    assert schedule.refused_for(330.0) == 130.0
    schedule.gone(2)
    assert schedule.refused_for(330.0) == 0.0


class TestReplay:
    def test_with_pauses_that_grow_while_incidents_follow_each_other(self) -> None:
        options = DeliveryOptions(replay_pause=30, longest_replay_pause=600)
        schedule, now, begun = Schedule(options, Longest()), 0.0, []
        while now < 4000:
            schedule.failed(1, "t", now)
            schedule.succeeded(1, "t", 100, now)
            if schedule.begin_replay(now):
                begun.append(now)
            now += 1
        pauses = [b - a for a, b in itertools.pairwise(begun)]
        assert pauses[:5] == [30, 60, 120, 240, 480]
        assert set(pauses[5:]) == {600}
        now += 2000  # a quiet time
        schedule.failed(1, "t", now)
        schedule.succeeded(1, "t", 100, now)
        assert schedule.begin_replay(now)
        schedule.failed(1, "t", now + 1)
        schedule.succeeded(1, "t", 100, now + 30)
        assert schedule.begin_replay(now + 30)

    def test_at_the_start(self) -> None:
        schedule = Schedule(OPTIONS, Longest())
        assert schedule.begin_replay(100.0)
        assert not schedule.begin_replay(200.0)

    def test_when_a_spell_has_ended(self, schedule: Schedule) -> None:
        schedule.failed(1, "t", 20.0)
        assert not schedule.begin_replay(21.0)
        schedule.succeeded(1, "t", 100, 22.0)
        assert schedule.begin_replay(22.0)
        assert not schedule.begin_replay(40.0)

    def test_not_more_often_than_the_pause_but_then(self, schedule: Schedule) -> None:
        schedule.failed(1, "t", 4.0)
        assert schedule.due(5.0) == 1
        schedule.succeeded(1, "t", 100, 5.0)
        assert not schedule.begin_replay(5.0)
        assert schedule.next_change(0, 5.0) == 5.0
        assert schedule.begin_replay(10.0)

    def test_success_elsewhere_does_not_end_a_spell(self, schedule: Schedule) -> None:
        schedule.failed(1, "denied", 20.0)
        schedule.succeeded(2, "t", 100, 21.0)
        assert not schedule.begin_replay(21.0)

    def test_one_replay_covers_every_topic_that_failed_before_it(self, schedule: Schedule) -> None:
        schedule.failed(1, "a", 20.0)
        schedule.failed(2, "b", 20.0)
        schedule.succeeded(1, "a", 100, 21.0)
        assert schedule.begin_replay(21.0)
        schedule.succeeded(2, "b", 100, 22.0)
        assert not schedule.begin_replay(50.0)

    def test_a_message_that_fails_alone_begins_no_spell(self, schedule: Schedule) -> None:
        schedule.failed(1, "t", 20.0)
        schedule.succeeded(2, "t", 100, 21.0)
        assert schedule.begin_replay(21.0)
        schedule.failed(1, "t", 40.0)
        schedule.succeeded(3, "t", 100, 41.0)
        assert not schedule.begin_replay(60.0)


def test_a_spell_begins_once_for_a_topic(schedule: Schedule) -> None:
    assert schedule.failed(1, "a", 1.0)
    assert not schedule.failed(1, "a", 2.0)
    assert not schedule.failed(2, "a", 3.0)
    assert schedule.failed(3, "b", 4.0)
    schedule.succeeded(1, "a", 100, 5.0)
    assert schedule.failed(4, "a", 6.0)
    schedule.succeeded(5, "a", 100, 7.0)
    assert not schedule.failed(4, "a", 8.0)  # others got through since it failed: its own fault


def test_senseless_options_are_refused() -> None:
    for wrong in ({"in_flight": 0}, {"first_pause": 0.0}, {"first_pause": 9.0, "longest_pause": 1.0}):
        with pytest.raises(ValueError, match=r"expected"):
            DeliveryOptions(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"expected"):
        DeliveryOptions(replay_pause=-1)
