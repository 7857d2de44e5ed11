"""A camera of which is known where it stands and where it looks."""

from __future__ import annotations

import math
from dataclasses import astuple, dataclass

import numpy as np

from sam3edge.core.errors import GeoreferenceError
from sam3edge.geo.camera import GroundCamera, Matrix
from sam3edge.geo.plane import LocalPlane

HIGHEST = 20_000.0
"""Metres above the ground: aircraft are lower, and from higher up the ground is no plane."""


@dataclass(frozen=True, slots=True)
class CameraPose:
    """Where a camera stands and looks; square pixels, the optical axis through the middle of the frame.

    Attributes:
        longitude, latitude: degrees.
        height: metres above the ground.
        heading: degrees clockwise from true north.
        tilt: degrees below the horizontal; 0 looks at the horizon, 90 straight down.
        roll: degrees by which the camera is turned clockwise, as seen from behind it.
        field_of_view: degrees between the left and the right edge of the frame.
    """

    longitude: float
    latitude: float
    height: float
    heading: float
    tilt: float
    roll: float
    field_of_view: float


@dataclass(frozen=True, slots=True)
class PoseAccuracy:
    """Standard deviations of what a ``CameraPose`` says.

    Attributes:
        position: metres, east and north each.
        height: metres.
        heading, tilt, roll, field_of_view: degrees.
    """

    position: float = 1.0
    height: float = 0.1
    heading: float = 1.0
    tilt: float = 0.5
    roll: float = 0.5
    field_of_view: float = 1.0


def camera_of(pose: CameraPose, size: tuple[int, int], accuracy: PoseAccuracy) -> GroundCamera:
    """The camera as what places pixels.

    Args:
        size: width and height of its frames, pixels.

    Raises:
        GeoreferenceError: nothing on the ground could be seen from there.
    """
    if not pose.height > 0:
        raise GeoreferenceError(f"expected a camera above the ground, got a height of {pose.height} m")
    if not pose.height <= HIGHEST:
        raise GeoreferenceError(f"expected a camera at most {HIGHEST:g} m above the ground, got {pose.height:g} m")
    if not 0 < pose.field_of_view < 180:
        raise GeoreferenceError(f"expected a field of view within 0..180 degrees, got {pose.field_of_view}")
    plane = LocalPlane(pose.longitude, pose.latitude)
    _, _, *rest = astuple(pose)
    at = np.array([0.0, 0.0, *rest])
    a = accuracy
    spread = np.diag(np.square([a.position, a.position, a.height, a.heading, a.tilt, a.roll, a.field_of_view]))

    def ground(parameters: Matrix) -> Matrix:
        return np.asarray(np.linalg.inv(_to_pixel(parameters, size)))

    derivative = derivative_of(ground, at)
    camera = GroundCamera(size, plane, _to_pixel(at, size), derivative @ spread @ derivative.T)
    if camera.valid((0.0, 0.0, *size)).is_empty:
        raise GeoreferenceError(
            "expected a camera that sees the ground, its horizon is at the lower edge of the frame or below it; tilt "
            f"is in degrees below the horizontal, 90 for straight down, got {pose.tilt:g}"
        )
    return camera


def derivative_of(matrix: object, at: Matrix) -> Matrix:
    """[9, n], by central differences, of a function of n parameters that gives a matrix [3, 3]."""
    columns = []
    for number, value in enumerate(at):
        step = 1e-5 * max(1.0, abs(float(value)))
        low, high = at.copy(), at.copy()
        low[number] -= step
        high[number] += step
        columns.append((matrix(high) - matrix(low)).ravel() / (2 * step))  # type: ignore[operator]
    return np.stack(columns, axis=1)


def _to_pixel(parameters: Matrix, size: tuple[int, int]) -> Matrix:
    """K [r1 r2 t] of the plane at height 0 (Hartley and Zisserman, example 8.1); the third component is the depth."""
    east, north, height = parameters[:3]
    heading, tilt, roll, field_of_view = np.radians(parameters[3:])
    forward = np.array([math.sin(heading) * math.cos(tilt), math.cos(heading) * math.cos(tilt), -math.sin(tilt)])
    level = np.array([math.cos(heading), -math.sin(heading), 0.0])
    down = np.cross(forward, level)
    right = math.cos(roll) * level + math.sin(roll) * down
    rotation = np.stack([right, np.cross(forward, right), forward])
    focal = size[0] / 2 / math.tan(field_of_view / 2)
    lens = np.array([[focal, 0, size[0] / 2], [0, focal, size[1] / 2], [0, 0, 1]])
    centre = np.array([east, north, height])
    return np.asarray(lens @ np.column_stack([rotation[:, 0], rotation[:, 1], -rotation @ centre]))
