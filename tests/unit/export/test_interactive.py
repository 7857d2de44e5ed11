"""Clicks and boxes are answered as by transformers' tracker, where it does what Meta's code does."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers.models.sam3_tracker.modeling_sam3_tracker import Sam3TrackerModel

from sam3edge_export.sam3.interactive import InteractiveGraph, InteractiveVisionGraph, Outlined
from support.small_sam3 import PATCH, SIDE, small_tracker

GRID = SIDE // PATCH
CLICKS = torch.tensor([[10.0, 20.0], [50.5, 3.25], [31.0, 40.0]])
"""Pixels of the model's input, as the port takes them."""
BOX = torch.tensor([5.0, 8.0, 40.0, 60.0])


@pytest.fixture(scope="module")
def tracker() -> Sam3TrackerModel:
    """With three levels, so that the port adds the embedding for "no memory" to the map that it uses."""
    return small_tracker(levels=3)


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    return torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(3))


def tokens_of(tracker: Sam3TrackerModel, pixels: Tensor) -> Tensor:
    tokens = tracker.vision_encoder.backbone(pixels).last_hidden_state
    return tokens.unflatten(1, (GRID, GRID)).permute(0, 3, 1, 2)


def outline(
    tracker: Sam3TrackerModel,
    pixels: Tensor,
    points: Tensor,
    labels: list[list[int]],
    before: Tensor | None = None,
    images: list[int] | None = None,
) -> Outlined:
    maps = InteractiveVisionGraph(tracker)(tokens_of(tracker, pixels))
    count = len(labels)
    side = 4 * GRID
    masks = torch.full((count, 1, side, side), 7.0) if before is None else before
    return InteractiveGraph(tracker, GRID, SIDE)(
        *maps,
        torch.tensor(images or [0] * count),
        points / SIDE,
        torch.tensor(labels),
        masks,
        torch.full((count,), before is not None),
    )


def agree(found: Outlined, expected: Any) -> None:
    """All masks of one object, and the single one that the rule picks, are the port's."""
    several, one = expected
    close = {"atol": 1e-4, "rtol": 1e-4}
    torch.testing.assert_close(found.masks[:, 1:], several.pred_masks[0], **close)
    torch.testing.assert_close(found.quality[:, 1:], several.iou_scores[0], **close)
    torch.testing.assert_close(found.presence, several.object_score_logits[0], **close)
    rows = torch.arange(len(found.single))
    torch.testing.assert_close(found.masks[rows, found.single], one.pred_masks[0, :, 0], **close)
    torch.testing.assert_close(found.quality[rows, found.single], one.iou_scores[0, :, 0], **close)


def ask_port(tracker: Sam3TrackerModel, pixels: Tensor, **prompt: Any) -> Any:
    return [tracker(pixel_values=pixels, multimask_output=several, **prompt) for several in (True, False)]


@torch.no_grad()
def test_clicks_on_and_beside_the_object(tracker: Sam3TrackerModel, pixels: Tensor) -> None:
    found = outline(tracker, pixels, CLICKS[None], [[1, 0, 1]])
    labels = torch.tensor([[[1, 0, 1]]])
    agree(found, ask_port(tracker, pixels, input_points=CLICKS[None, None], input_labels=labels))


@torch.no_grad()
def test_a_box(tracker: Sam3TrackerModel, pixels: Tensor) -> None:
    found = outline(tracker, pixels, BOX.view(1, 2, 2), [[2, 3]])
    agree(found, ask_port(tracker, pixels, input_boxes=BOX.view(1, 1, 4)))


@torch.no_grad()
def test_a_box_and_a_click_in_it(tracker: Sam3TrackerModel, pixels: Tensor) -> None:
    found = outline(tracker, pixels, torch.cat([BOX.view(2, 2), CLICKS[:1]])[None], [[2, 3, 0]])
    prompt = {"input_points": CLICKS[None, None, :1], "input_labels": torch.tensor([[[0]]])}
    agree(found, ask_port(tracker, pixels, input_boxes=BOX.view(1, 1, 4), **prompt))


