"""Two answers, paired and measured."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from sam3edge.core.types import Frame, Instance, Prompt
from sam3edge_export.parity.compare import compare, iou_in_frame
from sam3edge_export.parity.verdict import TOLERANCES, by_instances, tolerance_of
from support.samples import frame

SHIP, CAR = Prompt("ship"), Prompt("car")
FRAME = frame(np.zeros((96, 128, 3), np.uint8))


def disc(x: float, y: float, radius: float, size: int = 32) -> npt.NDArray[np.float32]:
    """Mask logits of a disc; centre and radius as shares of the frame."""
    ys, xs = (np.mgrid[0:size, 0:size] + 0.5) / size
    return ((radius - np.hypot(xs - x, ys - y)) * 40).astype(np.float32)


def instance(
    x: float, y: float, radius: float = 0.2, prompt: Prompt = SHIP, score: float = 0.9, size: int = 32
) -> Instance:
    box = (128 * (x - radius), 96 * (y - radius), 128 * (x + radius), 96 * (y + radius))
    return Instance(prompt, score, box, disc(x, y, radius, size))


def test_the_same_answer_is_the_same() -> None:
    answer = [instance(0.3, 0.5), instance(0.7, 0.5)]
    found = compare(FRAME, answer, answer, slack=0.01)
    assert [(p.iou, p.score, p.box, p.logits) for p in found.pairs] == [(1, 0, 0, 0)] * 2
    assert (found.missing, found.extra, found.borderline) == ((), (), 0)


def test_order_does_not_matter_and_prompts_are_not_mixed() -> None:
    reference = [instance(0.3, 0.5), instance(0.7, 0.5), instance(0.3, 0.5, prompt=CAR)]
    found = compare(FRAME, reference, [reference[2], reference[1], reference[0]], slack=0.01)
    assert sorted(p.iou for p in found.pairs) == [1, 1, 1]
    assert all(p.reference is p.ours for p in found.pairs)


def test_a_moved_mask_has_the_overlap_that_geometry_gives() -> None:
    moved = compare(FRAME, [instance(0.5, 0.5)], [instance(0.55, 0.5)], slack=0.01).pairs[0]
    d, r = 0.05, 0.2  # of two discs, Weisstein's formula for the lens
    lens = 2 * r**2 * np.arccos(d / (2 * r)) - d / 2 * np.sqrt(4 * r**2 - d**2)
    assert moved.iou == pytest.approx(lens / (2 * np.pi * r**2 - lens), abs=0.01)
    assert moved.box == pytest.approx(0.05)
    assert moved.logits > 0.5


def test_what_only_one_side_found_is_named() -> None:
    one, other = instance(0.3, 0.5), instance(0.75, 0.5)
    assert compare(FRAME, [one, other], [one], slack=0.01).missing == (other,)
    assert compare(FRAME, [one], [one, other], slack=0.01).extra == (other,)


def test_masks_that_do_not_touch_are_two_objects() -> None:
    found = compare(FRAME, [instance(0.2, 0.5, 0.1)], [instance(0.8, 0.5, 0.1)], slack=0.01)
    assert (len(found.pairs), len(found.missing), len(found.extra)) == (0, 1, 1)


def test_a_score_at_the_threshold_is_decided_by_rounding() -> None:
    at_the_edge = replace(instance(0.3, 0.5), score=0.503)
    found = compare(FRAME, [at_the_edge], [], slack=0.01)
    assert (found.missing, found.borderline) == ((), 1)
    assert compare(FRAME, [at_the_edge], [], slack=0.001).missing == (at_the_edge,)


def test_masks_of_different_size_are_compared_by_their_outlines() -> None:
    found = compare(FRAME, [instance(0.5, 0.5)], [instance(0.5, 0.5, size=48)], slack=0.01).pairs[0]
    assert found.iou > 0.98
    assert np.isnan(found.logits)


def test_two_empty_masks_agree() -> None:
    empty = replace(instance(0.5, 0.5), mask=np.full((32, 32), -1, np.float32))
    assert iou_in_frame(empty, empty, FRAME) == 1
    assert iou_in_frame(empty, instance(0.5, 0.5), FRAME) == 0


class TestVerdict:
    def test_an_equal_answer_passes(self) -> None:
        answer = [instance(0.3, 0.5)]
        assert by_instances([compare(FRAME, answer, answer, 0.02)], TOLERANCES["fp16"]) == []

    @pytest.mark.parametrize(
        ("ours", "expected"),
        [
            ([], "is not found"),
            ([instance(0.3, 0.5), instance(0.7, 0.5)], "must not be found"),
            ([instance(0.302, 0.5)], "overlaps its mask with IoU"),
            ([instance(0.3, 0.5, score=0.85)], "in score"),
            ([replace(instance(0.3, 0.5), box=(0, 0, 60, 60))], "in its box"),
        ],
    )
    def test_every_kind_of_difference_fails(self, ours: list[Instance], expected: str) -> None:
        [failure] = by_instances([compare(FRAME, [instance(0.3, 0.5)], ours, 0.02)], TOLERANCES["fp16"])
        assert expected in failure
        assert FRAME.name in failure
        assert "ship" in failure

    def test_a_waiver_lowers_the_bound_for_masks_only_and_says_so(self) -> None:
        tolerance = tolerance_of("int8", "int8", 0.95)
        assert tolerance.iou == 0.95
        assert "0.95" in tolerance.waived
        assert by_instances([compare(FRAME, [instance(0.3, 0.5)], [instance(0.302, 0.5)], 0.1)], tolerance) == []

    def test_a_waiver_cannot_hide_a_missing_object(self) -> None:
        tolerance = tolerance_of("int8", "int8", 0.0)
        assert by_instances([compare(FRAME, [instance(0.3, 0.5)], [], 0.1)], tolerance)

    def test_without_a_waiver_int8_is_held_to_the_same_masks(self) -> None:
        assert tolerance_of("int8", "int8", None).iou == tolerance_of("fp16", "fp16", None).iou == 0.995
        assert not tolerance_of("int8", "int8", None).waived

    def test_images_that_show_nothing_prove_nothing(self) -> None:
        [failure] = by_instances([compare(FRAME, [], [], 0.02)], TOLERANCES["fp16"])
        assert "nothing is proved" in failure


def test_frames_of_the_comparison_are_those_given() -> None:
    other: Frame = replace(FRAME, name="other")
    assert compare(other, [], [], 0.1).frame is other
