"""cgF1 against answers that were worked out by hand from the definition.

The epsilons of the definition show in the sixth digit: with one object that is found and nothing else,
    precision = recall = 1 / (1 + 1e-4) = 0.99990001
    F1 = 2 * 0.99980003 / (1.99980002 + 1e-4) = 1.99960006 / 1.99990002 = 0.99985001
and a perfect IL_MCC of one pair with and one without the object is 1 / (1 + 1e-6) = 0.999999.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam3edge_pipeline.evaluation.cgf1 import CgF1, cgf1_of
from sam3edge_pipeline.evaluation.comparison import Overlap, PhraseResult
from support.labeled import result

WHOLE = (10.0, 10.0, 20.0, 35.0)
OTHER = (50.0, 10.0, 60.0, 35.0)
PART = (10.0, 10.0, 20.0, 28.0)
"""18 of the 25 rows of WHOLE: IoU 0.72."""

F1_OF_ONE, MCC_OF_TWO = 0.99985001, 0.999999


def figure(*results: PhraseResult) -> CgF1:
    return cgf1_of([one.overlap for one in results])


def test_everything_is_found_and_nothing_else() -> None:
    found = figure(result("a", [WHOLE], {WHOLE: 0.9}), result("b"))
    assert found.positive_micro_f1 == pytest.approx(F1_OF_ONE, abs=1e-8)
    assert found.il_mcc == pytest.approx(MCC_OF_TWO, abs=1e-8)
    assert found.cgf1 == pytest.approx(F1_OF_ONE * MCC_OF_TWO, abs=1e-8)
    assert (found.pairs, found.positive) == (2, 1)


def test_everything_is_missed() -> None:
    # TP = 0, FN = 1, TN = 1, FP = 0: IL_MCC = (0 * 1 - 0 * 1) / (0 + 1e-6) = 0; no true positive, so F1 = 0
    found = figure(result("a", [WHOLE, OTHER]), result("b"))
    assert (found.positive_micro_f1, found.il_mcc, found.cgf1) == (0.0, 0.0, 0.0)


def test_a_detection_of_what_is_absent_costs_il_mcc_and_not_the_positive_f1() -> None:
    # TP = 1, FP = 1, TN = 1, FN = 0: (1 * 1 - 1 * 0) / (sqrt(2 * 1 * 2 * 1) + 1e-6) = 1 / 2.000001 = 0.49999975
    # cgF1 = 0.99985001 * 0.5 - 0.99985001 * 0.00000025 = 0.49992500 - 0.00000025 = 0.49992476
    found = figure(result("a", [WHOLE], {WHOLE: 0.9}), result("b", [], {WHOLE: 0.9}), result("c"))
    assert found.il_mcc == pytest.approx(0.49999975, abs=1e-8)
    assert found.positive_micro_f1 == pytest.approx(F1_OF_ONE, abs=1e-8)
    assert found.cgf1 == pytest.approx(0.49992476, abs=1e-8)


def test_a_repeated_detection_costs_precision() -> None:
    # TP = 1, FP = 1, FN = 0: precision = 1 / 2.0001 = 0.49997500, recall = 0.99990001,
    # F1 = 2 * 0.49992501 / (1.49987501 + 1e-4) = 0.99985002 / 1.49997501 = 0.66657779
    found = figure(result("a", [WHOLE], [(WHOLE, 0.9), (WHOLE, 0.8)]), result("b"))
    assert found.positive_micro_f1 == pytest.approx(0.66657779, abs=1e-7)
    assert found.il_mcc == pytest.approx(MCC_OF_TWO, abs=1e-8)


def test_an_overlap_of_072_counts_up_to_070() -> None:
    # right at 0.50, 0.55, 0.60, 0.65, 0.70 and wrong (TP = 0, F1 = 0) at the five others: half of F1_OF_ONE
    found = figure(result("a", [WHOLE], {PART: 0.9}), result("b"))
    assert found.by_iou == pytest.approx((F1_OF_ONE,) * 5 + (0.0,) * 5, abs=1e-8)
    assert found.positive_micro_f1 == pytest.approx(F1_OF_ONE / 2, abs=1e-8)


def test_several_images() -> None:
    # a: 2 objects, both found with IoU 1        tp 2
    # b: 1 object, found with 0.72, 1 invented   tp 1 up to 0.70, then 0; fp 1, then 2; fn 0, then 1
    # c: 1 object, nothing found                 fn 1, no fp
    # d: nothing there, 1 invented               only in IL_MCC
    # e: nothing there, nothing found
    # up to 0.70: TP 3, FP 1, FN 1: P = R = 3 / 4.0001 = 0.74998125,
    # F1 = 2 * 0.56247188 / (1.4999625 + 1e-4) = 0.74993125
    # above: TP 2, FP 2, FN 2: P = R = 2 / 4.0001 = 0.49998750, F1 = 2 * 0.24998750 / (0.9999750 + 1e-4) = 0.49993750
    # mean of five each: 0.62493438
    # images: TP 2 (a, b), FN 1 (c), FP 1 (d), TN 1 (e):
    # (2 * 1 - 1 * 1) / (sqrt(3 * 3 * 2 * 2) + 1e-6) = 1 / 6.000001 = 0.16666664
    found = figure(
        result("a", [WHOLE, OTHER], {WHOLE: 0.9, OTHER: 0.6}),
        result("b", [WHOLE], {PART: 0.9, OTHER: 0.8}),
        result("c", [WHOLE]),
        result("d", [], {OTHER: 0.7}),
        result("e"),
    )
    assert found.by_iou == pytest.approx((0.74993125,) * 5 + (0.49993750,) * 5, abs=1e-7)
    assert found.il_mcc == pytest.approx(0.16666664, abs=1e-8)
    assert found.cgf1 == pytest.approx(0.62493438 * 0.16666664, abs=1e-7)
    assert (found.pairs, found.positive) == (5, 3)


def test_a_score_of_one_half_counts_and_a_lower_one_does_not() -> None:
    assert figure(result("a", [WHOLE], {WHOLE: 0.5}), result("b")).cgf1 > 0.99
    assert figure(result("a", [WHOLE], {WHOLE: 0.4999}), result("b", [], {WHOLE: 0.4999})).cgf1 == 0


def test_ignored_objects_are_dropped_and_detections_of_them_are_not() -> None:
    alone = result("a", [WHOLE], {WHOLE: 0.9})
    assert figure(alone, result("b", ignored=[OTHER])) == figure(alone, result("b"))
    # then the detection is one where nothing is: TP = 1, FP = 1, TN = 0, FN = 0: IL_MCC = 0
    assert figure(alone, result("b", [], {OTHER: 0.9}, ignored=[OTHER])).cgf1 == 0


def test_the_assignment_is_the_one_with_the_largest_sum_and_not_the_greedy_one() -> None:
    # greedy: 0 takes column 0 (0.80), 1 is left with 0.0; best: 0.75 + 0.70. At 0.50 both are right, so F1 of 2 of 2:
    # P = R = 2 / 2.0001 = 0.99995000, F1 = 2 * 0.99990000 / (1.99990001 + 1e-4) = 0.99990001
    crossed = Overlap(np.array([0.9, 0.8]), np.array([[0.80, 0.75], [0.70, 0.0]]), np.zeros((2, 0)))
    assert cgf1_of([crossed]).by_iou[0] == pytest.approx(0.99990001, abs=1e-7)


def test_without_pairs_everything_is_zero() -> None:
    assert cgf1_of([]).cgf1 == 0


@st.composite
def overlaps(draw: st.DrawFn) -> Overlap:
    detections, objects = draw(st.integers(0, 4)), draw(st.integers(0, 4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    scores = -np.sort(-rng.uniform(0.3, 1, detections))
    return Overlap(scores, rng.uniform(0, 1, (detections, objects)), np.zeros((detections, 0)))


@given(st.lists(overlaps(), max_size=8), st.randoms(use_true_random=False))
def test_it_is_bounded_and_does_not_depend_on_any_order(pairs: list[Overlap], chance: object) -> None:
    found = cgf1_of(pairs)
    assert all(0 <= f1 < 1 for f1 in found.by_iou)
    assert all(a >= b for a, b in zip(found.by_iou, found.by_iou[1:], strict=False))
    assert -1 < found.il_mcc < 1
    assert abs(found.cgf1) <= found.positive_micro_f1
    shuffled = [Overlap(p.scores[::-1], p.truth[::-1, ::-1], p.ignored) for p in pairs]
    chance.shuffle(shuffled)  # type: ignore[attr-defined]
    assert cgf1_of(shuffled) == found


@given(st.lists(overlaps(), min_size=1, max_size=6))
def test_one_more_invented_object_never_helps(pairs: list[Overlap]) -> None:
    more = [
        Overlap(np.append(p.scores, 0.9), np.vstack([p.truth, np.zeros(p.objects)]), np.zeros((len(p.scores) + 1, 0)))
        for p in pairs
    ]
    assert cgf1_of(more).positive_micro_f1 <= cgf1_of(pairs).positive_micro_f1