@torch.no_grad()
def test_a_former_answer_is_refined(tracker: Sam3TrackerModel, pixels: Tensor) -> None:
    before = torch.randn(1, 1, 4 * GRID, 4 * GRID, generator=torch.Generator().manual_seed(5)) * 8
    found = outline(tracker, pixels, CLICKS[None, :2], [[1, 0]], before)
    prompt = {"input_points": CLICKS[None, None, :2], "input_labels": torch.tensor([[[1, 0]]])}
    agree(found, ask_port(tracker, pixels, input_masks=before, **prompt))
    assert (found.masks - outline(tracker, pixels, CLICKS[None, :2], [[1, 0]]).masks).abs().max() > 1e-2


@torch.no_grad()
@pytest.mark.parametrize("threshold", [0.0, 1.1])
def test_a_single_mask_is_the_first_unless_it_is_unstable(
    tracker: Sam3TrackerModel, pixels: Tensor, threshold: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracker.mask_decoder, "dynamic_multimask_stability_thresh", threshold)
    found = outline(tracker, pixels, CLICKS[None, :1], [[1]])
    prompt = {"input_points": CLICKS[None, None, :1], "input_labels": torch.tensor([[[1]]])}
    agree(found, ask_port(tracker, pixels, **prompt))
    best = int(found.quality[0, 1:].argmax()) + 1
    assert int(found.single) == (0 if threshold == 0 else best)


@torch.no_grad()
def test_without_the_stability_rule_a_single_mask_is_the_first(
    tracker: Sam3TrackerModel, pixels: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracker.mask_decoder, "dynamic_multimask_stability_thresh", 1.1)
    monkeypatch.setattr(tracker.mask_decoder, "dynamic_multimask_via_stability", False)
    assert outline(tracker, pixels, CLICKS[None, :1], [[1]]).single.tolist() == [0]


@torch.no_grad()
def test_an_object_is_answered_alike_whatever_else_is_asked_in_the_same_run(tracker: Sam3TrackerModel) -> None:
    pixels = torch.randn(2, 3, SIDE, SIDE)
    points = torch.stack([CLICKS, CLICKS.flip(0)])
    points[0, 1:] = torch.tensor([[3.0, 3.0], [60.0, 60.0]])  # padding may be anywhere
    among = outline(tracker, pixels, points, [[1, -10, -10], [1, 0, 1]], images=[1, 0])
    alone = outline(tracker, pixels[1:], CLICKS[None, :1], [[1]])
    torch.testing.assert_close(among.masks[:1], alone.masks, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(among.quality[:1], alone.quality, atol=1e-5, rtol=1e-5)
    other = outline(tracker, pixels[:1], CLICKS.flip(0)[None], [[1, 0, 1]])
    torch.testing.assert_close(among.masks[1:], other.masks, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_the_no_memory_embedding_is_added_whatever_the_number_of_levels(
    tracker: Sam3TrackerModel, pixels: Tensor
) -> None:
    """Meta adds it to the coarse map; the port adds it to the last of its levels, which is another one when there are
    four, as in the checkpoint, and is dropped. If the last line fails, the port has been mended."""
    four = small_tracker(levels=4)
    four.load_state_dict(tracker.state_dict(), strict=False)
    ours = InteractiveVisionGraph(four)(tokens_of(four, pixels))
    torch.testing.assert_close(tuple(ours), tuple(InteractiveVisionGraph(tracker)(tokens_of(tracker, pixels))))
    finest, middle, embedding = tracker.get_image_embeddings(pixels)
    torch.testing.assert_close(tuple(ours), (embedding, middle, finest), atol=1e-5, rtol=1e-5)
    assert (four.get_image_embeddings(pixels)[-1] - embedding).abs().max() > 1e-2
