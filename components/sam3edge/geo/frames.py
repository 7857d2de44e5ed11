"""Kinds of ``Georeferencing``: one camera for all frames, or what each image file says of itself."""

from __future__ import annotations

import hashlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from sam3edge.core.errors import GeoreferenceError
from sam3edge.core.georeference import BackgroundStatus, Georeference
from sam3edge.core.types import Frame
from sam3edge.geo.calibration_file import read_calibration
from sam3edge.geo.drone import DroneOptions, open_photograph
from sam3edge.geo.lens_file import LensFile
from sam3edge.geo.lensed import through
from sam3edge.geo.oriented import AS_STORED, Oriented
from sam3edge.geo.pose import CameraPose, PoseAccuracy, camera_of
from sam3edge.geo.raster import RasterOptions, open_raster
from sam3edge.geo.watch import BackgroundWatch
from sam3edge.images.headers import HeaderError, read_header

logger = logging.getLogger(__name__)


class PosedCamera:
    """A camera whose pose is known, for frames of any size: a smaller picture of it shows the same.

    Args:
        lens: of the camera, which knows the field of view; None where the pose says it, and pictures are ideal.

    Raises:
        GeoreferenceError: nothing on the ground could be seen from there.
    """

    def __init__(self, pose: CameraPose, accuracy: PoseAccuracy, lens: LensFile | None = None) -> None:
        self._pose, self._accuracy, self._lens = pose, accuracy, lens
        self._last = self._for((1920, 1080) if lens is None else lens.usual_size)

    def georeference_of(self, frame: Frame) -> Georeference:
        """See ``Georeferencing``."""
        size = (frame.width, frame.height)
        if self._last.size != size:
            self._last = self._for(size)
        return self._last

    def _for(self, size: tuple[int, int]) -> Georeference:
        if self._lens is None:
            return camera_of(self._pose, size, self._accuracy)
        lens = self._lens.lens_for(size)
        pose = replace(self._pose, field_of_view=lens.field_of_view)
        return through(lens, camera_of(pose, size, self._accuracy))

    @property
    def background(self) -> BackgroundStatus | None:
        """None: nobody has seen it."""
        return None


class CalibratedCamera:
    """A camera that was calibrated; the file is read again when it changes. Where the file has the camera's background,
    frames of a camera that has moved have no place.

    Args:
        path: what ``sam3edge georef calibrate`` has written.
        refused: told of a changed file that cannot be used; the calibration before it stays.

    Raises:
        GeoreferenceError: the file cannot be used.
    """

    def __init__(self, path: Path, refused: Callable[[Exception], None]) -> None:
        self._path, self._refused = path, refused
        self._stamp = self._stamp_now()
        self._camera, self._source, self._watch = self._read()

    def georeference_of(self, frame: Frame) -> Georeference:
        """See ``Georeferencing``."""
        self._follow()
        if self._source and frame.source != self._source:
            raise GeoreferenceError(
                f"the calibration {self._path.name} is of the camera {self._source!r}, the frame of {frame.source!r}; "
                "calibrate this camera"
            )
        if self._camera.size != (frame.width, frame.height):
            width, height = self._camera.size
            raise GeoreferenceError(
                f"the calibration {self._path.name} is for frames of {width} x {height} pixels, got "
                f"{frame.width} x {frame.height}; calibrate the camera again, or set its size back"
            )
        if self._watch is not None:
            self._watch.require_unmoved(frame)
        return self._camera

    @property
    def background(self) -> BackgroundStatus | None:
        """See ``Georeferencing``; None where the calibration does not have it."""
        watch = self._watch
        return None if watch is None else watch.status

    def _follow(self) -> None:
        stamp = self._stamp_now()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._camera, self._source, self._watch = self._read()
        except GeoreferenceError as error:
            logger.error("the changed calibration is refused, the one before stays: %s", error)
            self._refused(error)

    def _read(self) -> tuple[Georeference, str, BackgroundWatch | None]:
        document = read_calibration(self._path)
        camera, background = document.camera(), document.seen_background()
        watch = None if background is None else BackgroundWatch(background, camera, self._path.name)
        return camera, document.source, watch

    def _stamp_now(self) -> tuple[int, int, int] | None:
        try:
            status = self._path.stat()
        except OSError:
            return None
        return status.st_mtime_ns, status.st_size, status.st_ino


class GeoreferencedFiles(ABC):
    """Image files that say themselves where they are.

    Args:
        folder: the watched one; a frame's name is its path in there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def georeference_of(self, frame: Frame) -> Georeference:
        """See ``Georeferencing``. The file must still be the one that was decoded."""
        path = self._folder / frame.name
        try:
            data = path.read_bytes()
            header = read_header(data)
        except (OSError, HeaderError) as error:
            raise GeoreferenceError(f"{frame.name} cannot be read once more for its place: {error}") from error
        if frame.digest != f"sha256:{hashlib.sha256(data).hexdigest()}":
            raise GeoreferenceError(f"{frame.name} was replaced while it was looked at; its place is another image's")
        stored = self.open(path)
        georeference = stored if header.orientation == AS_STORED else Oriented(stored, header.orientation)
        return georeference

    @property
    def background(self) -> BackgroundStatus | None:
        """None: every image has another."""
        return None

    @abstractmethod
    def open(self, path: Path) -> Georeference:
        """The georeference of the pixels as stored; raises GeoreferenceError."""


class RasterFiles(GeoreferencedFiles):
    """GeoTIFF, and images with a world file."""

    def __init__(self, folder: Path, options: RasterOptions) -> None:
        super().__init__(folder)
        self._options = options

    def open(self, path: Path) -> Georeference:
        """See ``GeoreferencedFiles``."""
        return open_raster(path, self._options)


class DronePhotographs(GeoreferencedFiles):
    """Photographs with the pose of the drone's camera."""

    def __init__(self, folder: Path, options: DroneOptions) -> None:
        super().__init__(folder)
        self._options = options

    def open(self, path: Path) -> Georeference:
        """See ``GeoreferencedFiles``."""
        return open_photograph(path, self._options)
