"""Who is admitted, and who repeats somebody else."""

from __future__ import annotations

import numpy as np
import pytest

from sam3edge.core.postprocess import admit, scores_of, suppress_repeats, to_instances
from sam3edge.core.types import Instance, Prompt


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


def test_a_repetition_goes_the_better_one_stays_and_other_prompts_are_not_touched() -> None:
    a, b = Prompt("a"), Prompt("b")
    first = Instance(a, 0.7, (0, 0, 1, 1), square(5))
    better = Instance(a, 0.9, (0, 0, 1, 1), square(6))
    apart = Instance(a, 0.6, (0, 0, 1, 1), square(20))
    other = Instance(b, 0.5, (0, 0, 1, 1), square(5))
    assert suppress_repeats([first, better, apart, other], 0.5) == [better, apart, other]


def test_an_instance_on_top_of_a_larger_one_stays() -> None:
    a = Prompt("a")
    large, small = Instance(a, 0.9, (0, 0, 1, 1), square(2, 24)), Instance(a, 0.8, (0, 0, 1, 1), square(8, 6))
    assert suppress_repeats([large, small], 0.5) == [large, small]
