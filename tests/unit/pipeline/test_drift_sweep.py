"""The sweep over corrupted images, with a made-up model; the figures are made by the program itself."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import shapely

from sam3edge.core.types import Confidence, Detections
from sam3edge_pipeline.evaluation.corruptions import CORRUPTIONS, STRENGTHS
from sam3edge_pipeline.evaluation.drift_sweep import PROMPTS, Look, Sizes, sweep
from sam3edge_pipeline.synthetic import draw_scene
from support.samples import MODEL, detection, frame

SIZES = Sizes(reference=300, window=60, clean=240, corrupted=60)


def looks(seed: int, count: int, share: float = 1.0) -> list[Look]:
    """A model that finds a share of what is there."""
    draw = random.Random(seed)
    made = []
    for number in range(count):
        there = draw.random() < 0.8 * share
        objects = tuple(detection(shapely.box(0, 0, 40, 30), p, 0.8) for p in PROMPTS if there)
        sure = {p: Confidence(0.9 if there else 0.1, 0.8 if there else 0.2, 0.2) for p in PROMPTS}
        made.append((replace(frame(), id=f"{seed}-{number}"), Detections(MODEL, objects, {}, confidence=sure)))
    return made


def corrupted(kind: str, strength: int) -> Sequence[Look]:
    return looks(4, SIZES.corrupted, 1.0 if kind == "noise" else 1 - strength / 3)


def test_a_sweep_tells_false_alarms_from_delays() -> None:
    result = sweep(looks(1, SIZES.reference), looks(2, SIZES.clean), looks(3, SIZES.corrupted), corrupted, SIZES)
    assert (result.clean_windows, result.false_alarms) == (3, 0)
    assert all(result.delays["noise", strength] is None for strength in STRENGTHS)
    for kind in set(CORRUPTIONS) - {"noise"}:
        weak, strong = result.delays[kind, 2], result.delays[kind, 3]
        assert strong is not None
        assert weak is None or strong <= weak
        assert result.objects[kind, 3] == 0
    table = result.table()
    assert "false alarms: 0 of 3" in table
    assert len(table.splitlines()) == 4 + len(CORRUPTIONS)


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_a_corruption_is_worse_the_stronger_it_is_and_always_the_same(kind: str) -> None:
    image = draw_scene(1_000_003).image
    distances = []
    for strength in STRENGTHS:
        once, again = (CORRUPTIONS[kind](image, strength, np.random.default_rng(1)) for _ in range(2))
        assert (once.shape, once.dtype) == (image.shape, np.uint8)
        assert np.array_equal(once, again)
        distances.append(float(np.abs(once.astype(int) - image).mean()))
    assert 0 < distances[0] < distances[1] < distances[2]
