"""Thresholds that maximise F1, and the expected calibration error."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam3edge_pipeline.evaluation.calibration import calibrate, calibration_error
from sam3edge_pipeline.evaluation.comparison import Overlap
from sam3edge_pipeline.evaluation.counting import count
from support.labeled import result

A, B, C = (0.0, 0.0, 20.0, 20.0), (30.0, 0.0, 50.0, 20.0), (60.0, 0.0, 80.0, 20.0)


def test_a_threshold_lies_between_the_scores_that_it_should_part() -> None:
    # publishing 0.9 gives F1 2/3, with 0.4 it is 1, with 0.3, too, 4/5
    found = calibrate([result("a", [A, B], {A: 0.9, B: 0.4, C: 0.3}).overlap], default=0.5, floor=0.05)
    assert found is not None
    assert (found.threshold, found.f1, found.images, found.objects) == (0.35, 1.0, 1, 2)


def test_what_is_found_where_nothing_is_raises_the_threshold() -> None:
    present, absent = result("a", [A], {A: 0.9}).overlap, result("b", [], {A: 0.7}).overlap
    found = calibrate([present, absent], default=0.5, floor=0.05)
    assert found is not None
    assert (found.threshold, found.f1, found.images) == (0.8, 1.0, 2)


def test_the_default_stays_where_nothing_is_better() -> None:
    found = calibrate([result("a", [A], {A: 0.9, B: 0.1}).overlap], default=0.5, floor=0.05)
    assert found is not None
    assert found.threshold == 0.5


def test_equal_scores_cannot_be_parted() -> None:
    # all or nothing: 2 * 1 / (1 + 2)
    found = calibrate([result("a", [A], [(A, 0.4), (B, 0.4)]).overlap], default=0.5, floor=0.05)
    assert found is not None
    assert found.f1 == pytest.approx(2 / 3)
    assert 0.05 <= found.threshold < 0.4


def test_scores_that_were_not_asked_for_are_not_promised() -> None:
    found = calibrate([result("a", [A], {A: 0.2}).overlap], default=0.5, floor=0.1)
    assert found is not None
    assert 0.1 <= found.threshold < 0.2


def test_neighbouring_scores_are_parted_exactly() -> None:
    low = 0.3
    high = float(np.nextafter(low, 1))
    found = calibrate([result("a", [A], {A: high, B: low}).overlap], default=0.5, floor=0.05)
    assert found is not None
    assert low <= found.threshold < high


def test_without_an_object_no_threshold_is_better_than_another() -> None:
    assert calibrate([result("a", [], {A: 0.9}).overlap], 0.5, 0.05) is None


def test_the_calibration_error_by_hand() -> None:
    # (0.9, 1]: mean score 0.95, half are right, gap 0.45, two of three; (0.3, 0.4]: 0.35, none is right, one of three
    error = calibration_error([result("a", [A], {A: 0.95, B: 0.35}).overlap, result("b", [], {C: 0.95}).overlap])
    assert error.ece == pytest.approx((2 * 0.45 + 0.35) / 3)
    assert error.detections == 3
    assert [one.detections for one in error.bins] == [0, 0, 0, 1, 0, 0, 0, 0, 0, 2]
    assert error.bins[9].correct == 0.5


def test_bins_hold_their_upper_end_and_zero_is_in_the_first() -> None:
    error = calibration_error([result("a", [], [(A, 0.0), (A, 0.5), (B, 1.0)]).overlap])
    assert [one.detections for one in error.bins] == [1, 0, 0, 0, 1, 0, 0, 0, 0, 1]


def test_without_detections_there_is_no_error() -> None:
    assert calibration_error([result("a", [A]).overlap]).ece is None


@st.composite
def overlaps(draw: st.DrawFn) -> Overlap:
    scores = sorted((draw(st.lists(st.integers(6, 99), max_size=6))), reverse=True)
    objects, ignored = draw(st.integers(0, 3)), draw(st.integers(0, 1))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    size = len(scores)
    return Overlap(np.array(scores) / 100, rng.uniform(0, 1, (size, objects)), rng.uniform(0, 1, (size, ignored)))


@given(st.lists(overlaps(), min_size=1, max_size=6))
def test_no_other_threshold_is_better_and_the_promised_f1_is_what_is_counted(some: list[Overlap]) -> None:
    found = calibrate(some, default=0.5, floor=0.05)
    if found is None:
        assert sum(one.objects for one in some) == 0
        return
    assert count(some, found.threshold, 0.5).f1 == pytest.approx(found.f1)
    assert max(count(some, at / 100, 0.5).f1 or 0.0 for at in range(5, 101)) <= found.f1 + 1e-12


@given(st.lists(overlaps(), max_size=6))
def test_the_calibration_error_is_a_share(some: list[Overlap]) -> None:
    error = calibration_error(some)
    assert error.ece is None or 0 <= error.ece <= 1
    assert sum(one.detections for one in error.bins) == error.detections
