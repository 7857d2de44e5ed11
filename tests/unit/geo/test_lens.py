"""Lenses that bend straight lines: as OpenCV sees them, and as accurate as they say."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import shapely
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sam3edge.core.errors import GeoreferenceError
from sam3edge.geo.calibrate import PointAccuracy, calibrate
from sam3edge.geo.calibration_file import read_calibration, write_calibration
from sam3edge.geo.camera import HORIZON_MARGIN
from sam3edge.geo.control_points import ControlPoint
from sam3edge.geo.frames import CalibratedCamera, PosedCamera
from sam3edge.geo.lens import BendingLens, BrownConrady, Distortion, Fisheye
from sam3edge.geo.lens_file import LensFile
from sam3edge.geo.lensed import LensedCamera
from sam3edge.geo.places import place_of
from sam3edge.geo.pose import CameraPose, PoseAccuracy, camera_of
from support.places import metres
from support.samples import frame

SIZE = (1920, 1080)
CENTRE = (985.5, 521.5)
CCTV = BrownConrady((-0.32, 0.12, 0.0008, -0.0005, -0.02))
"""Of a camera with a short lens, which makes barrels of squares."""
RATIONAL = BrownConrady((-0.1, 0.02, 0.0002, 0.0001, 0.001, 0.15, 0.01, 0.0))
ROUND = Fisheye((-0.02, 0.004, -0.002, 0.0003))


def lens(distortion: Distortion, focal: float = 1250.0) -> BendingLens:
    return BendingLens(SIZE, (focal, 1.01 * focal), CENTRE, distortion)


LENSES = {"cctv": lens(CCTV), "rational": lens(RATIONAL), "fisheye": lens(ROUND, 700.0)}
FRAME = np.stack(np.meshgrid(np.linspace(0, SIZE[0], 25), np.linspace(0, SIZE[1], 19)), -1).reshape(-1, 2)


@pytest.fixture(params=LENSES)
def bending(request: pytest.FixtureRequest) -> BendingLens:
    return LENSES[request.param]


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=30)
def test_it_is_opencvs_model(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.uniform(-0.8, 0.8, (20, 2))
    for count in (4, 5, 8):
        coefficients = rng.normal(0, 0.05, count)
        spatial = np.column_stack([points, np.ones(len(points))])
        theirs, _ = cv2.projectPoints(spatial, np.zeros(3), np.zeros(3), np.eye(3), coefficients)
        np.testing.assert_allclose(BrownConrady(tuple(coefficients)).distorted(points), theirs[:, 0], atol=1e-9)
    coefficients = rng.normal(0, 0.05, 4)
    theirs = cv2.fisheye.distortPoints(points[:, None], np.eye(3), coefficients)
    np.testing.assert_allclose(Fisheye(tuple(coefficients)).distorted(points), theirs[:, 0], atol=1e-9)
    np.testing.assert_array_equal(Fisheye(tuple(coefficients)).distorted(np.zeros((1, 2))), np.zeros((1, 2)))


def test_it_is_undone_as_opencv_does() -> None:
    """Whose pixels are counted from the middle of the first one."""
    one = LENSES["cctv"]
    matrix = np.array([[one.focal[0], 0, CENTRE[0] - 0.5], [0, one.focal[1], CENTRE[1] - 0.5], [0, 0, 1]])
    middle = (FRAME + SIZE) / 3  # farther out, OpenCV's five steps are too few
    theirs = cv2.undistortPoints(middle[:, None] - 0.5, matrix, np.array(CCTV.coefficients))
    ours = (one.ideal(middle) - np.array(SIZE) / 2) / one.focal[0]
    np.testing.assert_allclose(ours, theirs[:, 0], atol=1e-5)


def test_there_and_back(bending: BendingLens) -> None:
    ideal = bending.ideal(FRAME)
    known = np.isfinite(ideal).all(axis=1)
    assert known.mean() > 0.85
    np.testing.assert_allclose(bending.shown(ideal)[known], FRAME[known], atol=1e-5)
    inside = shapely.intersects_xy(bending.field, *FRAME.T)
    assert known[inside].all()
    np.testing.assert_array_equal(bending.ideal(np.full((2, 2), np.nan)), np.full((2, 2), np.nan))


def test_the_derivative_is_that_of_the_function(bending: BendingLens) -> None:
    inside = FRAME[shapely.intersects_xy(bending.field.buffer(-2), *FRAME.T)]
    steps = [bending.ideal(inside + s) - bending.ideal(inside - s) for s in (np.array([0.01, 0]), np.array([0, 0.01]))]
    np.testing.assert_allclose(bending.derivative(inside), np.stack(steps, axis=2) / 0.02, rtol=1e-3, atol=1e-4)


def test_beyond_where_the_model_turns_around_nothing_is_known() -> None:
    """r (1 - 0.4 r^2) is largest at r = 0.913; beyond, the same pixels would show other directions."""
    one = lens(BrownConrady((-0.4,)), focal=900.0)
    edge = 0.9129 * (1 - 0.4 * 0.9129**2) * 900
    spots = np.array([[edge * 0.98, 0.0], [edge * 1.01, 0.0], [5000.0, 5000.0]]) + CENTRE
    np.testing.assert_array_equal(np.isfinite(one.ideal(spots)[:, 0]), [True, False, False])
    far = np.array([[0.95, 0.0], [0.5, 0.0]]) * 900 + np.array(SIZE) / 2
    np.testing.assert_array_equal(np.isfinite(one.shown(far)[:, 0]), [False, True])
    camera = LensedCamera(camera_of(POSE, SIZE, PoseAccuracy()), one)
    outside = shapely.box(0, 1000, 60, 1080)
    assert camera.valid(outside.bounds).is_empty
    assert place_of(outside, outside.bounds, camera) is None
    assert np.isnan(camera.accuracy(spots[1:])).all()


@pytest.mark.parametrize("distortion", [BrownConrady((0.0, 0.0, 30.0, 30.0)), BrownConrady((-1e6,))])
def test_a_lens_that_cannot_be_inverted_anywhere_is_refused(distortion: Distortion) -> None:
    with pytest.raises(GeoreferenceError, match="expected a lens that can be inverted"):
        lens(distortion)


POSE = CameraPose(13.4, 52.5, 8.0, 30.0, 18.0, 2.0, LENSES["cctv"].field_of_view)


def looking(bending: BendingLens, **changes: float) -> LensedCamera:
    pose = replace(POSE, field_of_view=bending.field_of_view, **changes)
    return LensedCamera(camera_of(pose, SIZE, PoseAccuracy()), bending)


def test_what_is_valid_is_what_has_a_place(bending: BendingLens) -> None:
    """The horizon is a curve; of the points that are not near the rim each is on its right side."""
    camera = looking(bending)
    valid = camera.valid((0.0, 0.0, *map(float, SIZE)))
    assert valid.is_valid
    ideal = bending.ideal(FRAME)
    has_place = camera.camera.below_horizon(ideal) >= HORIZON_MARGIN
    assert 0.1 < has_place.mean() < 0.95
    away = shapely.distance(shapely.boundary(valid), shapely.points(FRAME)) > 4.0
    inside_field = shapely.intersects_xy(bending.field, *FRAME.T)
    np.testing.assert_array_equal(shapely.intersects_xy(valid, *FRAME.T)[away], (has_place & inside_field)[away])
    outline = shapely.box(300.0, 100.0, 1500.0, 900.0)
    place = place_of(outline, outline.bounds, camera)
    assert place is not None
    assert 0 < place.outside < 1


def test_edges_bend_on_the_ground(bending: BendingLens) -> None:
    camera = looking(bending, tilt=50.0)
    outline = shapely.box(400.0, 300.0, 1700.0, 1000.0)
    place = place_of(outline, outline.bounds, camera)
    assert place is not None
    truth = shapely.Polygon(camera.to_world(shapely.get_coordinates(shapely.segmentize(outline, 1.0))))
    assert place.geometry.symmetric_difference(truth).area < 1e-3 * truth.area
    straight = shapely.Polygon(camera.to_world(shapely.get_coordinates(outline)))
    assert straight.symmetric_difference(truth).area > 0.01 * truth.area


poses = st.builds(
    CameraPose,
    longitude=st.floats(-180, 180),
    latitude=st.floats(-80, 80),
    height=st.floats(4, 15),
    heading=st.floats(0, 360),
    tilt=st.floats(20, 45),
    roll=st.floats(-3, 3),
    field_of_view=st.just(0.0),
)


def below(camera: LensedCamera, rng: np.random.Generator, count: int, margin: float) -> np.ndarray:
    pixels = rng.uniform((40, 40), (SIZE[0] - 40, SIZE[1] - 40), (20 * count, 2))
    pixels = pixels[shapely.intersects_xy(camera.lens.field, *pixels.T)]
    return pixels[camera.camera.below_horizon(camera.lens.ideal(pixels)) > margin][:count]


@pytest.mark.long
def test_places_are_right_within_the_stated_accuracy(figure: Callable[[str], None]) -> None:
    inside: list[bool] = []
    farthest: dict[bool, list[float]] = {True: [], False: []}

    @settings(max_examples=40)
    @given(poses, st.sampled_from(sorted(LENSES)), st.integers(0, 2**32 - 1))
    def draw(pose: CameraPose, name: str, seed: int) -> None:
        rng, accuracy, bending = np.random.default_rng(seed), PointAccuracy(1.0, 0.02), LENSES[name]
        camera = LensedCamera(
            camera_of(replace(pose, field_of_view=bending.field_of_view), SIZE, PoseAccuracy()), bending
        )
        pixels = below(camera, rng, 12, 120.0)
        assume(len(pixels) == 12 and (np.ptp(pixels, axis=0) > np.array(SIZE) * [0.6, 0.4]).all())
        plane = camera.camera.plane
        surveyed = plane.to_plane(camera.to_world(pixels)) + rng.normal(0, accuracy.metres, pixels.shape)
        marks = np.clip(pixels + rng.normal(0, accuracy.pixels, pixels.shape), 0, SIZE)
        points = [ControlPoint(*m, *w) for m, w in zip(marks, plane.to_world(surveyed), strict=True)]
        try:
            fitted = calibrate(points, SIZE, accuracy, bending)
        except GeoreferenceError:
            assume(False)
        farthest[True].append(max(one.pixels for one in fitted.residuals))
        looked_at = below(camera, rng, 20, 60.0)
        found = fitted.georeference.to_world(looked_at + rng.normal(0, 0.5, looked_at.shape))
        off = np.nan_to_num(metres(camera.to_world(looked_at), np.nan_to_num(found)), nan=np.inf)
        inside.extend(off <= fitted.georeference.accuracy(looked_at))
        try:
            without = calibrate(points, SIZE, accuracy)
        except GeoreferenceError:  # the points do not agree with each other
            farthest[False].append(np.inf)
        else:
            farthest[False].append(np.nan_to_num(max(one.pixels for one in without.residuals), nan=np.inf))

    draw()
    with_lens, without = (float(np.median(farthest[known])) for known in (True, False))
    figure(
        f"places of cameras with lenses: {np.mean(inside):.1%} of {len(inside)} within the stated accuracy; the "
        f"worst of 12 control points is off by {with_lens:.1f} pixels, without its lens by {without:.0f} (medians)"
    )
    assert len(inside) > 300
    assert np.mean(inside) >= 0.95
    assert without > 10 * with_lens


SHARES = np.array([[0.1, 0.8], [0.9, 0.85], [0.5, 0.6], [0.2, 0.45], [0.8, 0.5], [0.5, 0.95], [0.05, 0.6], [0.95, 0.6]])


def control_points(camera: LensedCamera) -> list[ControlPoint]:
    pixels = SHARES * SIZE
    return [ControlPoint(*p, *w) for p, w in zip(pixels, camera.to_world(pixels), strict=True)]


def test_exact_points_give_the_camera_back(bending: BendingLens) -> None:
    camera = looking(bending, tilt=30.0)
    calibration = calibrate(control_points(camera), SIZE, PointAccuracy(), bending)
    assert all(one.used and one.pixels < 0.01 and one.metres < 0.01 for one in calibration.residuals)
    looked_at = below(camera, np.random.default_rng(1), 30, 60.0)
    np.testing.assert_allclose(calibration.georeference.to_pixels(camera.to_world(looked_at)), looked_at, atol=0.01)


def test_a_mark_outside_of_the_lens_is_refused_by_name() -> None:
    one = lens(BrownConrady((-0.4,)), focal=900.0)
    near = [
        replace(p, x=0.4 * p.x + 580, y=0.4 * p.y + 310) for p in control_points(looking(LENSES["cctv"], tilt=40.0))
    ]
    points = [*near[:5], ControlPoint(1, 1079, 13.4, 52.5, "kerb")]
    with pytest.raises(GeoreferenceError, match=r"control point 6 \(kerb\) is where the lens cannot be inverted"):
        calibrate(points, SIZE, PointAccuracy(), one)


def test_a_calibration_keeps_its_lens(bending: BendingLens, tmp_path: Path) -> None:
    calibration = calibrate(control_points(looking(bending, tilt=30.0)), SIZE, PointAccuracy(), bending)
    write_calibration(tmp_path / "c.json", calibration, PointAccuracy())
    read = read_calibration(tmp_path / "c.json").camera()
    looked_at = SHARES[:5] * SIZE
    np.testing.assert_allclose(read.to_world(looked_at), calibration.georeference.to_world(looked_at), atol=1e-12)
    np.testing.assert_allclose(read.accuracy(looked_at), calibration.georeference.accuracy(looked_at), rtol=1e-9)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"model": "pinhole"}, "is not a calibration: lens.model"),
        ({"focal": [0.0, 1.0]}, "is not a calibration: lens.focal"),
        ({"coefficients": [0.1] * 9}, "is not a calibration: lens.coefficients"),
        ({"coefficients": [-1e9]}, "expected a lens that can be inverted"),
        ({"model": "fisheye", "coefficients": [0.1] * 5}, "at most 4 coefficients"),
    ],
)
def test_a_damaged_lens_is_refused_as_other_damage_is(change: dict[str, object], reason: str, tmp_path: Path) -> None:
    bending, path = LENSES["cctv"], tmp_path / "c.json"
    calibration = calibrate(control_points(looking(bending, tilt=30.0)), SIZE, PointAccuracy(), bending)
    write_calibration(path, calibration, PointAccuracy())
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "lens": {**document["lens"], **change}}))
    with pytest.raises(GeoreferenceError, match=reason):
        CalibratedCamera(path, [].append)


def test_a_pose_with_a_lens_is_for_frames_of_any_size() -> None:
    one = LENSES["cctv"]
    posed = PosedCamera(POSE, PoseAccuracy(), LensFile("lens.yaml", SIZE, one.focal, one.centre, CCTV))
    full, half = (
        posed.georeference_of(replace(frame(np.zeros((10, 10, 3), np.uint8)), size=size)) for size in (SIZE, (960, 540))
    )
    looked_at = SHARES * SIZE
    np.testing.assert_allclose(full.to_world(looked_at), looking(one).to_world(looked_at), atol=1e-12)
    np.testing.assert_allclose(half.to_world(looked_at / 2), full.to_world(looked_at), atol=1e-9)
    assert (full.accuracy(looked_at) > 0).all()
    with pytest.raises(GeoreferenceError, match="which are cut"):
        posed.georeference_of(frame(np.zeros((480, 640, 3), np.uint8)))


def test_a_pose_with_a_lens_that_says_no_size_is_for_frames_around_its_axis() -> None:
    one = LENSES["cctv"]
    posed = PosedCamera(POSE, PoseAccuracy(), LensFile("lens.yaml", None, one.focal, one.centre, CCTV))
    whole = replace(frame(np.zeros((10, 10, 3), np.uint8)), size=SIZE)
    np.testing.assert_allclose(
        posed.georeference_of(whole).to_world(SHARES * SIZE), looking(one).to_world(SHARES * SIZE)
    )
    with pytest.raises(GeoreferenceError, match=r"the optical axis of the lens lens\.yaml is at 986, 522"):
        posed.georeference_of(frame(np.zeros((480, 640, 3), np.uint8)))
