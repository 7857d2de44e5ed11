"""Photographs of drones: EXIF and XMP say where the camera was and where its gimbal pointed.

The tags are DJI's (namespace ``drone-dji``), which others write, too. The ground is taken to be flat, at the height
from which the drone took off. Read with GDAL, whose JPEG and TIFF drivers give EXIF and XMP.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from sam3edge.core.errors import GeoreferenceError
from sam3edge.geo.camera import GroundCamera
from sam3edge.geo.gdal import opened
from sam3edge.geo.pose import CameraPose, PoseAccuracy, camera_of

FULL_FRAME_DIAGONAL = 43.2666
"""Millimetres, of 36 x 24: what the focal length in 35 mm film refers to (CIPA DCG-001)."""

DRONE_ACCURACY = PoseAccuracy(position=2.0, height=1.0, heading=2.0, tilt=0.5, roll=0.5, field_of_view=0.5)
"""Of a satellite receiver, a barometer and a gimbal; with RTK the position's own standard deviations are taken."""

MAX_XMP = 1 << 20

_PAIR = re.compile(
    r"""drone-dji:(\w{1,64})\s*=\s*["']([^"'<]{0,200})["']|<drone-dji:(\w{1,64})>([^<]{0,200})</drone-dji:"""
)
_NUMBERS = re.compile(r"\(?\s*([-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d{1,3})?)\s*\)?")


@dataclass(frozen=True, slots=True)
class DroneOptions:
    """What a photograph may not say of itself.

    Attributes:
        field_of_view: degrees between the left and the right edge; 0 to take the focal length of EXIF.
        accuracy: standard deviations of what the drone says.
    """

    field_of_view: float = 0.0
    accuracy: PoseAccuracy = DRONE_ACCURACY


def open_photograph(path: Path, options: DroneOptions) -> GroundCamera:
    """The camera of a drone's photograph, for the pixels as stored.

    Raises:
        GeoreferenceError: the file does not say where the camera was, or where it looked.
    """
    with opened(path) as dataset:
        size = (dataset.width, dataset.height)
        exif: Mapping[str, str] = {**dataset.tags(), **dataset.tags(ns="EXIF")}
        xmp = "".join(dataset.tags(ns="xml:XMP").values())
    dji = _dji_tags(xmp)
    return camera_of(_pose(exif, dji, size, options), size, _accuracy(dji, options.accuracy))


def _dji_tags(xmp: str) -> dict[str, float]:
    """Numbers by name; taken by a pattern, since no parser of XML should see what anybody wrote into a photograph."""
    found: dict[str, float] = {}
    for match in _PAIR.finditer(xmp[:MAX_XMP]):
        name, value = match[1] or match[3], match[2] or match[4] or ""
        try:
            number = float(value)
        except ValueError:
            continue
        if math.isfinite(number):
            found.setdefault(name, number)
    return found


def _pose(
    exif: Mapping[str, str], dji: Mapping[str, float], size: tuple[int, int], options: DroneOptions
) -> CameraPose:
    longitude, latitude = _position(exif, dji)
    missing = [n for n in ("RelativeAltitude", "GimbalYawDegree", "GimbalPitchDegree") if n not in dji]
    if missing:
        raise GeoreferenceError(f"expected {', '.join(missing)} in the photograph's XMP (drone-dji), got none")
    return CameraPose(
        longitude,
        latitude,
        dji["RelativeAltitude"],
        dji["GimbalYawDegree"],
        -dji["GimbalPitchDegree"],
        dji.get("GimbalRollDegree", 0.0),
        options.field_of_view or _field_of_view(exif, dji, size),
    )


def _position(exif: Mapping[str, str], dji: Mapping[str, float]) -> tuple[float, float]:
    """DJI's own tags have more decimals than EXIF's; some of its software misspells the longitude."""
    longitude, latitude = dji.get("GpsLongitude", dji.get("GpsLongtitude")), dji.get("GpsLatitude")
    if longitude is None or latitude is None:
        longitude = _degrees(exif, "Longitude", "W")
        latitude = _degrees(exif, "Latitude", "S")
    if longitude is None or latitude is None or (longitude == 0.0 == latitude):
        raise GeoreferenceError("expected a position in the photograph's EXIF or XMP, got none: the drone had no fix")
    return longitude, latitude


def _degrees(exif: Mapping[str, str], which: str, negative: str) -> float | None:
    """Degrees, minutes and seconds as GDAL writes them: ``(52) (31) (12.3)``."""
    numbers = [float(n) for n in _NUMBERS.findall(exif.get(f"EXIF_GPS{which}", ""))]
    if len(numbers) != 3:
        return None
    degrees = numbers[0] + numbers[1] / 60 + numbers[2] / 3600
    return -degrees if exif.get(f"EXIF_GPS{which}Ref", "").strip().upper() == negative else degrees


def _field_of_view(exif: Mapping[str, str], dji: Mapping[str, float], size: tuple[int, int]) -> float:
    """From the calibrated focal length, which is in pixels, else from that in 35 mm film."""
    diagonal = math.hypot(*size)
    focal = dji.get("CalibratedFocalLength", 0.0)
    if not 0.2 * diagonal < focal < 20 * diagonal:  # some cameras write millimetres
        numbers = _NUMBERS.findall(exif.get("EXIF_FocalLengthIn35mmFilm", ""))
        film = float(numbers[0]) if numbers else 0.0
        if not film > 0:
            raise GeoreferenceError(
                "expected a focal length in the photograph's EXIF (FocalLengthIn35mmFilm) or XMP "
                "(CalibratedFocalLength), got none; set Georeference.LensFieldOfView"
            )
        focal = film / FULL_FRAME_DIAGONAL * diagonal
    return math.degrees(2 * math.atan(size[0] / 2 / focal))


def _accuracy(dji: Mapping[str, float], accuracy: PoseAccuracy) -> PoseAccuracy:
    spread = [dji[name] for name in ("RtkStdLon", "RtkStdLat") if dji.get(name, 0.0) > 0]
    return replace(accuracy, position=max(spread)) if len(spread) == 2 else accuracy
