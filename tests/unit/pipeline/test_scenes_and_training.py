"""Scenes are a function of their seed; training runs, learns something, and continues where it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from sam3edge_pipeline.evaluation.checkpoint import without_repeats
from sam3edge_pipeline.synthetic import PHRASES, draw_scene
from sam3edge_pipeline.training import train as training
from sam3edge_pipeline.training.data import draw_set, make_batch
from sam3edge_pipeline.training.losses import Targets, assign, generalized_iou, onlookers
from sam3edge_pipeline.training.train import Learner, Plan, detector_step


def test_a_scene_is_a_function_of_its_seed() -> None:
    first, again, other = draw_scene(5), draw_scene(5), draw_scene(6)
    assert np.array_equal(first.image, again.image)
    assert first.image.shape != other.image.shape or not np.array_equal(first.image, other.image)
    assert [i.phrase for i in first.instances] == [i.phrase for i in again.instances]


def test_scenes_hold_every_phrase_and_some_are_empty_and_some_crowded() -> None:
    scenes = [draw_scene(seed) for seed in range(60)]
    assert {i.phrase for s in scenes for i in s.instances} == set(PHRASES)
    counts = [len(s.instances) for s in scenes]
    assert min(counts) == 0
    assert max(counts) >= 8


def test_masks_are_where_the_objects_are() -> None:
    for seed in range(12):
        scene = draw_scene(seed)
        for instance in scene.instances:
            assert instance.mask.shape == scene.image.shape[:2]
            assert instance.mask.sum() >= 180


def test_boxes_of_a_batch_enclose_their_masks() -> None:
    scenes = draw_set(range(8), 128)
    batch = make_batch(scenes, np.arange(8), np.random.default_rng(0))
    for mask, (cx, cy, w, h) in zip(batch.masks, batch.boxes.tolist(), strict=True):
        ys, xs = np.nonzero(mask.numpy())
        assert xs.min() / 128 == pytest.approx(cx - w / 2, abs=1e-6)
        assert (ys.max() + 1) / 128 == pytest.approx(cy + h / 2, abs=1e-6)


def test_the_nearest_anchor_answers_and_every_object_has_one_of_its_own() -> None:
    anchors = torch.tensor([[0.25, 0.5], [0.75, 0.5]])
    boxes = torch.tensor([[0.3, 0.5, 0.2, 0.2], [0.4, 0.5, 0.2, 0.2]])
    targets = Targets(torch.ones(1), torch.tensor([0, 0]), boxes, torch.zeros(2, 4, 4))
    query = assign(targets, anchors, torch.zeros(1, 2), torch.zeros(1, 2, 4), learned=0.0)
    assert query.tolist() == [0, 1]


def test_onlookers_are_the_anchors_inside_and_the_smaller_object_has_them() -> None:
    anchors = torch.tensor([[0.5, 0.5], [0.1, 0.1], [0.9, 0.9]])
    boxes = torch.tensor([[0.5, 0.5, 0.9, 0.9], [0.5, 0.5, 0.2, 0.2]])
    targets = Targets(torch.ones(1), torch.tensor([0, 0]), boxes, torch.zeros(2, 4, 4))
    rows, queries = onlookers(targets, anchors, 1)
    assert dict(zip(queries.tolist(), rows.tolist(), strict=True)) == {0: 1, 1: 0, 2: 0}


def test_generalized_iou_of_known_boxes() -> None:
    box = torch.tensor([0.5, 0.5, 0.2, 0.2])
    assert generalized_iou(box, box) == pytest.approx(1, abs=1e-4)
    apart = generalized_iou(torch.tensor([0.1, 0.5, 0.2, 0.2]), torch.tensor([0.9, 0.5, 0.2, 0.2]))
    assert apart == pytest.approx(-0.6, abs=1e-3)


@pytest.mark.timeout(300)
@pytest.mark.long
def test_training_learns_and_goes_on_from_its_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "TRAIN_SEEDS", range(8))
    monkeypatch.setattr(training, "HELD_OUT_SEEDS", range(100, 102))
    plan = Plan(dense_steps=3, steps=2, dense_batch=4, batch=2, mask_pairs=2, processes=1)
    training.train(tmp_path, plan)
    first = torch.load(tmp_path / "last.pt", weights_only=True)
    assert first["step"] == 5
    training.train(tmp_path, Plan(dense_steps=3, steps=3, dense_batch=4, batch=2, mask_pairs=2, processes=1))
    second = torch.load(tmp_path / "last.pt", weights_only=True)
    assert second["step"] == 6
    name = "model.detr_decoder.box_head.layer1.weight"
    assert not torch.equal(first["learner"][name], second["learner"][name])


@pytest.mark.timeout(300)
@pytest.mark.long
def test_a_few_steps_on_the_same_scenes_lower_the_loss() -> None:
    torch.manual_seed(0)
    learner, plan = Learner(), Plan(mask_pairs=2)
    batch = make_batch(draw_set(range(2), 128), np.arange(2))
    optimizer = torch.optim.AdamW(learner.parameters(), lr=1e-3)
    totals = []
    for _ in range(8):
        losses = detector_step(learner, batch, plan, 0.0, np.random.default_rng(0))
        total = torch.stack(list(losses.values())).sum()
        optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
        optimizer.step()
        totals.append(float(total.detach()))
    assert totals[-1] < 0.8 * totals[0]


def test_of_masks_that_repeat_each_other_the_best_one_counts() -> None:
    best, repeat, apart = np.zeros((3, 8, 8), bool)
    best[:4], repeat[:5], apart[6:] = True, True, True
    kept = without_repeats([best, repeat, apart])
    assert [mask.sum() for mask in kept] == [32, 16]
