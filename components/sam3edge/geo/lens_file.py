"""Files in which OpenCV and ROS keep what they found out about a lens."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from sam3edge.core.errors import GeoreferenceError
from sam3edge.geo.lens import BendingLens, BrownConrady, Distortion, Fisheye

MAX_BYTES = 1 << 20

MAX_OPENINGS = 5000
"""OpenCV's parser calls itself for what opens inside something else, and ends the process where that is too deep."""

MATRIX = ("camera_matrix", "cameramatrix", "mtx", "k")
COEFFICIENTS = ("distortion_coefficients", "dist_coeffs", "distcoeffs", "dist_coeff", "dist", "d")
WIDTH, HEIGHT = ("image_width", "width"), ("image_height", "height")

BROWN_CONRADY = ("", "plumb_bob", "rational_polynomial")
FISHEYE = ("equidistant", "fisheye")
"""What ``distortion_model`` may be, in ROS."""

NEAR_THE_MIDDLE = 0.25
"""Share of width and height that the optical axis is from the middle at most: else it is of frames of another size."""

SAME_SHAPE = 0.01

_Found = dict[str, "str | list[float]"]


@dataclass(frozen=True, slots=True)
class LensFile:
    """A lens as it was calibrated.

    Attributes:
        name: of the file.
        size: width and height of the frames that it was calibrated with; None where the file does not say.
        focal, centre: see ``BendingLens``.
        distortion: what the lens does.
    """

    name: str
    size: tuple[int, int] | None
    focal: tuple[float, float]
    centre: tuple[float, float]
    distortion: Distortion

    @property
    def usual_size(self) -> tuple[int, int]:
        """Of frames, pixels: that of the calibration, or twice as far as the optical axis is from the corner."""
        return self.size or (max(1, round(2 * self.centre[0])), max(1, round(2 * self.centre[1])))

    def lens_for(self, size: tuple[int, int]) -> BendingLens:
        """The lens for frames of this size, which show the same as those that it was calibrated with.

        Raises:
            GeoreferenceError: they do not, or the lens cannot be inverted.
        """
        width, height = size
        aside, down = (width / self.size[0], height / self.size[1]) if self.size else (1.0, 1.0)
        if abs(aside / down - 1) > SAME_SHAPE:
            raise GeoreferenceError(
                f"the lens {self.name} is for frames of {self.size} pixels, got {width} x {height}, which are cut; "
                "calibrate the lens with frames like these"
            )
        centre = (self.centre[0] * aside, self.centre[1] * down)
        beside = max(abs(centre[0] / width - 0.5), abs(centre[1] / height - 0.5))
        if beside > NEAR_THE_MIDDLE:
            raise GeoreferenceError(
                f"the optical axis of the lens {self.name} is at {centre[0]:.0f}, {centre[1]:.0f} in frames of {width} "
                f"x {height} pixels; calibrate it with frames like these, or add image_width and image_height to it"
            )
        return BendingLens(size, (self.focal[0] * aside, self.focal[1] * down), centre, self.distortion)


def read_lens(path: Path) -> LensFile:
    """Read a file of OpenCV (YAML, JSON or XML, as ``cv2.FileStorage`` writes it) or ROS (``camera_info``).

    Raises:
        GeoreferenceError: it cannot be read, or is not of a lens.
    """
    found = _parsed(_text_of(path), path)
    matrix, coefficients = _numbers(found, MATRIX, path), _numbers(found, COEFFICIENTS, path)
    if len(matrix) != 9 or not (matrix[0] > 0 and matrix[4] > 0):
        raise GeoreferenceError(
            f"expected a camera matrix of 9 numbers with focal lengths above 0 in {path}, got {matrix}"
        )
    if abs(matrix[1]) > 1e-9 * matrix[0] or matrix[3:4] + matrix[6:] != [0.0, 0.0, 0.0, 1.0]:
        raise GeoreferenceError(f"expected a camera matrix fx, 0, cx, 0, fy, cy, 0, 0, 1 in {path}, got {matrix}")
    return LensFile(
        path.name,
        _size_of(found, path),
        (matrix[0], matrix[4]),
        (matrix[2] + 0.5, matrix[5] + 0.5),  # OpenCV counts from the middle of the first pixel
        _distortion(found, coefficients, path),
    )


