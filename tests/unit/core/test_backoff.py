from __future__ import annotations

from sam3edge.core.backoff import Backoff


def test_waits_double_up_to_the_longest_and_begin_again() -> None:
    backoff = Backoff(0.5, 3.0, uniform=lambda low, high: high)
    assert [backoff.next() for _ in range(5)] == [0.5, 1.0, 2.0, 3.0, 3.0]
    backoff.reset()
    assert backoff.next() == 0.5


def test_waits_are_spread_over_their_upper_half() -> None:
    for _ in range(100):
        assert 0.5 <= Backoff(1.0, 8.0).next() <= 1.0
