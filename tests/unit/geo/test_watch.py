"""A camera that was turned is noticed, and nothing else is taken for it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest

from sam3edge.core.errors import GeoreferenceError
from sam3edge.core.georeference import Georeference
from sam3edge.core.types import RgbImage
from sam3edge.geo.background import MAX_KEYPOINTS, Background, background_of
from sam3edge.geo.calibrate import PointAccuracy
from sam3edge.geo.calibration_file import MAX_BYTES, read_calibration, write_calibration
from sam3edge.geo.frames import CalibratedCamera
from sam3edge.geo.lens import BendingLens, BrownConrady, Distortion, Fisheye
from sam3edge.geo.lensed import LensedCamera
from sam3edge.geo.pose import PoseAccuracy, camera_of
from sam3edge.geo.watch import CHECK_SECONDS, MOVED_CHECKS, BackgroundWatch
from support.places import CAMERA, CAMERA_SIZE, POSE, calibration_of
from support.samples import frame
from support.street import behind, brighter, noisy, street, turned

SEEDS = range(2)
MANY_SEEDS = range(12)

SURVEYED = calibration_of(CAMERA, PointAccuracy(0.5, 0.05)).camera
ROUGH = calibration_of(CAMERA, PointAccuracy(2.0, 1.0)).camera


@cache
def seen(seed: int) -> Background:
    return background_of(street(seed), CAMERA_SIZE)


class Watching:
    """A watch whose clock goes on by itself: every picture is compared."""

    def __init__(self, background: Background, camera: Georeference = SURVEYED) -> None:
        self.now = 0.0
        self.watch = BackgroundWatch(background, camera, "front.json", lambda: self.now)

    def __call__(self, image: RgbImage, times: int = 1) -> str:
        """The state after this picture; a camera that has moved is refused, and only that."""
        for _ in range(times):
            refused = ""
            try:
                self.watch.require_unmoved(frame(image))
            except GeoreferenceError as error:
                refused = str(error)
            self.now += CHECK_SECONDS
        state = self.watch.status.state
        assert bool(refused) == (state == "moved")
        assert state != "moved" or "the calibration front.json: what it saw is" in refused
        return state


TURNS = [
    *({"pan": float(a)} for a in (1, -2, 5, 10)),
    *({"tilt": float(a)} for a in (1, -3, 10)),
    *({"roll": float(a)} for a in (3, -10)),
]


@pytest.mark.parametrize("turn", TURNS, ids=str)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_turned_camera_is_noticed_in_a_few_checks_and_one_that_is_turned_back_too(
    turn: dict[str, float], seed: int
) -> None:
    see = Watching(seen(seed))
    assert see(street(seed)) == "confirmed"
    elsewhere = noisy(turned(street(seed), **turn), np.random.default_rng(seed), 4.0)
    assert see(elsewhere, MOVED_CHECKS - 1) == "unconfirmed"
    assert see(elsewhere) == "moved"
    assert see(np.zeros_like(elsewhere), 2) == "moved"  # the night turns nothing back
    assert see(street(seed)) == "confirmed"


def test_a_turn_that_leaves_places_as_accurate_as_stated_is_none() -> None:
    small = turned(street(0), pan=1.0)
    assert Watching(seen(0), ROUGH)(small, MOVED_CHECKS) == "confirmed"
    assert Watching(seen(0), SURVEYED)(small, MOVED_CHECKS) == "moved"
    assert Watching(seen(0), ROUGH)(turned(street(0), pan=10.0), MOVED_CHECKS) == "moved"


def test_it_says_by_how_much() -> None:
    see = Watching(seen(0))
    see(turned(street(0), pan=5.0), MOVED_CHECKS)
    with pytest.raises(GeoreferenceError, match=r"what it saw is 9\d pixels from where it was; turn it back, or"):
        see.watch.require_unmoved(frame(np.zeros((720, 1280, 3), np.uint8)))


def lit(image: RgbImage, other: RgbImage, rng: np.random.Generator) -> RgbImage:
    return brighter(image, rng.uniform(0.3, 1.8), rng.uniform(-20, 50))


def blurred(image: RgbImage, other: RgbImage, rng: np.random.Generator) -> RgbImage:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(1, 8)), np.uint8)


def foggy(image: RgbImage, other: RgbImage, rng: np.random.Generator) -> RgbImage:
    return noisy(brighter(image, rng.uniform(0.02, 0.3), 180), rng, 4.0)


def night(image: RgbImage, other: RgbImage, rng: np.random.Generator) -> RgbImage:
    return noisy(brighter(image, rng.uniform(0.0, 0.15), 0), rng, 8.0)


def lorry(image: RgbImage, other: RgbImage, rng: np.random.Generator) -> RgbImage:
    return behind(image, other, rng.uniform(0.1, 0.45), rng.uniform(0, 1))


def shaken(image: RgbImage, other: RgbImage, rng: np.random.Generator) -> RgbImage:
    shift = np.array([[1, 0, rng.uniform(-2, 2)], [rng.uniform(-2e-3, 2e-3), 1, rng.uniform(-1, 1)]])
    return np.asarray(cv2.warpAffine(image, shift, CAMERA_SIZE, borderMode=cv2.BORDER_REFLECT), np.uint8)


Change = Callable[[RgbImage, RgbImage, np.random.Generator], RgbImage]


CHANGES: tuple[Change, ...] = (lit, blurred, foggy, night, lorry, shaken)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_nothing_else_is_taken_for_a_camera_that_moved(change: Change) -> None:
    for seed in SEEDS:
        rng, see = np.random.default_rng(seed), Watching(seen(seed))
        for _ in range(MOVED_CHECKS):
            assert see(change(street(seed), street(seed + 100), rng)) in ("confirmed", "unconfirmed")


@pytest.mark.parametrize("change", [lit, lorry, shaken], ids=lambda change: change.__name__)
def test_a_background_that_can_be_seen_is_confirmed(change: Change) -> None:
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        assert Watching(seen(seed))(change(street(seed), street(seed + 100), rng)) == "confirmed"


@pytest.mark.slow
@pytest.mark.long
def test_of_many_cameras_those_that_were_turned_are_noticed_and_no_others(figure: Callable[[str], None]) -> None:
    noticed, states, seconds = 0, list[str](), list[float]()
    for seed in MANY_SEEDS:
        rng, background = np.random.default_rng(seed), background_of(street(seed), CAMERA_SIZE)
        for change in CHANGES:
            see = Watching(background)
            for picture in [change(street(seed), street(seed + 100), rng) for _ in range(MOVED_CHECKS)]:
                started = time.perf_counter()
                states.append(see(picture))
                seconds.append(time.perf_counter() - started)
        for turn in TURNS:
            changed = lit(turned(street(seed), **turn), street(0), rng)
            noticed += Watching(background)(changed, MOVED_CHECKS) == "moved"
    turned_count = len(TURNS) * len(MANY_SEEDS)
    counts = {state: states.count(state) for state in ("confirmed", "unconfirmed", "moved")}
    figure(
        f"cameras that were turned: {noticed} of {turned_count} noticed; pictures of others: {counts}; a check takes "
        f"{1000 * np.median(seconds):.0f} ms, or {np.median(seconds) / CHECK_SECONDS:.1%} of the time"
    )
    assert noticed >= 0.98 * turned_count
    assert not counts["moved"]


def test_something_large_that_stood_there_and_moved_on_is_not_the_background() -> None:
    for seed in SEEDS:
        rng, lorry = np.random.default_rng(seed), street(seed + 100)
        see = Watching(background_of(behind(street(seed), lorry, 0.3, 0.0), CAMERA_SIZE))
        for _ in range(MOVED_CHECKS):
            assert see(behind(street(seed), lorry, 0.3, rng.uniform(0.2, 1.0))) == "confirmed"


def test_something_large_that_is_all_that_can_be_seen_is_not_the_background() -> None:
    """As a lorry that stood there in daylight, at night, in its own light."""
    for seed in SEEDS:
        lorry, night = street(seed + 100), np.zeros_like(street(seed))
        see = Watching(background_of(behind(street(seed), lorry, 0.3, 0.26), CAMERA_SIZE))
        assert see(behind(night, lorry, 0.3, 0.6), 2 * MOVED_CHECKS) == "unconfirmed"


def test_words_that_the_camera_writes_do_not_hide_that_it_was_turned() -> None:
    def written(image: RgbImage) -> RgbImage:
        return np.asarray(
            cv2.putText(image.copy(), "Camera 7 North 2026-11-28", (20, 60), 0, 1.6, (255, 255, 255), 3), np.uint8
        )

    for seed in SEEDS:
        see = Watching(background_of(written(street(seed)), CAMERA_SIZE))
        assert see(written(turned(street(seed), pan=4.0)), MOVED_CHECKS) == "moved"


@pytest.mark.parametrize("distortion", [BrownConrady((-0.32, 0.12)), Fisheye((-0.02, 0.004))], ids=["cctv", "fisheye"])
def test_a_turned_camera_is_noticed_through_a_lens_that_bends(distortion: Distortion) -> None:
    lens = BendingLens(CAMERA_SIZE, (700.0, 700.0), (650.0, 350.0), distortion)
    pose = replace(POSE, field_of_view=lens.field_of_view)
    exact = camera_of(pose, CAMERA_SIZE, PoseAccuracy(0.05, 0.02, 0.1, 0.1, 0.1, 0.1))
    see = Watching(background_of(bent(street(0), lens), CAMERA_SIZE), LensedCamera(exact, lens))
    assert see(noisy(bent(street(0), lens), np.random.default_rng(0), 4.0)) == "confirmed"
    for turn in ({"pan": 3.0}, {"tilt": -4.0}, {"roll": 6.0}):
        assert see(bent(turned(street(0), **turn), lens), MOVED_CHECKS) == "moved"
        assert see(bent(street(0), lens)) == "confirmed"


def bent(image: RgbImage, lens: BendingLens) -> RgbImage:
    """What the lens makes of an ideal picture; the way there is smooth, so that every eighth pixel says it."""
    width, height = CAMERA_SIZE
    x, y = np.meshgrid(np.arange(4, width, 8), np.arange(4, height, 8))
    ideal = lens.ideal(np.stack([x, y], -1).reshape(-1, 2).astype(np.float64)).reshape(*x.shape, 2)
    ways = cv2.resize(np.nan_to_num(ideal).astype(np.float32), CAMERA_SIZE) - 0.5
    return np.asarray(cv2.remap(image, ways, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT), np.uint8)


def test_a_gust_changes_nothing() -> None:
    see = Watching(seen(0))
    for turn in (0.0, 2.0, -2.0, 0.0, 1.5, 3.0, 0.0):
        assert see(turned(street(0), pan=turn)) != "moved"


def test_a_camera_at_another_place_is_not_confirmed() -> None:
    see = Watching(seen(0))
    assert see(street(1), 2 * MOVED_CHECKS) == "unconfirmed"


def test_frames_are_compared_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    from sam3edge.geo import watch

    looked = []
    monkeypatch.setattr(watch, "background_of", lambda *given: looked.append(1) or seen(0))
    now = 0.0
    one = BackgroundWatch(seen(0), SURVEYED, "front.json", lambda: now)
    for second in range(100):
        now = float(second)
        one.require_unmoved(frame(street(0)))
    assert len(looked) == 100 / CHECK_SECONDS


def test_what_is_kept_is_bounded_and_spread() -> None:
    background = background_of(street(3, things=6000), CAMERA_SIZE)
    assert MAX_KEYPOINTS * 0.9 < len(background.points) <= MAX_KEYPOINTS
    counts, _, _ = np.histogram2d(*background.points.T, bins=(8, 4), range=((0, 1280), (0, 720)))
    assert counts.min() > 0.5 * counts.mean()
    assert not background_of(np.full((720, 1280, 3), 60, np.uint8), CAMERA_SIZE).is_recognisable


def test_a_frame_that_was_decoded_smaller_is_compared_as_well() -> None:
    small = np.asarray(cv2.resize(street(0), (640, 360), interpolation=cv2.INTER_AREA), np.uint8)
    see = Watching(seen(0))
    see.watch.require_unmoved(replace(frame(small), size=CAMERA_SIZE))
    assert see.watch.status.state == "confirmed"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_calibration(tmp_path / "c.json", calibration_of(CAMERA), PointAccuracy(), "", seen(0))
    return tmp_path / "c.json"


def test_a_background_is_read_as_it_was_written(path: Path) -> None:
    read = read_calibration(path).seen_background()
    assert read is not None
    np.testing.assert_allclose(read.points, seen(0).points, atol=1e-3)
    np.testing.assert_array_equal(read.descriptors, seen(0).descriptors)
    assert path.stat().st_size < 150_000 < MAX_BYTES
    assert CalibratedCamera(path, [].append).background is not None


def test_a_calibration_of_a_version_without_backgrounds_notices_nothing(path: Path) -> None:
    document = json.loads(path.read_text())
    del document["background"]
    path.write_text(json.dumps(document))
    camera = CalibratedCamera(path, [].append)
    assert camera.background is None
    assert camera.georeference_of(frame(np.zeros((720, 1280, 3), np.uint8))).size == CAMERA_SIZE


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"points": "AAAA"}, "expected a background of points of 8 bytes with 32 bytes each, got 3 and"),
        ({"descriptors": "@@@@"}, "expected a background in base64"),
        ({"descriptors": "é"}, "expected a background in base64"),
        ({"descriptors": "A" * 200_000}, "is not a calibration: background.descriptors"),
        ({"kind": "sift"}, "is not a calibration: background.kind"),
        ({"points": "AACAfwAAgH8=", "descriptors": "A" * 43 + "="}, "expected a background within the frame"),
        ({"points": "AADAfwAAwH8=", "descriptors": "A" * 43 + "="}, "expected a background within the frame"),
    ],
)
def test_a_damaged_background_is_refused_as_other_damage_is(path: Path, change: dict[str, str], reason: str) -> None:
    refused: list[Exception] = []
    camera = CalibratedCamera(path, refused.append)
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "background": {**document["background"], **change}}))
    with pytest.raises(GeoreferenceError, match=reason):
        CalibratedCamera(path, [].append)
    assert camera.georeference_of(frame(street(0))).size == CAMERA_SIZE  # the one before stays
    assert len(refused) == 1
