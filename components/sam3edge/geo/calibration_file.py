"""The file that ``sam3edge georef calibrate`` writes and a device reads."""

from __future__ import annotations

import base64
import binascii
import json
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sam3edge.core.errors import GeoreferenceError
from sam3edge.core.georeference import Georeference
from sam3edge.durable import write_file
from sam3edge.geo.background import DESCRIPTOR_BYTES, MAX_KEYPOINTS, Background
from sam3edge.geo.calibrate import Calibration, PointAccuracy
from sam3edge.geo.camera import GroundCamera
from sam3edge.geo.lens import BendingLens, BrownConrady, Fisheye
from sam3edge.geo.lensed import LensedCamera
from sam3edge.geo.plane import LocalPlane
from sam3edge.validation import first_complaint

MAX_BYTES = 4 << 20

_Row: TypeAlias = tuple[float, float, float]
_Degrees: TypeAlias = Annotated[float, Field(ge=-180, le=180)]
_Positive: TypeAlias = Annotated[float, Field(gt=0)]
_Side: TypeAlias = Annotated[int, Field(gt=0, le=1_000_000)]


def _base64_length(count: int) -> int:
    return 4 * -(-count // 3)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ControlPointEntry(_Strict):
    """A control point, and how well it fits: see ``calibrate.Residual``."""

    name: str
    x: float
    y: float
    longitude: _Degrees
    latitude: _Degrees
    off_pixels: float | None
    off_metres: float | None
    used: bool


class BackgroundEntry(_Strict):
    """What the camera's background looks like (``background.Background``): numbers in base64, no picture.

    Attributes:
        points: little-endian float32 [n, 2], pixels of the frame.
        descriptors: uint8 [n, 32], of ORB.
    """

    kind: Literal["orb"] = "orb"
    points: str = Field(max_length=_base64_length(8 * MAX_KEYPOINTS))
    descriptors: str = Field(max_length=_base64_length(DESCRIPTOR_BYTES * MAX_KEYPOINTS))

    def background(self, size: tuple[int, int]) -> Background:
        """For frames of this size.

        Raises:
            GeoreferenceError: the numbers are not those of a background.
        """
        encoded, descriptors = _decoded(self.points), _decoded(self.descriptors)
        count, rest = divmod(len(descriptors), DESCRIPTOR_BYTES)
        if rest or len(encoded) != 8 * count:
            raise GeoreferenceError(
                f"expected a background of points of 8 bytes with {DESCRIPTOR_BYTES} bytes each, got "
                f"{len(encoded)} and {len(descriptors)} bytes; calibrate the camera again"
            )
        points = np.frombuffer(encoded, "<f4").reshape(-1, 2).astype(np.float64)
        if not ((points >= 0) & (points <= size)).all():  # false for NaN, too
            raise GeoreferenceError("expected a background within the frame; calibrate the camera again")
        return Background(size, points, np.frombuffer(descriptors, np.uint8).reshape(-1, DESCRIPTOR_BYTES))


class LensEntry(_Strict):
    """A lens for frames of the calibration's size; see ``lens.BendingLens``."""

    model: Literal["brown-conrady", "fisheye"]
    focal: tuple[_Positive, _Positive]
    centre: tuple[float, float]
    coefficients: tuple[float, ...] = Field(max_length=8)

    def lens(self, size: tuple[int, int]) -> BendingLens:
        """For frames of this size.

        Raises:
            GeoreferenceError: it cannot be inverted.
        """
        if self.model == "fisheye" and len(self.coefficients) > 4:
            raise GeoreferenceError("expected at most 4 coefficients of a fisheye; calibrate the camera again")
        kind = Fisheye if self.model == "fisheye" else BrownConrady
        return BendingLens(size, self.focal, self.centre, kind(self.coefficients))


class CalibrationFile(_Strict):
    """A calibrated camera.

    Attributes:
        source: the name of the camera's source (``Source.Name``); empty for any.
        size: width and height of its frames, pixels.
        origin: longitude and latitude of the middle of the ground.
        ground_to_pixel: rows of the homography from metres east and north of the origin to pixels, of the ideal picture
            where there is a lens.
        covariance: of the nine numbers of its inverse, row by row.
        point_accuracy: standard deviations that were expected: pixels, metres.
        residual_scale: by how much larger the residuals were.
        lens: None where pictures are taken to be ideal.
        background: None where it is not known, as in files of versions that did not keep it.
    """

    format: Literal["sam3edge-calibration-1"] = "sam3edge-calibration-1"
    source: str = ""
    size: tuple[_Side, _Side]
    origin: tuple[_Degrees, Annotated[float, Field(ge=-90, le=90)]]
    ground_to_pixel: tuple[_Row, _Row, _Row]
    covariance: list[list[float]]
    point_accuracy: tuple[float, float]
    residual_scale: float
    control_points: list[ControlPointEntry] = Field(default_factory=list)
    lens: LensEntry | None = None
    background: BackgroundEntry | None = None

    def camera(self) -> Georeference:
        """What places pixels.

        Raises:
            GeoreferenceError: the numbers are not those of a camera.
        """
        to_pixel, covariance = np.array(self.ground_to_pixel), np.array(self.covariance, dtype=object)
        if covariance.shape != (9, 9):
            raise GeoreferenceError("expected a covariance of 9 x 9 numbers; calibrate the camera again")
        if not np.linalg.cond(to_pixel) < 1 / np.finfo(float).eps:
            raise GeoreferenceError("expected a homography that can be inverted; calibrate the camera again")
        camera = GroundCamera(self.size, LocalPlane(*self.origin), to_pixel, covariance.astype(np.float64))
        return camera if self.lens is None else LensedCamera(camera, self.lens.lens(self.size))

    def seen_background(self) -> Background | None:
        """What the camera saw; None where it is not known.

        Raises:
            GeoreferenceError: the numbers are not those of a background.
        """
        return None if self.background is None else self.background.background(self.size)


def write_calibration(
    path: Path,
    calibration: Calibration,
    accuracy: PointAccuracy,
    source: str = "",
    background: Background | None = None,
) -> None:
    """Write a calibration.

    Args:
        accuracy: what was expected of the control points.
        source: the name of the camera's source; empty for any.
        background: what the camera sees, by which a device notices that it was moved.

    Raises:
        GeoreferenceError: it cannot be written.
    """
    camera = calibration.camera
    entries = [
        ControlPointEntry(
            name=r.point.name,
            x=r.point.x,
            y=r.point.y,
            longitude=r.point.longitude,
            latitude=r.point.latitude,
            off_pixels=_written(r.pixels),
            off_metres=_written(r.metres),
            used=r.used,
        )
        for r in calibration.residuals
    ]
    document = CalibrationFile(
        source=source,
        size=camera.size,
        origin=(camera.plane.longitude, camera.plane.latitude),
        ground_to_pixel=camera.to_pixel.tolist(),
        covariance=camera.covariance.tolist(),
        point_accuracy=(accuracy.pixels, accuracy.metres),
        residual_scale=calibration.scale,
        control_points=entries,
        lens=_lens_entry_of(calibration.lens) if isinstance(calibration.lens, BendingLens) else None,
        background=None if background is None else _entry_of(background),
    )
    try:
        write_file(path, (json.dumps(document.model_dump(), indent=1, ensure_ascii=False) + "\n").encode())
    except OSError as error:
        raise GeoreferenceError(f"{path} cannot be written: {error.strerror}") from error


def read_calibration(path: Path) -> CalibrationFile:
    """Read a calibration.

    Raises:
        GeoreferenceError: there is none, or it is damaged.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise GeoreferenceError(f"expected a calibration of at most {MAX_BYTES} bytes in {path}")
        return CalibrationFile.model_validate_json(data)
    except OSError as error:
        raise GeoreferenceError(f"the calibration {path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise GeoreferenceError(f"{path} is not a calibration: {first_complaint(error)}; calibrate again") from error


def _entry_of(background: Background) -> BackgroundEntry:
    points, descriptors = background.points.astype("<f4").tobytes(), background.descriptors.tobytes()
    return BackgroundEntry(points=_encoded(points), descriptors=_encoded(descriptors))


def _lens_entry_of(lens: BendingLens) -> LensEntry:
    model: Literal["brown-conrady", "fisheye"] = "fisheye" if isinstance(lens.distortion, Fisheye) else "brown-conrady"
    return LensEntry(model=model, focal=lens.focal, centre=lens.centre, coefficients=lens.distortion.coefficients)


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise GeoreferenceError(f"expected a background in base64: {error}; calibrate the camera again") from error


def _written(metres: float) -> float | None:
    """JSON has no word for what is not finite: a point in the sky."""
    return round(metres, 4) if np.isfinite(metres) else None
