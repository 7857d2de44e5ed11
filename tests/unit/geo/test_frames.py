"""Which georeference a frame has: the camera's, while it fits, or its file's."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from sam3edge.core.errors import GeoreferenceError
from sam3edge.core.types import Frame
from sam3edge.geo.calibrate import Calibration, PointAccuracy, calibrate
from sam3edge.geo.calibration_file import read_calibration, write_calibration
from sam3edge.geo.control_points import ControlPoint, read_control_points
from sam3edge.geo.drone import DroneOptions
from sam3edge.geo.frames import CalibratedCamera, DronePhotographs, PosedCamera, RasterFiles
from sam3edge.geo.pose import PoseAccuracy
from sam3edge.geo.raster import RasterOptions
from sam3edge.images.files import read_frame
from sam3edge_pipeline.synthetic.georeferenced import WORLDS
from support.media import exif_block, with_exif
from support.places import CAMERA, CAMERA_SIZE, DJI, EXIF, POSE, drone_photograph, metres, write_raster
from support.samples import frame

MARKS = np.array([[100.0, 650], [1200, 680], [640, 500], [200, 300], [1100, 320], [640, 250]])
MIDDLE = np.array([[640.0, 400.0]])


def calibration(shift: float = 0.0) -> Calibration:
    pairs = zip(MARKS, CAMERA.to_world(MARKS) + np.array([shift, 0.0]), strict=True)
    return calibrate([ControlPoint(*m, *w, name="a") for m, w in pairs], CAMERA_SIZE, PointAccuracy())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_calibration(tmp_path / "c.json", calibration(), PointAccuracy(), "front")
    return tmp_path / "c.json"


def of_camera(source: str = "front", size: tuple[int, int] = CAMERA_SIZE) -> Frame:
    return replace(frame(np.zeros((size[1], size[0], 3), np.uint8)), source=source)


def refusals() -> list[Exception]:
    return []


def test_a_calibration_is_read_as_it_was_written(path: Path) -> None:
    fitted, read = calibration().camera, CalibratedCamera(path, refusals().append).georeference_of(of_camera())
    np.testing.assert_allclose(read.to_world(MARKS), fitted.to_world(MARKS), atol=1e-12)
    np.testing.assert_allclose(read.accuracy(MARKS), fitted.accuracy(MARKS), rtol=1e-9)
    document = read_calibration(path)
    assert [p.used for p in document.control_points] == [True] * 6
    assert document.source == "front"


def test_frames_of_another_size_have_no_place(path: Path) -> None:
    georeferencing = CalibratedCamera(path, refusals().append)
    with pytest.raises(GeoreferenceError, match="for frames of 1280 x 720 pixels, got 640 x 360"):
        georeferencing.georeference_of(of_camera(size=(640, 360)))
    assert georeferencing.georeference_of(of_camera()).size == CAMERA_SIZE


def test_frames_of_another_camera_have_no_place(path: Path) -> None:
    with pytest.raises(GeoreferenceError, match="of the camera 'front', the frame of 'back'; calibrate this camera"):
        CalibratedCamera(path, refusals().append).georeference_of(of_camera("back"))


def test_a_new_calibration_takes_effect_with_the_next_frame(path: Path) -> None:
    refused = refusals()
    georeferencing = CalibratedCamera(path, refused.append)
    before = georeferencing.georeference_of(of_camera()).to_world(MIDDLE)
    write_calibration(path, calibration(shift=0.001), PointAccuracy(), "front")
    after = georeferencing.georeference_of(of_camera()).to_world(MIDDLE)
    assert after[0, 0] - before[0, 0] == pytest.approx(0.001, abs=1e-6)
    assert not refused


@pytest.mark.parametrize("damage", ["{", "{}", "", None])
def test_a_damaged_new_calibration_is_refused_once_and_the_old_one_stays(path: Path, damage: str | None) -> None:
    refused = refusals()
    georeferencing = CalibratedCamera(path, refused.append)
    before = georeferencing.georeference_of(of_camera()).to_world(MIDDLE)
    path.unlink()
    if damage is not None:
        path.write_text(damage)
    for _ in range(2):
        np.testing.assert_array_equal(georeferencing.georeference_of(of_camera()).to_world(MIDDLE), before)
    assert len(refused) == 1


def test_a_calibration_that_cannot_be_used_says_why(path: Path) -> None:
    document = json.loads(path.read_text())
    first, *others = document["ground_to_pixel"]
    for change, reason in (
        ({"ground_to_pixel": [[1, 2, 3], [2, 4, 6], [0, 0, 1]]}, "that can be inverted"),
        ({"ground_to_pixel": [[-n for n in first], *others]}, "mirrored"),
        ({"covariance": [[1.0]]}, "9 x 9"),
        ({"covariance": [[1.0] * 9, [1.0]]}, "9 x 9"),
        ({"size": [0, 720]}, "is not a calibration: size"),
        ({"format": "sam3edge-calibration-9"}, "is not a calibration: format"),
    ):
        path.write_text(json.dumps({**document, **change}))
        with pytest.raises(GeoreferenceError, match=reason):
            CalibratedCamera(path, refusals().append)


def test_a_pose_is_for_frames_of_any_size() -> None:
    posed = PosedCamera(POSE, PoseAccuracy())
    large, small = (posed.georeference_of(of_camera(size=size)) for size in ((1280, 720), (640, 360)))
    np.testing.assert_allclose(large.to_world(MIDDLE), small.to_world(MIDDLE / 2), atol=1e-12)


UTM = WORLDS["utm"]


def rasters(folder: Path) -> RasterFiles:
    return RasterFiles(folder, RasterOptions())


def test_a_raster_in_a_folder_below_the_watched_one_is_found(tmp_path: Path) -> None:
    (tmp_path / "today").mkdir()
    write_raster(tmp_path / "today" / "a.tif", crs=UTM.crs, transform=UTM.transform)
    shown = replace(read_frame(tmp_path / "today" / "a.tif"), name="today/a.tif")
    assert rasters(tmp_path).georeference_of(shown).size == (640, 512)


def test_a_file_that_was_replaced_or_has_gone_places_nothing(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", crs=UTM.crs, transform=UTM.transform)
    shown = read_frame(path)
    write_raster(path, 320, 256, crs=UTM.crs, transform=UTM.transform)
    with pytest.raises(GeoreferenceError, match="was replaced"):
        rasters(tmp_path).georeference_of(shown)
    path.unlink()
    with pytest.raises(GeoreferenceError, match="cannot be read once more"):
        rasters(tmp_path).georeference_of(shown)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_photographs_are_where_their_pixels_are(tmp_path: Path, orientation: int) -> None:
    """A mark in the picture is found where the decoder shows it, and placed where the file stores it."""
    stored = np.full((300, 400, 3), 40, np.uint8)
    cv2.circle(stored, (301, 81), 12, (255, 255, 255), -1)
    data = with_exif(cv2.imencode(".jpg", stored)[1].tobytes(), ".jpg", exif_block(orientation))
    (tmp_path / "a.jpg").write_bytes(data)
    (tmp_path / "a.jgw").write_text("0.5\n0\n0\n-0.5\n391000.25\n5819999.75\n")
    shown = read_frame(tmp_path / "a.jpg")
    georeference = RasterFiles(tmp_path, RasterOptions(crs=UTM.crs)).georeference_of(shown)
    assert georeference.size == (shown.width, shown.height)
    rows, columns = np.nonzero(shown.image[..., 0] > 150)
    mark = np.array([[columns.mean() + 0.5, rows.mean() + 0.5]])
    truth = np.stack(UTM.to_earth(np.array([[301.5, 81.5]])), 1)
    assert metres(georeference.to_world(mark), truth)[0] < 0.3


def test_drone_photographs_have_a_camera_each(tmp_path: Path) -> None:
    places = []
    for name, yaw in (("a.jpg", "0.0"), ("b.jpg", "90.0")):
        drone_photograph(tmp_path / name, EXIF, {**DJI, "GimbalYawDegree": yaw})
        shown = read_frame(tmp_path / name)
        georeference = DronePhotographs(tmp_path, DroneOptions()).georeference_of(shown)
        places.append(georeference.to_world(np.array([[200.0, 150.0]]))[0])
    assert places[0] == pytest.approx([13.4, 52.5 + 83.9 / 111_270], abs=1e-5)
    assert places[1][0] > 13.4005


def test_control_points_are_read_from_tables(tmp_path: Path) -> None:
    table = tmp_path / "p.csv"
    table.write_text("\ufeffName;Lon;Lat;X;Y\nkerb;13.4;52.5;10;20.5\n\n;13.41;52.51;30;40\n")
    assert read_control_points(table) == [
        ControlPoint(10, 20.5, 13.4, 52.5, "kerb"),
        ControlPoint(30, 40, 13.41, 52.51, ""),
    ]
    for text, reason in (
        ("x,y,lon\n1,2,3\n", "expected columns x, y, longitude and latitude .*got x, y, lon"),
        ("x,y,lon,lat\n1,2,3,here\n", "expected four numbers in line 2"),
        ("x,y,lon,lat\n1,2,3\n", "expected four numbers in line 2"),
        ("x,y,lon,lat\n1,2,nan,4\n", "expected four finite numbers in line 2"),
        ("", "is empty"),
    ):
        table.write_text(text)
        with pytest.raises(GeoreferenceError, match=reason):
            read_control_points(table)
    with pytest.raises(GeoreferenceError, match="cannot be read"):
        read_control_points(tmp_path / "nowhere.csv")


def test_the_digest_is_of_the_file_that_was_decoded(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", crs=UTM.crs, transform=UTM.transform)
    before = path.stat()
    shown = read_frame(path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert shown.digest != f"sha256:{hashlib.sha256(bytes(data)).hexdigest()}"
    with pytest.raises(GeoreferenceError, match="was replaced"):
        rasters(tmp_path).georeference_of(shown)
