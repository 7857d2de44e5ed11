"""Georeferences and the files that they come from."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import rasterio
import rasterio.shutil
from pyproj import Geod
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile
from rasterio.rpc import RPC

from sam3edge.core.georeference import Georeference
from sam3edge.core.types import Detections, Frame
from sam3edge.geo.calibrate import Calibration, PointAccuracy, calibrate
from sam3edge.geo.calibration_file import write_calibration
from sam3edge.geo.camera import GroundCamera
from sam3edge.geo.control_points import ControlPoint
from sam3edge.geo.pose import CameraPose, PoseAccuracy, camera_of
from sam3edge.geo.stage import Locate
from support.moving_scenes import frame_at

ELLIPSOID = Geod(ellps="WGS84")

POSE = CameraPose(13.4, 52.5, 8.0, 30.0, 25.0, 1.0, 65.0)
CAMERA_SIZE = (1280, 720)
CAMERA = camera_of(POSE, CAMERA_SIZE, PoseAccuracy())

SHARES = np.array([[0.06, 0.75], [0.94, 0.83], [0.5, 0.62], [0.19, 0.42], [0.88, 0.46], [0.47, 0.92]])
"""Of the frame's width and height, where control points are."""

DJI = {
    "RelativeAltitude": "+100.00",
    "GimbalYawDegree": "+30.00",
    "GimbalPitchDegree": "-50.00",
    "GimbalRollDegree": "+0.00",
}
EXIF = {
    "EXIF_GPSLatitude": "(52) (30) (0)",
    "EXIF_GPSLatitudeRef": "N",
    "EXIF_GPSLongitude": "(13) (24) (0)",
    "EXIF_GPSLongitudeRef": "E",
    "EXIF_FocalLengthIn35mmFilm": "24",
}

RPCS = RPC(
    height_off=100.0,
    height_scale=500.0,
    lat_off=52.5,
    lat_scale=0.01,
    line_off=255.5,
    line_scale=256.0,
    line_num_coeff=[0.0, 0.0, -1.0, 0.05, *[0.0] * 16],
    line_den_coeff=[1.0, *[0.0] * 19],
    long_off=13.4,
    long_scale=0.016,
    samp_off=319.5,
    samp_scale=320.0,
    samp_num_coeff=[0.0, 1.0, 0.0, 0.1, *[0.0] * 16],
    samp_den_coeff=[1.0, *[0.0] * 19],
    err_bias=3.0,
    err_rand=1.0,
)
"""Of a satellite that looks from the side: 500 m of height move the picture by 32 columns and 13 rows."""


def metres(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """[n], between positions [n, 2] of longitude, latitude."""
    return np.asarray(ELLIPSOID.inv(one[:, 0], one[:, 1], other[:, 0], other[:, 1])[2])


class Fixed:
    """A ``Georeferencing`` of one camera."""

    def __init__(self, georeference: Georeference) -> None:
        self._georeference = georeference

    def georeference_of(self, frame: Frame) -> Georeference:
        return self._georeference


def located(georeference: Georeference, detections: Detections) -> Detections:
    """As the device's stage places them."""
    return Locate(Fixed(georeference), lambda error: None)(frame_at(0), detections)


def calibration_of(camera: GroundCamera, accuracy: PointAccuracy = PointAccuracy()) -> Calibration:  # noqa: B008
    """From exact control points that are spread over the frame, and said to be known with this accuracy."""
    pixels = SHARES * camera.size
    pairs = zip(pixels, camera.to_world(pixels), strict=True)
    return calibrate([ControlPoint(*m, *w) for m, w in pairs], camera.size, accuracy)


def write_camera(path: Path, width: int = 320, height: int = 240) -> None:
    """The calibration of a folder's frames of this size, which show what ``CAMERA`` shows."""
    pairs = zip(SHARES * [width, height], CAMERA.to_world(SHARES * CAMERA.size), strict=True)
    calibration = calibrate([ControlPoint(*m, *w) for m, w in pairs], (width, height), PointAccuracy())
    write_calibration(path, calibration, PointAccuracy(), "folder")


def write_raster(path: Path, width: int = 640, height: int = 512, driver: str = "GTiff", **keys: object) -> Path:
    """A grey raster with what it says of its place: crs, transform, gcps, rpcs."""
    kind = {"driver": "GTiff", "count": 3, "width": width, "height": height, "dtype": "uint8"}
    with not_yet_georeferenced(), MemoryFile() as memory:
        with memory.open(**kind, **keys) as dataset:
            dataset.write(np.full((3, height, width), 90, np.uint8))
        rasterio.shutil.copy(memory.name, str(path), driver=driver)
    return path


@contextmanager
def not_yet_georeferenced() -> Iterator[None]:
    """While a file is written, rasterio warns that it says nothing of its place."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        yield


def control_point_raster(path: Path, noise: float = 0.0, count: int = 9) -> Path:
    """640 x 512 pixels of half a metre in UTM 33, by ground control points that are wrong by ``noise`` metres."""
    rng = np.random.default_rng(3)
    cells = [(r, c) for r in (20, 250, 490) for c in (20, 320, 620)][:count]
    points = [
        GroundControlPoint(r, c, 391_000 + c / 2 + rng.normal(0, noise or 1e-9), 5_820_000 - r / 2, 0.0)
        for r, c in cells
    ]
    return write_raster(path, gcps=points, crs=CRS.from_epsg(32633))


def drone_photograph(path: Path, exif: Mapping[str, str], dji: Mapping[str, str], style: str = "attributes") -> Path:
    """A JPEG of 400 x 300 pixels with EXIF, and XMP with DJI's tags as attributes or as elements."""
    with not_yet_georeferenced(), MemoryFile() as source:
        with source.open(driver="GTiff", count=3, width=400, height=300, dtype="uint8") as dataset:
            dataset.write(np.full((3, 300, 400), 90, np.uint8))
            dataset.update_tags(**exif)
        with MemoryFile(ext=".jpg") as target:
            rasterio.shutil.copy(source.name, target.name, driver="JPEG")
            data = bytes(target.read())
    pairs = " ".join(f'drone-dji:{name}="{value}"' for name, value in dji.items())
    elements = "".join(f"<drone-dji:{name}>{value}</drone-dji:{name}>" for name, value in dji.items())
    attributes, inner = (pairs, "") if style == "attributes" else ("", elements)
    xmp = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description xmlns:drone-dji="http://www.dji.com/drone-dji/1.0/" {attributes}>{inner}</rdf:Description>'
        "</rdf:RDF></x:xmpmeta>"
    )
    body = b"http://ns.adobe.com/xap/1.0/\0" + xmp.encode()
    path.write_bytes(data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:])
    return path
