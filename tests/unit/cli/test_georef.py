"""``sam3edge georef calibrate``: a table and a frame become a calibration, a picture and words."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from sam3edge.cli.main import app
from sam3edge.core.georeference import Georeference
from sam3edge.geo.calibration_file import read_calibration
from sam3edge.geo.lens_file import read_lens
from sam3edge.geo.lensed import LensedCamera
from sam3edge.geo.pose import CameraPose, PoseAccuracy, camera_of
from support.places import metres
from support.street import street

SIZE = (1280, 720)
CAMERA = camera_of(CameraPose(13.4, 52.5, 8.0, 30.0, 12.0, 0.0, 65.0), SIZE, PoseAccuracy())
MARKS = np.array([[100.0, 650], [1200, 680], [640, 500], [200, 330], [1100, 340], [640, 300], [400, 420], [900, 420]])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    cv2.imwrite(str(tmp_path / "frame.png"), np.full((SIZE[1], SIZE[0], 3), 60, np.uint8))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_points(
    folder: Path, marks: np.ndarray = MARKS, places: np.ndarray = MARKS, camera: Georeference = CAMERA
) -> None:
    rows = (
        f"p{n},{x},{y},{lon:.9f},{lat:.9f}"
        for n, ((x, y), (lon, lat)) in enumerate(zip(marks, camera.to_world(places), strict=True))
    )
    (folder / "points.csv").write_text("name,x,y,longitude,latitude\n" + "\n".join(rows) + "\n")


def test_a_camera_is_calibrated(folder: Path) -> None:
    write_points(folder)
    result = CliRunner().invoke(app, ["georef", "calibrate", "frame.png", "points.csv", "--source", "front"])
    assert result.exit_code == 0, result.output
    assert "1 p0" in result.output
    assert "lower edge of the frame: within 0." in result.output
    assert "upper edge of the frame: no ground: above the horizon" in result.output
    document = read_calibration(folder / "calibration.json")
    assert document.source == "front"
    middle = np.array([[640.0, 450.0]])
    assert metres(document.camera().to_world(middle), CAMERA.to_world(middle))[0] < 0.01


def test_the_picture_shows_marks_outliers_and_the_horizon(folder: Path) -> None:
    marks = MARKS.copy()
    marks[2] += [0, 120]
    write_points(folder, marks)
    result = CliRunner().invoke(app, ["georef", "calibrate", "frame.png", "points.csv"])
    assert result.exit_code == 0, result.output
    assert "left out: does not agree with the others" in result.output
    picture = cv2.cvtColor(cv2.imread("calibration.png"), cv2.COLOR_BGR2RGB).astype(int)

    def shown(color: tuple[int, int, int], x: float, y: float) -> bool:
        near = picture[max(0, int(y) - 14) : int(y) + 14, max(0, int(x) - 14) : int(x) + 14]
        return bool((np.abs(near - color).sum(-1) < 60).any())

    assert shown((230, 40, 40), *marks[2])
    assert shown((255, 220, 0), *MARKS[2])
    assert shown((40, 200, 40), *marks[0])
    horizon = 360 - float(CAMERA.below_horizon(np.array([[640.0, 360.0]]))[0])
    assert shown((80, 160, 255), 640, horizon)


def test_what_the_camera_sees_is_kept_as_numbers(folder: Path) -> None:
    write_points(folder)
    without = CliRunner().invoke(app, ["georef", "calibrate", "frame.png", "points.csv", "--out", "plain.json"])
    assert "nothing in this frame can be recognised again" in without.output
    assert read_calibration(folder / "plain.json").seen_background() is None
    cv2.imwrite(str(folder / "frame.png"), street(0)[..., ::-1])
    result = CliRunner().invoke(app, ["georef", "calibrate", "frame.png", "points.csv"])
    assert result.exit_code == 0, result.output
    assert "recognised" not in result.output
    background = read_calibration(folder / "calibration.json").seen_background()
    assert background is not None
    assert background.is_recognisable


LENS = """image_width: 640
image_height: 360
camera_matrix: {rows: 3, cols: 3, data: [500, 0, 319.5, 0, 500, 179.5, 0, 0, 1]}
distortion_coefficients: {rows: 1, cols: 5, data: [-0.3, 0.1, 0, 0, 0]}
"""
"""Calibrated with pictures of half the size."""


def test_a_lens_is_taken_out(folder: Path) -> None:
    (folder / "lens.yaml").write_text(LENS)
    bending = read_lens(folder / "lens.yaml").lens_for(SIZE)
    pose = CameraPose(13.4, 52.5, 8.0, 30.0, 12.0, 0.0, bending.field_of_view)
    camera = LensedCamera(camera_of(pose, SIZE, PoseAccuracy()), bending)
    write_points(folder, MARKS, MARKS, camera)
    arguments = ["georef", "calibrate", "frame.png", "points.csv", "--place-accuracy", "0.02"]
    result = CliRunner().invoke(app, [*arguments, "--lens", "lens.yaml"])
    assert result.exit_code == 0, result.output
    assert "times what the stated" not in result.output
    middle = np.array([[640.0, 450.0], [200.0, 600.0]])
    read = read_calibration(folder / "calibration.json").camera()
    assert metres(read.to_world(middle), camera.to_world(middle)).max() < 0.01
    picture = cv2.cvtColor(cv2.imread("calibration.png"), cv2.COLOR_BGR2RGB).astype(int)
    rows = [np.flatnonzero(np.abs(picture[:, x] - (80, 160, 255)).sum(-1) < 60).min() for x in (20, 640, 1260)]
    assert max(rows[0], rows[2]) - rows[1] > 10  # the horizon bends
    without = CliRunner().invoke(app, [*arguments, "--out", "without.json"])
    assert "left out" in without.output or "whether the lens bends straight lines (--lens)" in without.output
    assert CliRunner().invoke(app, [*arguments, "--lens", "points.csv"]).exit_code == 2


def test_bad_points_are_refused_in_words(folder: Path) -> None:
    write_points(folder, np.stack([np.linspace(100, 1100, 8), np.linspace(400, 700, 8)], 1))
    result = CliRunner().invoke(app, ["georef", "calibrate", "frame.png", "points.csv"])
    assert result.exit_code == 2
    assert "on one line in the picture" in result.output
    assert not (folder / "calibration.json").exists()


@pytest.mark.parametrize(
    "written",
    [
        ["--drawing", "frame.png"],
        ["--drawing", "./sub/../frame.png"],
        ["--drawing", "points.csv"],
        ["--out", "points.csv"],
        ["--out", "lens.yaml", "--lens", "lens.yaml"],
        ["--out", "calibration.png"],
    ],
)
def test_what_is_read_is_not_written_over(written: list[str], folder: Path) -> None:
    write_points(folder)
    (folder / "sub").mkdir()
    (folder / "lens.yaml").write_text("camera_matrix: []")
    before = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    result = CliRunner().invoke(app, ["georef", "calibrate", "frame.png", "points.csv", *written])
    assert result.exit_code == 2
    assert "expected another file for --" in result.output
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


def test_a_missing_frame_is_refused_in_words(folder: Path) -> None:
    write_points(folder)
    result = CliRunner().invoke(app, ["georef", "calibrate", "nowhere.png", "points.csv"])
    assert result.exit_code == 2
    assert "expected a file" in result.output


def test_large_residuals_are_said(folder: Path) -> None:
    rng = np.random.default_rng(4)
    write_points(folder, MARKS + rng.normal(0, 12, MARKS.shape))
    arguments = ["georef", "calibrate", "frame.png", "points.csv", "--place-accuracy", "0.01"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "times what the stated accuracies say" in result.output
