"""The difference hash: the same for the same image in another size or light, another for another image."""

from __future__ import annotations

import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sam3edge.hard_examples.perceptual_hash import RecentHashes, dhash, distance, to_hex

HASHES = st.integers(0, (1 << 64) - 1)


def falling(columns: int = 90, rows: int = 80) -> np.ndarray:
    """Brighter on the left than on the right."""
    ramp = np.linspace(250, 0, columns).astype(np.uint8)
    return np.repeat(np.repeat(ramp[None, :, None], rows, 0), 3, 2)


def blocks(seed: int) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 255, (8, 9, 1), dtype=np.uint8)
    return np.repeat(cv2.resize(small, (360, 320), interpolation=cv2.INTER_NEAREST)[..., None], 3, 2)


def test_a_bit_says_that_a_cell_is_brighter_than_its_right_neighbour() -> None:
    assert dhash(falling()) == (1 << 64) - 1
    assert dhash(np.ascontiguousarray(falling()[:, ::-1])) == 0
    half = falling()
    half[40:] = half[40:, ::-1]
    assert dhash(half) == int("ffffffff00000000", 16)


def test_size_and_light_do_not_matter() -> None:
    for seed in range(20):
        image = blocks(seed)
        smaller = cv2.resize(image, (180, 160), interpolation=cv2.INTER_AREA)
        assert distance(dhash(image), dhash(smaller)) <= 2
        assert distance(dhash(image), dhash((image * 0.6).astype(np.uint8))) <= 4


def test_other_images_are_far_away() -> None:
    hashes = [dhash(blocks(seed)) for seed in range(20)]
    assert min(distance(a, b) for i, a in enumerate(hashes) for b in hashes[:i]) > 12


@given(HASHES, HASHES, HASHES)
def test_distance_is_a_metric(a: int, b: int, c: int) -> None:
    assert distance(a, b) == distance(b, a)
    assert (distance(a, b) == 0) == (a == b)
    assert distance(a, c) <= distance(a, b) + distance(b, c) <= 128


@given(HASHES)
def test_hexadecimal_has_16_digits(value: int) -> None:
    assert len(to_hex(value)) == 16
    assert int(to_hex(value), 16) == value


@given(st.lists(HASHES, max_size=40), HASHES, st.integers(0, 63))
def test_what_was_kept_lately_is_known_and_the_memory_is_bounded(before: list[int], value: int, bit: int) -> None:
    recent = RecentHashes(before, alike=1, size=8)
    recent.add(value)
    assert recent.has_like(value ^ (1 << bit))
    far = value ^ ((1 << 32) - 1)
    for number in range(8):
        recent.add(far ^ (number << 40))
    assert not recent.has_like(value ^ (1 << bit))
