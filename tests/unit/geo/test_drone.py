"""Photographs of drones: the pose that EXIF and XMP say, and what is missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sam3edge.core.errors import GeoreferenceError
from sam3edge.geo.drone import DroneOptions, open_photograph
from sam3edge.geo.pose import CameraPose, PoseAccuracy, camera_of
from support.places import DJI, EXIF, drone_photograph, metres

SIZE = (400, 300)
MIDDLE = np.array([[200.0, 150.0]])
CORNERS = np.array([[0.0, 0.0], [400.0, 0.0], [400.0, 300.0], [0.0, 300.0]])


def field_of_view(film: float) -> float:
    """Of 4:3 pictures: 35 mm focal lengths are of the same diagonal."""
    return float(np.degrees(2 * np.arctan(200 / (film / 43.2666 * 500))))


@pytest.mark.parametrize("style", ["attributes", "elements"])
def test_the_pose_is_what_the_tags_say(tmp_path: Path, style: str) -> None:
    camera = open_photograph(drone_photograph(tmp_path / "a.jpg", EXIF, DJI, style), DroneOptions())
    pose = CameraPose(13.4, 52.5, 100.0, 30.0, 50.0, 0.0, field_of_view(24))
    truth = camera_of(pose, SIZE, PoseAccuracy())
    np.testing.assert_allclose(camera.to_world(CORNERS), truth.to_world(CORNERS), atol=1e-8)


def test_straight_down_the_middle_is_below_the_drone_and_up_is_the_heading(tmp_path: Path) -> None:
    down = {**DJI, "GimbalPitchDegree": "-90.00", "GimbalYawDegree": "+90.00"}
    camera = open_photograph(drone_photograph(tmp_path / "a.jpg", EXIF, down), DroneOptions())
    assert metres(camera.to_world(MIDDLE), np.array([[13.4, 52.5]]))[0] < 1e-3
    east = camera.plane.to_plane(camera.to_world(np.array([[200.0, 0.0]])))[0]
    focal = 24 / 43.2666 * 500
    assert east == pytest.approx([100 * 150 / focal, 0.0], abs=0.01)
    assert camera.stance == "above"


def test_dji_writes_its_position_more_exactly(tmp_path: Path) -> None:
    for name in ("GpsLongitude", "GpsLongtitude"):
        dji = {**DJI, "GpsLatitude": "+52.51000", name: "+13.41000", "GimbalPitchDegree": "-90.0"}
        camera = open_photograph(drone_photograph(tmp_path / "a.jpg", EXIF, dji), DroneOptions())
        assert metres(camera.to_world(MIDDLE), np.array([[13.41, 52.51]]))[0] < 1e-3


def test_numbers_may_have_an_exponent_and_xmp_single_quotes(tmp_path: Path) -> None:
    """As GDAL writes small ones, and as XML allows."""
    exif = {**EXIF, "EXIF_GPSLatitude": "(52) (30) (2e-05)"}
    path = drone_photograph(tmp_path / "a.jpg", exif, {**DJI, "GimbalPitchDegree": "-90.0"})
    content = path.read_bytes()
    packet = content[content.index(b"<x:xmpmeta") : content.index(b"</x:xmpmeta>")]
    assert b'drone-dji:GimbalPitchDegree="' in packet
    path.write_bytes(content.replace(packet, packet.replace(b'"', b"'")))
    camera = open_photograph(path, DroneOptions())
    assert metres(camera.to_world(MIDDLE), np.array([[13.4, 52.5]]))[0] < 0.01


def test_south_and_west_are_negative(tmp_path: Path) -> None:
    exif = {**EXIF, "EXIF_GPSLatitudeRef": "S", "EXIF_GPSLongitudeRef": "W"}
    dji = {**DJI, "GimbalPitchDegree": "-90.0"}
    camera = open_photograph(drone_photograph(tmp_path / "a.jpg", exif, dji), DroneOptions())
    assert camera.to_world(MIDDLE)[0] == pytest.approx([-13.4, -52.5], abs=1e-7)


def test_a_calibrated_focal_length_counts_if_it_is_in_pixels(tmp_path: Path) -> None:
    for value, expected in (("300.0", 300.0), ("4.5", 24 / 43.2666 * 500)):
        dji = {**DJI, "CalibratedFocalLength": value, "GimbalPitchDegree": "-90.0", "GimbalYawDegree": "0.0"}
        camera = open_photograph(drone_photograph(tmp_path / "a.jpg", EXIF, dji), DroneOptions())
        aside = camera.plane.to_plane(camera.to_world(np.array([[400.0, 150.0]])))[0]
        assert aside == pytest.approx([100 * 200 / expected, 0.0], abs=0.01)


def test_rtk_makes_it_more_accurate(tmp_path: Path) -> None:
    plain = open_photograph(drone_photograph(tmp_path / "a.jpg", EXIF, DJI), DroneOptions())
    rtk = {**DJI, "RtkStdLon": "0.012", "RtkStdLat": "0.014"}
    exact = open_photograph(drone_photograph(tmp_path / "b.jpg", EXIF, rtk), DroneOptions())
    assert exact.accuracy(MIDDLE)[0] < plain.accuracy(MIDDLE)[0]


def test_of_two_deviations_the_larger_counts(tmp_path: Path) -> None:
    both = open_photograph(
        drone_photograph(tmp_path / "a.jpg", EXIF, {**DJI, "RtkStdLon": "5", "RtkStdLat": "5"}), DroneOptions()
    )
    for lon, lat in (("5", "0.01"), ("0.01", "5")):
        dji = {**DJI, "RtkStdLon": lon, "RtkStdLat": lat}
        one = open_photograph(drone_photograph(tmp_path / "b.jpg", EXIF, dji), DroneOptions())
        assert one.accuracy(MIDDLE)[0] == pytest.approx(both.accuracy(MIDDLE)[0])


def test_places_end_where_the_ground_has_bent_away(tmp_path: Path) -> None:
    high = {**DJI, "RelativeAltitude": "10000", "GimbalPitchDegree": "-10.0"}
    camera = open_photograph(drone_photograph(tmp_path / "a.jpg", EXIF, high), DroneOptions())
    rows = np.stack([np.full(300, 200.0), np.arange(300.0)], axis=1)
    away = np.hypot(*camera.plane.to_plane(camera.to_world(rows)).T)
    assert np.nanmax(away) <= 100_000
    assert np.isnan(away[:100]).all()
    assert np.isfinite(away[-100:]).all()


@pytest.mark.parametrize(
    ("exif", "dji", "reason"),
    [
        ({}, DJI, "the drone had no fix"),
        (EXIF, {}, "expected RelativeAltitude, GimbalYawDegree, GimbalPitchDegree"),
        (EXIF, {**DJI, "RelativeAltitude": "-2.0"}, "expected a camera above the ground"),
        (EXIF, {**DJI, "RelativeAltitude": "nan"}, "expected RelativeAltitude"),
        (EXIF, {**DJI, "RelativeAltitude": "20001"}, "at most 20000 m above the ground"),
        (EXIF, {**DJI, "RelativeAltitude": "1e17"}, "at most 20000 m above the ground"),
        ({k: v for k, v in EXIF.items() if "Focal" not in k}, DJI, r"set Georeference\.LensFieldOfView"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, exif: dict[str, str], dji: dict[str, str], reason: str) -> None:
    path = drone_photograph(tmp_path / "a.jpg", exif, dji)
    with pytest.raises(GeoreferenceError, match=reason):
        open_photograph(path, DroneOptions())


def test_a_field_of_view_that_is_given_counts(tmp_path: Path) -> None:
    exif = {k: v for k, v in EXIF.items() if "Focal" not in k}
    camera = open_photograph(drone_photograph(tmp_path / "a.jpg", exif, DJI), DroneOptions(field_of_view=70.0))
    truth = camera_of(CameraPose(13.4, 52.5, 100.0, 30.0, 50.0, 0.0, 70.0), SIZE, PoseAccuracy())
    np.testing.assert_allclose(camera.to_world(CORNERS), truth.to_world(CORNERS), atol=1e-8)
