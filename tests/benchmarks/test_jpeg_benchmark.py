"""A photograph of 12 megapixels to the pixels that the model is given, against the plain way: decoded whole.

pytest tests/benchmarks/test_jpeg_benchmark.py --benchmark-only
"""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from sam3edge.images.decoding import MIN_SIDE, DecodeOptions, decode

WIDTH, HEIGHT = 4000, 3000
WHOLE, SMALLER = DecodeOptions(), DecodeOptions(min_side=MIN_SIDE)


@pytest.fixture(scope="module")
def photograph() -> bytes:
    """Noise at every scale, as a sensor's and a landscape's, at a camera's quality."""
    rng = np.random.default_rng(0)
    image = np.full((HEIGHT, WIDTH, 3), 128, np.float32)
    for scale in (1, 2, 4, 8, 16, 32, 64):
        grain = rng.normal(0, 6 * scale**0.5, (HEIGHT // scale + 1, WIDTH // scale + 1, 3)).astype(np.float32)
        image += cv2.resize(grain, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    levels = np.clip(image, 0, 255).astype(np.uint8)
    return cv2.imencode(".jpg", levels, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()


@pytest.mark.benchmark(group="JPEG")
def test_jpeg(benchmark: BenchmarkFixture, photograph: bytes) -> None:
    found = benchmark(decode, photograph, SMALLER)
    assert found.size == (WIDTH, HEIGHT)
    assert found.image.shape == (HEIGHT // 2, WIDTH // 2, 3)


@pytest.mark.benchmark(group="JPEG")
def test_jpeg_decoded_whole(benchmark: BenchmarkFixture, photograph: bytes) -> None:
    assert benchmark(decode, photograph, WHOLE).image.shape == (HEIGHT, WIDTH, 3)
