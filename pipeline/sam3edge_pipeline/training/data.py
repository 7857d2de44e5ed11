"""Scenes as training arrays: drawn once, kept in one file, augmented on the fly."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch

from sam3edge_pipeline.synthetic import PHRASES, draw_scene


@dataclass(frozen=True, slots=True, eq=False)
class SceneSet:
    """Scenes at the model's input size.

    Attributes:
        images: uint8 [N, S, S, 3], RGB, squeezed to the square as the device does.
        masks: uint8 [M, S, S / 8], instance masks at input size, one bit a pixel (``numpy.packbits``).
        phrases: int64 [M], index into ``PHRASES``.
        starts: int64 [N + 1]; the instances of image i are rows ``starts[i]`` to ``starts[i + 1]``.
    """

    images: npt.NDArray[np.uint8]
    masks: npt.NDArray[np.uint8]
    phrases: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.images)

    @property
    def size(self) -> int:
        """Side of the square input in pixels."""
        return int(self.images.shape[1])


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Images with all of their instances.

    Attributes:
        images: uint8 [B, S, S, 3].
        masks: float32 [K, S, S], 0 or 1.
        boxes: float32 [K, 4], cx, cy, w, h in 0..1, around the mask.
        phrases: int64 [K].
        owner: int64 [K], the image each instance is in.
    """

    images: torch.Tensor
    masks: torch.Tensor
    boxes: torch.Tensor
    phrases: torch.Tensor
    owner: torch.Tensor


def squeeze(image: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
    """Resize uint8 [H, W, 3] to a square as the vision graph does: bilinear, antialiased, aspect ratio not kept."""
    tensor = torch.from_numpy(image).permute(2, 0, 1)[None]
    resized = torch.nn.functional.interpolate(tensor, (size, size), mode="bilinear", antialias=True)
    return np.ascontiguousarray(resized[0].permute(1, 2, 0).numpy())


def _arrays_of(seed: int, size: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], list[int]]:
    scene = draw_scene(seed)
    masks, phrases = [], []
    for instance in scene.instances:
        small = cv2.resize(instance.mask.astype(np.float32), (size, size), interpolation=cv2.INTER_AREA) > 0.5
        if small.any():
            masks.append(np.packbits(small, axis=1))
            phrases.append(PHRASES.index(instance.phrase))
    packed = np.stack(masks) if masks else np.zeros((0, size, size // 8), np.uint8)
    return squeeze(scene.image, size), packed, phrases


def _draw_many(job: tuple[range, int]) -> list[tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], list[int]]]:
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    return [_arrays_of(seed, job[1]) for seed in job[0]]


def draw_set(seeds: range, size: int, processes: int = 1) -> SceneSet:
    """Draw the scenes of ``seeds`` at ``size`` pixels."""
    jobs = [(seeds[i : i + 50], size) for i in range(0, len(seeds), 50)]
    if processes == 1:
        drawn = [_arrays_of(seed, size) for seed in seeds]
    else:  # spawned: a fork of a process that has torch's threads may hang
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            drawn = [scene for chunk in pool.map(_draw_many, jobs) for scene in chunk]
    counts = [len(phrases) for _, _, phrases in drawn]
    return SceneSet(
        images=np.stack([image for image, _, _ in drawn]),
        masks=np.concatenate([masks for _, masks, _ in drawn]),
        phrases=np.array([p for _, _, phrases in drawn for p in phrases], np.int64),
        starts=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
    )


def load_or_draw(path: Path, seeds: range, size: int, processes: int = 1) -> SceneSet:
    """Read the set from ``path``, or draw it and leave it there."""
    if path.exists():
        with np.load(path) as stored:
            return SceneSet(**{name: stored[name] for name in ("images", "masks", "phrases", "starts")})
    drawn = draw_set(seeds, size, processes)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part.npz")
    np.savez(partial, images=drawn.images, masks=drawn.masks, phrases=drawn.phrases, starts=drawn.starts)
    partial.rename(path)
    return drawn


def batches(scenes: SceneSet, batch: int, rng: np.random.Generator) -> Iterator[Batch]:
    """Endless random batches; each is flipped and transposed at random and its colours shifted a little."""
    while True:
        rows = rng.choice(len(scenes), batch, replace=False)
        yield make_batch(scenes, rows, rng)


def make_batch(scenes: SceneSet, rows: npt.NDArray[np.int64], rng: np.random.Generator | None = None) -> Batch:
    """Put ``rows`` of ``scenes`` together; augmented when ``rng`` is given."""
    images = scenes.images[rows]
    spans = [np.arange(scenes.starts[r], scenes.starts[r + 1]) for r in rows]
    members = np.concatenate(spans).astype(np.int64)
    owner = np.repeat(np.arange(len(rows)), [len(s) for s in spans])
    masks = np.unpackbits(scenes.masks[members], axis=2).astype(bool)
    if rng is not None:
        if rng.random() < 0.5:
            images, masks = images[:, :, ::-1], masks[:, :, ::-1]
        if rng.random() < 0.5:
            images, masks = images[:, ::-1], masks[:, ::-1]
        if rng.random() < 0.5:
            images, masks = images.transpose(0, 2, 1, 3), masks.transpose(0, 2, 1)
        gain = rng.uniform(0.9, 1.1, (len(rows), 1, 1, 3))
        images = np.clip(images * gain + rng.uniform(-10, 10, (len(rows), 1, 1, 1)), 0, 255).astype(np.uint8)
    return Batch(
        images=torch.from_numpy(np.ascontiguousarray(images)),
        masks=torch.from_numpy(np.ascontiguousarray(masks)).float(),
        boxes=boxes_around(masks),
        phrases=torch.from_numpy(scenes.phrases[members]),
        owner=torch.from_numpy(owner),
    )


def boxes_around(masks: npt.NDArray[np.bool_]) -> torch.Tensor:
    """float32 [K, 4], cx, cy, w, h in 0..1, around masks [K, S, S] that are not empty."""
    size = masks.shape[-1]
    columns, rows = np.asarray(masks.any(1)), np.asarray(masks.any(2))
    x0, y0 = columns.argmax(1), rows.argmax(1)
    x1, y1 = size - columns[:, ::-1].argmax(1), size - rows[:, ::-1].argmax(1)
    boxes = np.stack([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0], 1) / size
    return torch.from_numpy(boxes.astype(np.float32).reshape(-1, 4))
