from __future__ import annotations

from datetime import datetime, timedelta, timezone
from functools import cache

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from sam3edge.core.errors import SettingsError
from sam3edge.core.gate import ChangeGate, ChangeGateOptions, OpenGate
from sam3edge.core.types import Frame

START = datetime(2024, 1, 1, tzinfo=timezone.utc)
SIZES = [(360, 640), (240, 320), (64, 48)]


def scene(height: int = 360, width: int = 640, seed: int = 0) -> npt.NDArray[np.uint8]:
    coarse = np.random.default_rng(seed).integers(40, 200, (9, 16, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).view(np.uint8)


def frame(image: npt.NDArray[np.uint8], seconds: float = 0.0) -> Frame:
    return Frame("id", "camera", "name", image, START + timedelta(seconds=seconds), "sha256:0")


def noisy(image: npt.NDArray[np.uint8], sigma: float, seed: int) -> npt.NDArray[np.uint8]:
    shift = 7 * seed
    grain = _grain()[shift : shift + image.shape[0], shift : shift + image.shape[1]]
    return cv2.add(image.astype(np.float32), sigma * grain).clip(0, 255).astype(np.uint8)


@cache
def _grain() -> npt.NDArray[np.float32]:
    """Normal noise of deviation 1; windows into it stand for the noise of single frames."""
    return np.random.default_rng(0).standard_normal((1000, 1560, 3), np.float32)


def lit(image: npt.NDArray[np.uint8], gain: float, offset: float = 0.0) -> npt.NDArray[np.uint8]:
    return cv2.convertScaleAbs(image, alpha=gain, beta=offset).view(np.uint8)


def with_object(image: npt.NDArray[np.uint8], x: int, y: int, size: int) -> npt.NDArray[np.uint8]:
    image = image.copy()
    covered = image[y : y + size, x : x + size]
    covered[:] = 255 - covered.mean(axis=(0, 1))
    return image


def test_the_open_gate_admits_everything() -> None:
    gate = OpenGate()
    assert all(gate.admit(frame(scene())) for _ in range(3))


def test_the_first_frame_is_admitted_and_its_repetitions_are_not() -> None:
    gate = ChangeGate()
    assert gate.admit(frame(scene()))
    assert not any(gate.admit(frame(scene(), n)) for n in range(1, 5))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("sigma", [2.0, 5.0, 8.0])
def test_sensor_noise_is_no_change(size: tuple[int, int], sigma: float) -> None:
    gate = ChangeGate()
    admitted = [gate.admit(frame(noisy(scene(*size), sigma, n), n)) for n in range(8)]
    assert admitted == [True] + [False] * 7


def test_slow_drift_of_the_light_is_no_change() -> None:
    gate = ChangeGate()
    admitted = [gate.admit(frame(noisy(lit(scene(), 1 - 0.01 * n, 0.3 * n), 2.0, n), n)) for n in range(30)]
    assert admitted == [True] + [False] * 29


def test_automatic_exposure_is_no_change() -> None:
    gate = ChangeGate()
    gate.admit(frame(scene()))
    assert not gate.admit(frame(lit(scene(), 1.2), 1))
    assert not gate.admit(frame(lit(scene(), 0.7, 10), 2))


def test_going_dark_or_blind_is_a_change() -> None:
    for image in (np.zeros_like(scene()), np.full_like(scene(), 255), lit(scene(), 0.2)):
        gate = ChangeGate()
        gate.admit(frame(scene()))
        assert gate.admit(frame(image, 1))


def test_a_flat_picture_that_jumps_is_a_change() -> None:
    gate = ChangeGate()
    gate.admit(frame(np.full((90, 160, 3), 20, np.uint8)))
    assert not gate.admit(frame(np.full((90, 160, 3), 30, np.uint8), 1))
    assert gate.admit(frame(np.full((90, 160, 3), 220, np.uint8), 2))


def test_another_scene_is_a_change() -> None:
    gate = ChangeGate()
    assert all(gate.admit(frame(scene(seed=n), n)) for n in range(4))


@pytest.mark.parametrize("size", [(360, 640), (720, 1280)])
def test_a_small_object_is_a_change_wherever_it_appears_and_when_it_leaves(size: tuple[int, int]) -> None:
    height, width = size
    side = height // 18
    for x, y in ((0, 0), (width // 2, height // 2), (width - side, height - side), (width // 3, height // 5)):
        gate = ChangeGate()
        empty = scene(*size)
        gate.admit(frame(noisy(empty, 3.0, 1)))
        assert gate.admit(frame(noisy(with_object(empty, x, y, side), 3.0, 2), 1))
        assert gate.admit(frame(noisy(empty, 3.0, 3), 2))


def test_an_object_is_seen_while_the_light_drifts() -> None:
    gate = ChangeGate()
    gate.admit(frame(scene()))
    assert gate.admit(frame(lit(with_object(scene(), 300, 200, 30), 0.85, 5), 1))


def test_a_large_object_does_not_pass_for_a_change_of_the_light() -> None:
    gate = ChangeGate()
    gate.admit(frame(scene()))
    assert gate.admit(frame(with_object(scene(), 100, 20, 300), 1))


def test_an_object_as_bright_as_its_background_is_a_change() -> None:
    green = np.full((360, 640, 3), (40, 120, 40), np.uint8)
    red = green.copy()
    red[100:130, 200:230] = (218, 50, 20)
    grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[110, 210] for image in (green, red)]
    assert abs(int(grey[0]) - int(grey[1])) < 12
    gate = ChangeGate()
    gate.admit(frame(green))
    assert gate.admit(frame(red, 1))


def test_slow_movement_adds_up() -> None:
    gate = ChangeGate(ChangeGateOptions(fraction=0.005))
    admitted = [gate.admit(frame(with_object(scene(), 100 + n, 100, 40), n)) for n in range(25)]
    assert admitted[:2] == [True, False]
    assert 1 <= sum(admitted[2:]) <= 12


def test_a_frame_is_admitted_after_the_longest_interval() -> None:
    gate = ChangeGate(ChangeGateOptions(max_interval=10))
    admitted = [second for second in range(35) if gate.admit(frame(scene(), second))]
    assert admitted == [0, 10, 20, 30]


def test_a_clock_that_is_set_back_does_not_shut_the_gate() -> None:
    gate = ChangeGate(ChangeGateOptions(max_interval=10))
    gate.admit(frame(scene(), 1000))
    assert gate.admit(frame(scene(), 0))
    assert not gate.admit(frame(scene(), 5))


def test_another_size_is_a_change() -> None:
    gate = ChangeGate()
    gate.admit(frame(scene(360, 640)))
    assert gate.admit(frame(scene(720, 1280), 1))
    assert gate.admit(frame(scene(640, 360), 2))


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (2, 2)])
def test_odd_sizes(size: tuple[int, int]) -> None:
    gate = ChangeGate()
    assert gate.admit(frame(np.zeros((*size, 3), np.uint8)))
    assert not gate.admit(frame(np.zeros((*size, 3), np.uint8), 1))
    assert gate.admit(frame(np.full((*size, 3), 255, np.uint8), 2))


@pytest.mark.parametrize(
    ("name", "value"),
    [("delta", 0.0), ("delta", 255.0), ("fraction", -0.1), ("fraction", 1.0), ("max_interval", 0.0)],
)
def test_refused_options(name: str, value: float) -> None:
    with pytest.raises(SettingsError, match=name):
        ChangeGateOptions(**{name: value})
