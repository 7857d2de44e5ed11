"""F1 and false alarms, counted as a person would who looks at what is published."""

from __future__ import annotations

import pytest

from sam3edge_pipeline.evaluation.comparison import PhraseResult, compare
from sam3edge_pipeline.evaluation.counting import Counts, FalseAlarms, count, false_alarms
from support.labeled import detected, example, labeled, result

A, B, C = (0.0, 0.0, 20.0, 20.0), (30.0, 0.0, 50.0, 20.0), (60.0, 0.0, 80.0, 20.0)
A_MOST = (0.0, 0.0, 20.0, 12.0)
"""IoU 0.6 with A."""


def counted(*results: PhraseResult, threshold: float = 0.5, iou: float = 0.5) -> Counts:
    return count([one.overlap for one in results], threshold, iou)


def test_found_missed_and_invented_by_hand() -> None:
    counts = counted(result("a", [A, B], {A: 0.9, C: 0.8}), result("b", [], {C: 0.7}))
    assert counts == Counts(found=1, missed=1, invented=2)
    # 2 * 1 / (2 * 1 + 1 + 2)
    assert (counts.f1, counts.precision, counts.recall) == pytest.approx((2 / 5, 1 / 3, 1 / 2))


def test_an_overlap_of_06_finds_at_050_and_not_at_075() -> None:
    one = result("a", [A], {A_MOST: 0.9})
    assert counted(one, iou=0.5) == Counts(1, 0, 0)
    assert counted(one, iou=0.75) == Counts(0, 1, 1)


def test_a_repeat_is_invented_and_the_better_scored_one_finds() -> None:
    assert counted(result("a", [A], {A_MOST: 0.9, A: 0.6})) == Counts(1, 0, 1)


def test_only_scores_above_the_threshold_are_published_as_on_a_device() -> None:
    one = result("a", [A], {A: 0.5})
    assert counted(one, threshold=0.5) == Counts(0, 1, 0)
    assert counted(one, threshold=0.49) == Counts(1, 0, 0)


def test_detections_in_an_ignored_object_do_not_count_however_many() -> None:
    in_b, also_in_b = (32.0, 2.0, 36.0, 6.0), (40.0, 2.0, 44.0, 6.0)
    assert counted(result("a", [A], {in_b: 0.9, also_in_b: 0.8, A: 0.7}, ignored=[B])) == Counts(1, 0, 0)
    assert counted(result("a", [], {in_b: 0.9, C: 0.8}, ignored=[B])) == Counts(0, 0, 1)


def test_an_object_that_is_found_counts_even_where_it_lies_in_an_ignored_one() -> None:
    assert counted(result("a", [A_MOST], {A_MOST: 0.9}, ignored=[A])) == Counts(1, 0, 0)


def test_false_alarms_are_counted_by_image_and_only_where_nothing_is() -> None:
    results = [
        result("two things invented", [], {A: 0.9, B: 0.8}),
        result("quiet", []),
        result("too low", [], {A: 0.3}),
        result("an object is there", [A], {B: 0.9}),
        result("an ignored object is there", [], {A: 0.9}, ignored=[B]),
    ]
    alarms = false_alarms([one.overlap for one in results], 0.5)
    assert alarms == FalseAlarms(absent=3, alarms=1)
    assert alarms.share == pytest.approx(1 / 3)


def test_what_is_not_defined_is_not_a_number() -> None:
    assert (Counts().f1, Counts().precision, Counts().recall, FalseAlarms().share) == (None, None, None, None)


def test_a_phrase_that_is_not_labeled_for_exhaustively_cannot_be_compared() -> None:
    unknown = example("a", [labeled(A)], exhaustive=("ship",))
    with pytest.raises(ValueError, match="exhaustive"):
        compare(unknown, "car", [detected(A, 0.9)])
