"""Which queries are admitted, and what is made of the graphs' outputs."""

from __future__ import annotations

import numpy as np
import pytest

from sam3edge.core.postprocess import (
    admit,
    confidence_of,
    fill_holes,
    scores_of,
    to_instances,
    to_mask_prediction,
)
from sam3edge.core.types import Confidence, Prompt


def square(x: int, size: int = 10) -> np.ndarray:
    mask = np.full((32, 32), -1, np.float32)
    mask[5 : 5 + size, x : x + size] = 1
    return mask


def test_the_score_is_the_product_of_query_and_presence() -> None:
    scores = scores_of(np.array([[0.0, 2.0]], np.float32), np.array([[1.0]], np.float32))
    assert scores == pytest.approx(np.array([[0.5, 0.880797]]) * 0.7310586, rel=1e-5)


def test_extreme_logits_do_not_overflow() -> None:
    with np.errstate(all="raise"):
        scores = scores_of(np.array([[-80.0, 80.0]], np.float32), np.array([[80.0]], np.float32))
    assert scores[0, 0] == pytest.approx(0, abs=1e-6)
    assert scores[0, 1] == pytest.approx(1)


def test_each_prompt_has_its_own_threshold_and_the_threshold_itself_is_not_admitted() -> None:
    scores = np.array([[0.5, 0.6, 0.2], [0.5, 0.6, 0.2]], np.float32)
    admitted = admit(scores, [Prompt("a", 0.5), Prompt("b", 0.1)], top_k=10)
    assert [(row, queries.tolist()) for row, queries in admitted] == [(0, [1]), (1, [1, 0, 2])]


def test_at_most_top_k_the_best_first() -> None:
    scores = np.linspace(0.6, 0.9, 20, dtype=np.float32)[None]
    [(_, queries)] = admit(scores, [Prompt("a", 0.5)], top_k=3)
    assert queries.tolist() == [19, 18, 17]


def test_prompts_without_any_are_left_out() -> None:
    assert admit(np.zeros((2, 5), np.float32), [Prompt("a"), Prompt("b")], 5) == []


def test_boxes_are_scaled_to_the_frame_and_clipped() -> None:
    masks = np.zeros((1, 4, 4), np.float32)
    admitted = [(0, np.array([1]))]
    boxes = np.array([[[0, 0, 0, 0], [-0.1, 0.25, 0.5, 1.2]]], np.float32)
    [instance] = to_instances([Prompt("a")], admitted, np.full((1, 2), 0.7, np.float32), boxes, masks, 200, 100)
    assert instance.box == pytest.approx((0, 25, 100, 100))


def test_one_mask_is_the_one_that_the_rule_picked_and_several_are_the_others() -> None:
    masks = np.arange(4, dtype=np.float32)[:, None, None] * np.ones((4, 2, 2), np.float32) * 20 - 30
    quality = np.array([0.9, 0.2, 0.7, 0.4], np.float32)
    one = to_mask_prediction(masks, quality, 0.0, 2, multimask_output=False)
    assert one.masks[:, 0, 0].tolist() == [10]
    assert one.iou_predictions.tolist() == quality[2:3].tolist()
    assert one.presence == 0.5
    several = to_mask_prediction(masks, quality, 100.0, 2, multimask_output=True)
    assert several.masks[:, 0, 0].tolist() == [-10, 10, 30]
    assert several.presence == pytest.approx(1.0)
    assert several.best[0, 0] == 10


def test_handed_on_logits_are_bounded_as_the_reference_does() -> None:
    masks = np.array([[[-100.0, 100.0]]] * 4, np.float32)
    prediction = to_mask_prediction(masks, np.zeros(4, np.float32), 0.0, 0, multimask_output=False)
    assert prediction.masks.tolist() == [[[-32, 32]]]


def test_small_holes_are_filled_and_large_ones_and_islands_stay() -> None:
    mask = np.full((20, 20), 3.0, np.float32)
    mask[2:4, 2:4] = -1  # four pixels
    mask[4, 4] = 0  # a fifth, over the corner
    mask[10:14, 10:14] = -2  # sixteen, with an island in it
    mask[11, 11] = 5
    filled = fill_holes(mask, share=5 / mask.size)
    assert (filled[2:4, 2:4] == 10).all()
    assert filled[4, 4] == 10
    assert (filled[10:14, 10:14] == mask[10:14, 10:14]).all()
    assert (fill_holes(mask, share=4 / mask.size) == mask).all()
    assert (fill_holes(np.ones((3, 3), np.float32)) == 1).all()


def test_the_largest_hole_that_is_filled_is_the_references_whatever_the_masks_size() -> None:
    mask = np.ones((288, 288), np.float32)
    mask[10:26, 10:26] = -1  # 256 pixels
    mask[100:117, 100:117] = -1  # 289
    filled = fill_holes(mask)
    assert (filled[:50] > 0).all()
    assert (filled[100:117, 100:117] == -1).all()
    assert (mask[10:26, 10:26] == -1).all()  # the mask that is refined is the same as before
    half = mask[::2, ::2].copy()
    assert (fill_holes(half) > 0).sum() == half.size - (half[50:] <= 0).sum()


def test_confidence_tells_what_was_nearly_admitted_from_what_was() -> None:
    scores = np.array([[0.9, 0.5, 0.2], [0.45, 0.1, 0.2], [0.9, 0.8, 0.7]], np.float32)
    presence = np.array([[2.0], [-80.0], [0.0]], np.float32)
    found = confidence_of(scores, presence, [Prompt("a", 0.5), Prompt("b", 0.5), Prompt("c", 0.1)])
    expected = {"a": (0.880797, 0.9, 0.5), "b": (0.0, 0.45, 0.45), "c": (0.5, 0.9, 0.0)}
    assert {p.text: (c.presence, c.best, c.missed) for p, c in found.items()} == {
        text: pytest.approx(values, abs=1e-6) for text, values in expected.items()
    }
    assert isinstance(found[Prompt("a", 0.5)], Confidence)
