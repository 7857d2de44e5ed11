"""The filter of one track, and what is known of those who come in, against plain statistics."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sam3edge.tracking.motion import ACCELERATION, FIRST_SPEED, MEASURED, Edge, came_in, first_seen, measured


def test_deviations_are_those_of_a_normal_distribution() -> None:
    """Objects that move as the filter supposes, looked at at any intervals: 99 % are within three deviations, and the
    mean square is that of two dimensions."""
    chance, size = np.random.default_rng(1), 10.0
    squares = []
    for _ in range(150):
        state = np.array([0.0, 0.0, *chance.normal(0, FIRST_SPEED * size, 2)])
        center = state[:2] + chance.normal(0, MEASURED * size, 2)
        motion = first_seen(*map(float, center), measured(size), size)
        for _ in range(6):
            t, q = float(chance.uniform(0.2, 2.0)), (ACCELERATION * size) ** 2
            kick = chance.multivariate_normal([0, 0], q * np.array([[t**3 / 3, t * t / 2], [t * t / 2, t]]), 2)
            state = np.concatenate([state[:2] + t * state[2:] + kick[:, 0], state[2:] + kick[:, 1]])
            center = state[:2] + chance.normal(0, MEASURED * size, 2)
            motion = motion.after(t, size)
            [far], _ = motion.compared(center[None], measured(size))
            squares.append(far**2)
            motion = motion.corrected(*map(float, center), measured(size))
    assert np.mean(squares) == pytest.approx(2.0, rel=0.15)
    assert np.mean(np.array(squares) <= 9.21) > 0.97


def test_a_likelihood_is_one_in_all() -> None:
    motion = first_seen(3.0, -2.0, np.array([[4.0, 1.0], [1.0, 2.0]]), 1.0)
    x, y = np.meshgrid(np.linspace(-20, 26, 300), np.linspace(-25, 21, 300))
    far, area = motion.compared(np.stack([x.ravel(), y.ravel()], 1), np.eye(2))
    total = (np.exp(-(far**2) / 2) / area).sum() * (46 / 299) ** 2
    assert total == pytest.approx(1.0, abs=0.01)


def test_where_a_position_is_less_sure_in_one_direction_it_counts_less_there() -> None:
    motion = first_seen(0.0, 0.0, np.diag([100.0, 1.0]), 1.0)
    [along, across], _ = motion.compared(np.array([[8.0, 0.0], [0.0, 8.0]]), np.eye(2))
    assert along < 1 < across
    after = motion.corrected(8.0, 8.0, np.diag([100.0, 1.0]))
    assert (after.x, after.y) == pytest.approx((4.0, 4.0))
    [along, across], _ = after.compared(np.array([[10.0, 4.0], [4.0, 10.0]]), np.eye(2))
    assert along < 1 < across


@settings(max_examples=30)
@given(st.floats(0, 60), st.floats(0.3, 2), st.floats(0, 6.28))
def test_who_came_in_moves_as_the_part_of_a_normal_distribution_that_could(
    away: float, seconds: float, turn: float
) -> None:
    size, inwards = 50.0, (float(np.cos(turn)), float(np.sin(turn)))
    before = first_seen(0.0, 0.0, measured(size), size)
    motion = came_in(before, Edge(away, inwards, seconds), size)
    if away > 0.7 * FIRST_SPEED * size * min(seconds, 1.0):
        assert motion == before
        return
    speeds = np.linspace(away / seconds, 12 * FIRST_SPEED * size, 200_001)
    density = np.exp(-((speeds / (FIRST_SPEED * size)) ** 2) / 2)
    mean = float((speeds * density).sum() / density.sum())
    spread = float((density * (speeds - mean) ** 2).sum() / density.sum())
    assert (motion.vx, motion.vy) == pytest.approx((mean * inwards[0], mean * inwards[1]), rel=0.01, abs=0.1)
    covariance = np.reshape(motion.covariance, (4, 4))[2:, 2:]
    assert inwards @ covariance @ inwards == pytest.approx(spread, rel=0.02)
    aside = np.array([-inwards[1], inwards[0]])
    assert aside @ covariance @ aside == pytest.approx((FIRST_SPEED * size) ** 2)


def test_after_a_long_pause_nobody_knows_who_came_in() -> None:
    before = first_seen(5.0, 5.0, measured(50.0), 50.0)
    for seconds in (0.0, 2.1, 6.0, 1e9):
        assert came_in(before, Edge(5.0, (1.0, 0.0), seconds), 50.0) == before
