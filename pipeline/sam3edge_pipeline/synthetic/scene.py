"""One scene from one seed."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from sam3edge_pipeline.synthetic.canvas import Canvas, Mask
from sam3edge_pipeline.synthetic.overhead import draw_overhead
from sam3edge_pipeline.synthetic.workbench import draw_workbench

PHRASES: tuple[str, ...] = (
    "metal tag",
    "scratch",
    "dent",
    "hole",
    "ship",
    "car",
    "building",
    "field",
    "road",
    "tree",
)
"""Every noun phrase that the scenes know, and so the demo model's vocabulary."""

HELD_OUT_SEEDS = range(1_000_000, 1_000_240)
"""Scenes that nothing is trained on."""

SIZES: tuple[tuple[int, int], ...] = ((512, 512), (576, 448), (448, 576), (640, 480), (608, 432))
"""Width and height in pixels; the model squeezes all of them into its square input."""

MIN_VISIBLE = 180
"""Objects of which fewer pixels than this are visible are not counted as objects."""


@dataclass(frozen=True, slots=True, eq=False)
class SceneInstance:
    """One object: its phrase and its visible pixels, bool [H, W]."""

    phrase: str
    mask: Mask


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A picture, uint8 [H, W, 3] RGB, and every object in it; ``PHRASES`` have no name for those in ``others``."""

    seed: int
    image: npt.NDArray[np.uint8]
    instances: tuple[SceneInstance, ...]
    others: tuple[SceneInstance, ...] = ()


def draw_scene(seed: int) -> Scene:
    """Draw the scene of ``seed``: two in five a workbench, the rest seen from above; some empty, some crowded."""
    rng = np.random.default_rng(seed)
    width, height = SIZES[rng.integers(len(SIZES))]
    canvas = Canvas(np.zeros((height, width, 3), np.float32), rng)
    amount = int(rng.choice((0, 1, 2, 3, 4, 5, 7, 10), p=(0.06, 0.12, 0.18, 0.2, 0.16, 0.12, 0.1, 0.06)))
    if rng.random() < 0.4:
        draw_workbench(canvas, min(amount, 7))
    else:
        draw_overhead(canvas, amount)
    image = cv2.GaussianBlur(canvas.image, (0, 0), float(rng.uniform(0.5, 1.0)))
    image = image * rng.uniform(0.86, 1.12) + rng.uniform(-8, 8)
    image += rng.normal(0, rng.uniform(1, 4), image.shape)
    visible, others = (
        tuple(SceneInstance(p, m) for p, m in painted if int(m.sum()) >= MIN_VISIBLE)
        for painted in (canvas.objects, canvas.others)
    )
    return Scene(seed, np.clip(image, 0, 255).astype(np.uint8), visible, others)