def _text_of(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
        text = data.decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise GeoreferenceError(f"the lens {path} cannot be read as text: {error}") from error
    if len(data) > MAX_BYTES or max(map(text.count, ("[", "{", "<", "- "))) > MAX_OPENINGS:
        raise GeoreferenceError(
            f"expected the calibration of one lens in {path}, got too much; remove its pictures' points"
        )
    return text if text.lstrip().startswith(("%YAML", "{", "<")) else "%YAML:1.0\n---\n" + text.lstrip("- \r\n")


def _parsed(text: str, path: Path) -> _Found:
    """By OpenCV: names, in lower case, and what is a number, numbers or a word."""
    storage = cv2.FileStorage()
    try:
        storage.open(text, cv2.FILE_STORAGE_READ | cv2.FILE_STORAGE_MEMORY)
        root = storage.root()
        names = root.keys() if root.isMap() else []
        return {name.lower(): value for name in names if (value := _value(root.getNode(name))) is not None}
    except cv2.error as error:
        raise GeoreferenceError(f"{path} is neither YAML nor JSON nor XML of OpenCV: {error.err}") from error
    finally:
        storage.release()


def _value(node: Any) -> str | list[float] | None:
    """None where it is something else. Matrices are maps with ``data``, lists, or lists of rows."""
    if node.isString():
        return str(node.string())
    data = node.getNode("data") if node.isMap() else node
    flat = [inner for one in _items(data) for inner in _items(one)]
    return [one.real() for one in flat] if all(one.isReal() or one.isInt() for one in flat) else None


def _items(node: Any) -> list[Any]:
    return [node.at(number) for number in range(node.size())] if node.isSeq() else [node]


def _numbers(found: _Found, names: tuple[str, ...], path: Path) -> list[float]:
    numbers = next((found[name] for name in names if isinstance(found.get(name), list)), None)
    if numbers is None:
        got = ", ".join(found) or "nothing"
        raise GeoreferenceError(f"expected {names[0]} in {path}, got {got}; write what cv2.calibrateCamera returns")
    if not all(isinstance(one, float) and math.isfinite(one) for one in numbers):
        raise GeoreferenceError(f"expected {names[0]} of finite numbers in {path}, got {numbers}")
    return [float(one) for one in numbers]


def _size_of(found: _Found, path: Path) -> tuple[int, int] | None:
    if not any(name in found for name in (*WIDTH, *HEIGHT)):
        return None
    sides = [_numbers(found, names, path) for names in (WIDTH, HEIGHT)]
    if not all(len(side) == 1 and 0 < side[0] <= 1_000_000 for side in sides):
        raise GeoreferenceError(f"expected image_width and image_height above 0 in {path}, got {sides}")
    return int(sides[0][0]), int(sides[1][0])


def _distortion(found: _Found, coefficients: list[float], path: Path) -> Distortion:
    while coefficients and coefficients[-1] == 0.0:
        coefficients = coefficients[:-1]
    model = found.get("distortion_model", "")
    if model in FISHEYE or found.get("fisheye_model") == [1.0]:
        kind: type[Fisheye] | type[BrownConrady] = Fisheye
        most = 4
    elif model in BROWN_CONRADY:
        kind, most = BrownConrady, 8
    else:
        raise GeoreferenceError(
            f"expected a distortion_model of {', '.join((*BROWN_CONRADY[1:], *FISHEYE))} in {path}, got {model}"
        )
    if len(coefficients) > most:
        raise GeoreferenceError(
            f"expected at most {most} coefficients other than 0 in {path}, got {len(coefficients)}; calibrate without "
            "the thin prism and tilted models"
        )
    return kind(tuple(coefficients))
