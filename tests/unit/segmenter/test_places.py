"""The segmenter with a georeference: places in its messages, live, and what it says when there are none."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import geojson_pydantic
import numpy as np
import pytest
import rasterio
from rasterio.transform import Affine
from rasterio.windows import Window

from sam3edge.core.errors import GeoreferenceError, SettingsError
from sam3edge.geo import watch
from sam3edge.geo.background import background_of
from sam3edge.geo.calibrate import PointAccuracy
from sam3edge.geo.calibration_file import write_calibration
from sam3edge.segmenter.places import REPORT_PAUSE, Places
from sam3edge.segmenter.settings import Settings, read_settings
from sam3edge_pipeline.synthetic.georeferenced import WORLDS, draw_world, write_geotiff
from support.places import CAMERA, CAMERA_SIZE, RPCS, calibration_of, metres, write_camera, write_raster
from support.samples import frame as sample
from support.samples import red_square
from support.segmenter import Device, use_fake_engines
from support.street import street, turned


@pytest.fixture(autouse=True)
def _fake_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    use_fake_engines(monkeypatch)


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    one = Device(tmp_path)
    yield one
    one.close()


def configure(device: Device, **keys: Any) -> None:
    device.nucleus.configure({**device.nucleus.configuration(), **keys})
    device.nucleus.settle()


def feature(device: Device, number: int) -> dict[str, Any]:
    device.wait(lambda: len(device.published("detections")) >= number)
    [one] = device.published("detections")[number - 1]["features"]
    return dict(one)


def test_a_georeference_is_taken_over_live_and_given_up_live(device: Device, tmp_path: Path) -> None:
    write_camera(tmp_path / "c.json")
    device.start()
    device.put("a.png")
    assert feature(device, 1)["geometry"] is None
    configure(device, Georeference={"Type": "calibration", "Path": str(tmp_path / "c.json")})
    device.put("b.png")
    located = feature(device, 2)
    geojson_pydantic.Feature.model_validate(located)
    [truth] = CAMERA.to_world(np.array([[130.0 * 4, 140.0 * 3]]))
    properties = located["properties"]
    off = metres(np.array([properties["position"]]), np.array([truth]))[0]
    assert off < properties["accuracy_m"]
    assert properties["imageBBox"] == feature(device, 1)["properties"]["imageBBox"]
    device.wait(lambda: device.published("status")[-1].get("georeference", {}).get("located") == 1)
    assert device.published("status")[-1]["georeference"]["state"] == "located"
    configure(device, Georeference={"Type": "none"})
    device.put("c.png")
    assert feature(device, 3)["geometry"] is None
    assert len(device.nucleus.states) == 1  # all of it without other parts
    assert not device.published("errors")


def test_a_calibration_that_no_longer_fits_degrades_to_pixels_and_says_so(device: Device, tmp_path: Path) -> None:
    write_camera(tmp_path / "c.json")
    configure(device, Georeference={"Type": "calibration", "Path": str(tmp_path / "c.json")})
    device.start()
    device.put("a.png")
    assert feature(device, 1)["geometry"] is not None
    device.put("b.png", cv2.resize(red_square(), (160, 120), interpolation=cv2.INTER_NEAREST))
    other = feature(device, 2)
    assert other["geometry"] is None
    assert "bbox" not in other
    assert "accuracy_m" not in other["properties"]
    assert other["properties"]["imageGeometry"]["coordinates"]
    device.wait(lambda: device.published("errors"))
    [error] = device.published("errors")
    assert (error["kind"], error["error"]) == ("component", "GeoreferenceError")
    assert "for frames of 320 x 240 pixels, got 160 x 120" in error["reason"]
    device.wait(lambda: device.published("status")[-1]["georeference"]["unlocated"] == 1)
    member = device.published("status")[-1]["georeference"]
    assert (member["state"], member["type"]) == ("pixels", "calibration")
    assert "160 x 120" in member["reason"]
    write_camera(tmp_path / "c.json", 160, 120)
    device.put("c.png", cv2.resize(red_square(y=60), (160, 120), interpolation=cv2.INTER_NEAREST))
    assert feature(device, 3)["geometry"] is not None
    device.wait(lambda: device.published("status")[-1]["georeference"]["state"] == "located")


def test_a_camera_that_was_turned_degrades_to_pixels_until_it_is_turned_back(
    device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "CHECK_SECONDS", 0.0)
    calibration = calibration_of(CAMERA, PointAccuracy(0.5, 0.05))
    background = background_of(street(0), CAMERA_SIZE)
    write_calibration(tmp_path / "c.json", calibration, PointAccuracy(), background=background)
    configure(device, Georeference={"Type": "calibration", "Path": str(tmp_path / "c.json")})
    device.start()

    def put(name: str, image: np.ndarray) -> list[dict[str, Any]]:
        """Its features, of which there is one on the ground at least."""
        device.put(name, cv2.rectangle(image.copy(), (600, 500), (700, 560), (255, 0, 0), -1))
        device.wait(lambda: any(m["frame"]["name"] == name for m in device.published("detections")))
        return list(next(m for m in device.published("detections") if m["frame"]["name"] == name)["features"])

    def background_is(state: str) -> None:
        device.wait(lambda: device.published("status")[-1]["georeference"]["background"]["state"] == state)

    assert any(f["geometry"] for f in put("a.png", street(0)))
    background_is("confirmed")
    for number in range(watch.MOVED_CHECKS):
        features = put(f"b{number}.png", turned(street(0), pan=5.0 + 0.01 * number))
    assert features
    assert not any(f["geometry"] for f in features)
    assert not any(f["geometry"] for f in put("night.png", np.zeros_like(street(0))))
    background_is("moved")
    device.wait(lambda: device.published("status")[-1]["georeference"]["unlocated"] == 2)
    member = device.published("status")[-1]["georeference"]
    assert member["state"] == "pixels"
    assert "the camera was turned or moved" in member["reason"]
    device.wait(lambda: device.published("errors"))
    [error] = device.published("errors")
    assert (error["kind"], error["error"]) == ("component", "GeoreferenceError")
    assert "turn it back, or calibrate it again" in error["reason"]
    assert any(f["geometry"] for f in put("c.png", street(0)))
    background_is("confirmed")
    device.wait(lambda: device.published("status")[-1]["georeference"]["state"] == "located")


def test_a_georeference_that_cannot_be_used_is_refused_and_the_old_one_stays(device: Device, tmp_path: Path) -> None:
    write_camera(tmp_path / "c.json")
    configure(device, Georeference={"Type": "calibration", "Path": str(tmp_path / "c.json")})
    device.start()
    device.wait(lambda: device.nucleus.states)
    configure(device, Georeference={"Type": "calibration", "Path": str(tmp_path / "nowhere.json")}, Prompts=["blue"])
    device.wait(lambda: device.published("errors"))
    assert "nowhere.json cannot be read" in device.published("errors")[0]["reason"]
    device.put("a.png")
    assert feature(device, 1)["geometry"] is not None  # and still looking for red


def test_a_folder_of_rasters(tmp_path: Path) -> None:
    device = Device(tmp_path, Georeference={"Type": "raster"})
    try:
        scene = draw_world(1, WORLDS["antimeridian"])
        write_geotiff(device.images / ".a.part", scene)
        (device.images / ".a.part").rename(device.images / "a.tif")
        device.start()
        device.put("b.png")
        device.wait(lambda: len(device.published("detections")) == 2)
        by_name = {m["frame"]["name"]: m for m in device.published("detections")}
        assert len(by_name["a.tif"]["features"]) == len(scene.objects)
        assert all(f["geometry"] is not None for f in by_name["a.tif"]["features"])
        assert all(f["geometry"] is None for f in by_name["b.png"]["features"])
        device.wait(lambda: device.published("errors"))
        assert "expected a GeoTIFF or a world file beside b.png" in device.published("errors")[0]["reason"]
    finally:
        device.close()


def test_without_its_elevation_model_a_raster_stays_in_pixels_and_says_so(tmp_path: Path) -> None:
    device = Device(tmp_path, Georeference={"Type": "raster", "Elevation": str(tmp_path / "heights.tif")})
    try:
        write_raster(tmp_path / "a.tif", rpcs=RPCS)
        with rasterio.open(tmp_path / "a.tif", "r+") as dataset:
            dataset.write(np.full((60, 80), 255, np.uint8), 1, window=Window(200, 200, 80, 60))
            dataset.write(np.zeros((2, 60, 80), np.uint8), [2, 3], window=Window(200, 200, 80, 60))
        for number in range(2):
            (device.images / f".{number}.part").write_bytes((tmp_path / "a.tif").read_bytes())
        (device.images / ".0.part").rename(device.images / "a.tif")
        device.start()
        assert feature(device, 1)["geometry"] is None
        device.wait(lambda: device.published("errors"))
        assert "heights.tif cannot be read" in device.published("errors")[0]["reason"]
        model = {"width": 9, "height": 9, "count": 1, "dtype": "int16", "driver": "GTiff", "crs": "EPSG:4326"}
        with rasterio.open(
            tmp_path / "heights.tif", "w", transform=Affine(0.02, 0, 13.3, 0, -0.02, 52.6), **model
        ) as dataset:
            dataset.write(np.full((9, 9), 100, np.int16), 1)
        (device.images / ".1.part").rename(device.images / "b.tif")
        assert feature(device, 2)["geometry"] is not None
    finally:
        device.close()


FOLDER = {"Prompts": ["red"], "Source": {"Type": "folder", "Path": "/images"}}
CAMERA_SOURCE = {"Prompts": ["red"], "Source": {"Type": "camera", "Uri": "0"}}
POSE = {
    "Type": "pose", "Longitude": 13.4, "Latitude": "52.5", "CameraHeight": 8, "Heading": 30, "Tilt": 25,
    "FieldOfView": 65,
}  # fmt: skip


POSE_BY_LENS = {key: value for key, value in POSE.items() if key != "FieldOfView"}


def test_a_pose_with_a_lens(tmp_path: Path) -> None:
    matrix = "camera_matrix: {rows: 3, cols: 3, data: [1000, 0, 639.5, 0, 1000, 359.5, 0, 0, 1]}"
    (tmp_path / "lens.yaml").write_text(f"{matrix}\ndistortion_coefficients: [-0.3, 0.1]\n")
    lensed = settings(CAMERA_SOURCE, **POSE_BY_LENS, Lens=str(tmp_path / "lens.yaml")).georeference
    ideal = settings(CAMERA_SOURCE, **{**POSE, "FieldOfView": 2 * np.degrees(np.arctan(0.64))}).georeference
    spots, frame = np.array([[640.0, 360.0], [1200.0, 700.0]]), replace(sample(), size=(1280, 720))
    through, straight = (
        one.build(settings(CAMERA_SOURCE).source, [].append).georeference_of(frame).to_world(spots)
        for one in (lensed, ideal)
    )
    off = metres(through, straight)
    assert off[0] < 0.01
    assert off[1] > 0.5


def settings(base: dict[str, Any], **keys: Any) -> Settings:
    return read_settings({**base, "Georeference": keys})


@pytest.mark.parametrize(
    ("base", "keys", "reason"),
    [
        (CAMERA_SOURCE, {"Type": "raster"}, "raster needs Source.Type folder, got camera"),
        (CAMERA_SOURCE, {"Type": "drone"}, "drone needs Source.Type folder, got camera"),
        (FOLDER, {"Type": "raster", "Crs": "EPSG:999999"}, "Georeference: expected a reference system"),
        (FOLDER, {"Type": "calibration", "Path": "/nowhere.json"}, "nowhere.json cannot be read"),
        (CAMERA_SOURCE, {**POSE_BY_LENS, "Lens": "/nowhere.yaml"}, "the lens /nowhere.yaml cannot be read"),
        (CAMERA_SOURCE, {**POSE, "Tilt": -25}, "expected a camera that sees the ground"),
    ],
)
def test_what_cannot_be_built_is_refused(base: dict[str, Any], keys: dict[str, Any], reason: str) -> None:
    with pytest.raises(SettingsError, match=reason):
        Places([].append).use(settings(base, **keys))


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        (
            {"Type": "magic"},
            "expected a mapping whose Type is one of calibration, drone, none, pose, raster, got magic",
        ),
        ({**POSE, "CameraHeight": 0}, "Georeference.CameraHeight"),
        ({**POSE, "Latitude": 91}, "Georeference.Latitude"),
        ({**POSE, "Hight": 3}, "Georeference.Hight"),
        (POSE_BY_LENS, "expected FieldOfView, or a Lens, which says it, and not both"),
        ({**POSE, "Lens": "/etc/lens.yaml"}, "expected FieldOfView, or a Lens, which says it, and not both"),
        ({"Type": "calibration"}, "Georeference.Path"),
    ],
)
def test_bad_keys_are_named(keys: dict[str, Any], reason: str) -> None:
    with pytest.raises(SettingsError, match=reason):
        settings(CAMERA_SOURCE, **keys)


EXCHANGED = [[52.5001, 13.4001], [52.5001, 13.4004], [52.5003, 13.4004]]


@pytest.mark.parametrize("polygon", [EXCHANGED, [[0.1, 0.1], [0.6, 0.1], [0.6, 0.6]]], ids=["exchanged", "relative"])
def test_a_zone_that_a_camera_cannot_see_is_refused(polygon: list[list[float]]) -> None:
    """It would drop everything, without a word."""
    zone = {"Name": "yard", "Polygon": polygon, "Coordinates": "world", "Kind": "include"}
    with pytest.raises(SettingsError, match=r"expected yard where the camera .* can see it, got points .* km away"):
        settings({**CAMERA_SOURCE, "Zones": [zone]}, **POSE)
    here = [[x, y] for y, x in EXCHANGED]
    settings({**CAMERA_SOURCE, "Zones": [{**zone, "Polygon": here}]}, **{**POSE, "Longitude": 13.4, "Latitude": 52.5})


def test_without_the_extra_the_configuration_is_refused_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for module in [name for name in sys.modules if name.startswith("sam3edge.geo")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "pyproj", None)
    with pytest.raises(SettingsError, match=r"set Install\.Packages to 'rasterio pyproj'"):
        Places([].append).use(settings(CAMERA_SOURCE, **POSE))


def test_reports_are_few() -> None:
    now, reports = [0.0], list[Exception]()
    places = Places(reports.append, lambda: now[0])
    for number in range(100):
        now[0] += 1
        places._note(GeoreferenceError(f"image {number} has no place"))
        places._note(None)
    assert len(reports) == 2  # at the beginning, and a minute later
    now[0] += REPORT_PAUSE
    for _ in range(3):
        now[0] += REPORT_PAUSE
        places._note(GeoreferenceError("the same for ever"))
    assert len(reports) == 3
