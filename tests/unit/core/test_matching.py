"""Overlap, suppression and pairing: the rules that everything that compares objects relies on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from sam3edge.core import matching
from sam3edge.core.matching import (
    box_iou,
    mask_iou,
    outline_iou,
    pair_best_first,
    pair_for_most,
    pair_in_order,
    suppress,
    suppress_detections,
    suppress_instances,
)
from sam3edge.core.types import Detection, Instance, Prompt

A, B = Prompt("a"), Prompt("b")


def square(x: int, size: int = 10) -> npt.NDArray[np.float32]:
    mask = np.full((32, 32), -1, np.float32)
    mask[5 : 5 + size, x : x + size] = 1
    return mask


def instance(prompt: Prompt, score: float, mask: npt.NDArray[np.float32]) -> Instance:
    return Instance(prompt, score, (0, 0, 1, 1), mask)


def detection(x: float, prompt: Prompt = A, score: float = 0.9) -> Detection:
    geometry = shapely.box(x, 0, x + 10, 10)
    return Detection(prompt, score, geometry.bounds, geometry.area, geometry)


def test_masks_outlines_and_boxes_of_the_same_squares_overlap_alike() -> None:
    at, others = [0, 4, 20], [5, 0]
    expected = [[5 / 15, 1], [9 / 11, 6 / 14], [0, 0]]
    masks = ([square(x) > 0 for x in side] for side in (at, others))
    np.testing.assert_allclose(mask_iou(*masks), expected)
    outlines = ([shapely.box(x, 0, x + 10, 10) for x in side] for side in (at, others))
    np.testing.assert_allclose(outline_iou(*outlines), expected)
    boxes = ([(x, 0.0, x + 10.0, 10.0) for x in side] for side in (at, others))
    np.testing.assert_allclose(box_iou(*boxes), expected)


def test_what_is_empty_overlaps_with_nothing_or_as_told() -> None:
    nothing, something = np.zeros((4, 4), bool), np.ones((4, 4), bool)
    assert mask_iou([nothing], [nothing, something]).tolist() == [[0, 0]]
    assert mask_iou([nothing], [nothing, something], both_empty=1.0).tolist() == [[1, 0]]
    hollow, solid = shapely.Polygon(), shapely.box(0, 0, 1, 1)
    assert outline_iou([hollow, solid], [hollow]).tolist() == [[0], [0]]
    assert outline_iou([hollow, solid], [hollow], both_empty=1.0).tolist() == [[1], [0]]
    assert box_iou([(1, 1, 1, 1)], [(1, 1, 1, 1), (0, 0, 2, 2)]).tolist() == [[0, 0]]


def test_of_no_objects_there_is_no_overlap_and_no_pair() -> None:
    for overlaps in (mask_iou([], [square(5) > 0]), outline_iou([shapely.box(0, 0, 1, 1)], []), box_iou([], [])):
        assert overlaps.size == 0
        assert pair_in_order(overlaps, 0.5) == pair_best_first(overlaps) == []
    assert suppress([], [], lambda i, others: [0.0], 0.5) == []


def test_boxes_that_lie_apart_on_both_axes_do_not_overlap() -> None:
    assert box_iou([(0, 0, 1, 1)], [(5, 5, 6, 6)]).tolist() == [[0]]


def test_a_repetition_goes_the_better_one_stays_and_other_prompts_are_not_touched() -> None:
    first, better = instance(A, 0.7, square(5)), instance(A, 0.9, square(6))
    apart, other = instance(A, 0.6, square(20)), instance(B, 0.5, square(5))
    assert suppress_instances([first, better, apart, other], 0.5) == [better, apart, other]


def test_an_instance_on_top_of_a_larger_one_stays() -> None:
    large, small = instance(A, 0.9, square(2, 24)), instance(A, 0.8, square(8, 6))
    assert suppress_instances([large, small], 0.5) == [large, small]


def test_repeats_are_suppressed_by_prompt_and_score() -> None:
    best, repeat, other, elsewhere = detection(0), detection(1, score=0.8), detection(1, B, 0.7), detection(50, A, 0.6)
    assert suppress_detections((repeat, best, other, elsewhere), 0.5) == (best, other, elsewhere)
    assert suppress_detections((repeat, best), 0.99) == (repeat, best)


def test_suppression_is_greedy_and_the_limit_itself_is_allowed() -> None:
    overlap = np.array([[1, 0.6, 0], [0.6, 1, 0.6], [0, 0.6, 1]])

    def kept(scores: list[float], limit: float) -> list[int]:
        return suppress(scores, [A] * len(scores), lambda i, others: overlap[i, others], limit)

    assert kept([0.9, 0.8, 0.7], 0.5) == [0, 2]  # what was suppressed suppresses nothing
    assert kept([0.8, 0.9, 0.7], 0.5) == [1]
    assert kept([0.8, 0.9, 0.7], 0.6) == [0, 1, 2]
    assert kept([0.5, 0.5, 0.1], 0.5) == [0, 2]  # of equal scores the first one stays


@pytest.mark.parametrize(
    ("overlaps", "in_order", "best_first"),
    [
        ([[0.6, 0.5], [0.9, 0.4]], [(0, 0)], [(1, 0), (0, 1)]),
        ([[0.5, 0.5]], [(0, 0)], [(0, 0)]),  # at_least itself is enough, and of equal ones the first
        ([[0.4], [0.8]], [(1, 0)], [(1, 0)]),
        ([[0.7], [0.8]], [(0, 0)], [(1, 0)]),  # nothing is paired twice
        ([[0.3]], [], []),
    ],
)
def test_pairs_are_made_row_by_row_or_the_best_first(
    overlaps: list[list[float]], in_order: list[tuple[int, int]], best_first: list[tuple[int, int]]
) -> None:
    given = np.array(overlaps)
    assert pair_in_order(given, 0.5) == in_order
    assert pair_best_first(given, 0.5) == best_first
    assert given.tolist() == overlaps


def test_what_does_not_overlap_is_not_paired() -> None:
    assert pair_best_first(np.array([[0.0, 1e-9], [0.0, 0.0]])) == [(0, 1)]


@given(st.integers(0, 10_000), st.sampled_from([0.1, 0.3, 0.5, 0.9]))
@settings(max_examples=60, deadline=None)
def test_suppressing_instances_is_suppressing_by_every_overlap(seed: int, limit: float) -> None:
    dice = np.random.default_rng(seed)
    instances = []
    for _ in range(int(dice.integers(0, 25))):
        mask = np.full((32, 40), -1.0, np.float32)
        x, y, side = (int(v) for v in dice.integers((0, 0, 0), (36, 28, 14)))
        mask[y : y + side, x : x + side] = 1.0
        prompt = Prompt(("a", "b")[int(dice.integers(2))])
        instances.append(Instance(prompt, float(dice.random()), (0, 0, 1, 1), mask))
    masks = [i.mask > 0 for i in instances]
    plain = suppress(
        [i.score for i in instances],
        [i.prompt for i in instances],
        lambda one, others: mask_iou([masks[one]], [masks[k] for k in others]),
        limit,
    )
    assert suppress_instances(instances, limit) == [instances[i] for i in plain]


def test_thousands_of_specks_are_compared_by_their_boxes(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[int] = []

    def counted(a: Sequence[npt.NDArray[np.bool_]], b: Sequence[npt.NDArray[np.bool_]]) -> npt.NDArray[np.float64]:
        compared.append(len(b))
        return mask_iou(a, b)

    monkeypatch.setattr(matching, "mask_iou", counted)
    specks = []
    for number in range(2000):
        mask = np.full((100, 100), -1.0, np.float32)
        mask[number // 50 * 2, number % 50 * 2] = 1.0
        specks.append(Instance(Prompt("a"), 0.5, (0, 0, 1, 1), mask))
    assert len(suppress_instances(specks, 0.5)) == 2000
    assert compared == []


@settings(max_examples=60)
@given(st.integers(0, 12), st.integers(0, 12), st.integers(0, 2**32 - 1))
def test_pairs_have_the_largest_sum_that_there_is(rows: int, columns: int, seed: int) -> None:
    chance = np.random.default_rng(seed)
    scores = np.round(chance.normal(0, 3, (rows, columns)), 1)
    scores[chance.random((rows, columns)) < 0.3] = -np.inf
    pairs = pair_for_most(scores)
    assert len({row for row, _ in pairs}) == len(pairs) == len({column for _, column in pairs})
    assert all(scores[pair] > 0 for pair in pairs)
    gains = np.maximum(scores, 0.0)
    assert sum(scores[pair] for pair in pairs) == pytest.approx(gains[linear_sum_assignment(-gains)].sum())


def test_two_good_pairs_are_better_than_the_best_one() -> None:
    scores = np.array([[9.0, 8.0], [7.0, 1.0]])
    assert pair_for_most(scores) == [(0, 1), (1, 0)]
    assert pair_best_first(scores) == [(0, 0), (1, 1)]
