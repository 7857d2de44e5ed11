"""Masks to polygons against the plain way: every mask up-sampled to the full frame, then external contours.

pytest tests/benchmarks/test_polygon_benchmark.py --benchmark-only
"""

from __future__ import annotations

import time
from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from sam3edge.core.polygons import to_detection
from sam3edge.core.types import Instance, MaskLogits, Prompt

WIDTH, HEIGHT, GRID, COUNT = 4096, 3072, 288, 50


@pytest.fixture(scope="module")
def instances() -> list[Instance]:
    """50 wobbly ellipses of 2 to 8 % of the frame."""
    rng = np.random.default_rng(0)
    ys, xs = np.mgrid[0:GRID, 0:GRID]
    made = []
    for share in np.linspace(0.02, 0.08, COUNT):
        cx, cy = rng.uniform(0.2, 0.8, 2) * GRID
        a = np.sqrt(share / np.pi) * GRID * rng.uniform(0.8, 1.2)
        b = share * GRID * GRID / np.pi / a
        angle = np.arctan2(ys - cy, xs - cx)
        z = 1 + 0.08 * np.sin(5 * angle) + 0.03 * np.sin(11 * angle) - np.hypot((xs - cx) / a, (ys - cy) / b)
        made.append(Instance(Prompt("x"), 0.9, (0, 0, 1, 1), (z * 8).astype(np.float32)))
    return made


def peers(mask: MaskLogits) -> npt.NDArray[np.bool_]:
    """Up-sampling as in Meta's processor and its ports: torch's bilinear interpolation, cut at 0."""
    whole = torch.nn.functional.interpolate(torch.from_numpy(mask)[None, None], (HEIGHT, WIDTH), mode="bilinear")
    return np.asarray(whole[0, 0].numpy() > 0)


def opencv(mask: MaskLogits) -> npt.NDArray[np.bool_]:
    """The fastest up-sampling at hand, which peers do not use."""
    return np.asarray(cv2.resize(mask, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR) > 0)


def plain(instances: list[Instance], upsample: Callable[[MaskLogits], npt.NDArray[np.bool_]]) -> int:
    """Every mask to the full frame, then its external contours."""
    found = 0
    for instance in instances:
        mask = upsample(instance.mask)
        contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        found += len(contours)
    return found


def ours(instances: list[Instance]) -> int:
    return sum(to_detection(i, WIDTH, HEIGHT, 0.5) is not None for i in instances)


def best_of(times: int, work: Callable[[], object]) -> float:
    taken = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return min(taken)


def test_polygons(benchmark: BenchmarkFixture, instances: list[Instance]) -> None:
    assert benchmark(ours, instances) == COUNT
    fast = best_of(5, lambda: ours(instances))
    benchmark.extra_info["milliseconds"] = round(fast * 1000, 1)
    for name, upsample in (("peers", peers), ("opencv", opencv)):
        slow = best_of(2, lambda upsample=upsample: plain(instances, upsample))  # type: ignore[misc]
        benchmark.extra_info[f"times_faster_than_{name}"] = round(slow / fast, 1)
