"""What may know where frames are: what each kind is configured with, and how it is built.

To add one, write its settings with ``build``, and enter them in ``GEOREFERENCES``. The rooms in ``geo`` are imported
only where one is configured: they need rasterio and PROJ, which few devices have.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import Field, model_validator

from sam3edge.core.errors import SettingsError
from sam3edge.core.georeference import Georeferencing
from sam3edge.greengrass.settings import SettingsModel
from sam3edge.segmenter.sources import FolderSettings, SourceSettings

Longitude: TypeAlias = Annotated[float, Field(ge=-180, le=180)]
Latitude: TypeAlias = Annotated[float, Field(ge=-90, le=90)]
Degrees: TypeAlias = Annotated[float, Field(ge=-360, le=360)]
Metres: TypeAlias = Annotated[float, Field(ge=0, le=100_000)]
Spread: TypeAlias = Annotated[float, Field(ge=0, le=1000)]
"""A standard deviation."""

Refused: TypeAlias = Callable[[Exception], None]
"""Is told of what a part had to refuse while it runs."""


class GeoreferenceSettings(SettingsModel):
    """A kind of georeference; ``Type`` says which."""

    type: str

    @abstractmethod
    def build(self, source: SourceSettings, refused: Refused) -> Georeferencing | None:
        """What knows where the frames of a source are; None where nobody shall.

        Raises:
            SettingsError: it does not go with the source.
            GeoreferenceError: what it needs is missing or damaged.
            ImportError: the extra ``geo`` is not installed.
        """
        raise NotImplementedError

    @property
    def standpoint(self) -> tuple[float, float] | None:
        """Longitude and latitude of the camera, in degrees; None where the configuration does not say it."""
        return None


class NoGeoreference(GeoreferenceSettings):
    """Detections stay in pixels."""

    type: Literal["none"] = "none"

    def build(self, source: SourceSettings, refused: Refused) -> Georeferencing | None:
        """None."""
        return None


class RasterSettings(GeoreferenceSettings):
    """GeoTIFF, or images with a world file and a .prj beside them; see ``geo.raster.RasterOptions``."""

    type: Literal["raster"]
    crs: str = Field("", max_length=4000)
    accuracy: Metres = 0.0
    ground_height: float = Field(0.0, ge=-1000, le=10_000)
    ground_height_accuracy: Spread = 10.0
    elevation: Path | None = None

    def build(self, source: SourceSettings, refused: Refused) -> Georeferencing | None:
        """See ``GeoreferenceSettings``."""
        from sam3edge.geo.frames import RasterFiles
        from sam3edge.geo.raster import RasterOptions, require_crs

        require_crs(self.crs)
        options = RasterOptions(
            self.crs, self.accuracy, self.ground_height, self.ground_height_accuracy, self.elevation
        )
        return RasterFiles(_folder_of(source, self.type), options)


class CalibrationSettings(GeoreferenceSettings):
    """A fixed camera that ``sam3edge georef calibrate`` has calibrated. The file is read again when it changes."""

    type: Literal["calibration"]
    path: Path

    def build(self, source: SourceSettings, refused: Refused) -> Georeferencing | None:
        """See ``GeoreferenceSettings``."""
        from sam3edge.geo.frames import CalibratedCamera

        return CalibratedCamera(self.path, refused)


class PoseSettings(GeoreferenceSettings):
    """A fixed camera whose pose is known; see ``geo.pose.CameraPose`` and ``PoseAccuracy``. The field of view is
    stated, or that of a lens."""

    type: Literal["pose"]
    longitude: Longitude
    latitude: Latitude
    camera_height: float = Field(gt=0, le=10_000)
    heading: Degrees
    tilt: float = Field(ge=-90, le=90)
    roll: float = Field(0.0, ge=-180, le=180)
    field_of_view: float | None = Field(None, gt=0, lt=180)
    lens: Path | None = None
    position_accuracy: Spread = 1.0
    camera_height_accuracy: Spread = 0.1
    heading_accuracy: Spread = 1.0
    tilt_accuracy: Spread = 0.5
    roll_accuracy: Spread = 0.5
    field_of_view_accuracy: Spread = 1.0

    @model_validator(mode="after")
    def _one_of_two(self) -> PoseSettings:
        if (self.field_of_view is None) == (self.lens is None):
            raise ValueError("expected FieldOfView, or a Lens, which says it, and not both")
        return self

    @property
    def standpoint(self) -> tuple[float, float] | None:
        """See ``GeoreferenceSettings``."""
        return self.longitude, self.latitude

    def build(self, source: SourceSettings, refused: Refused) -> Georeferencing | None:
        """See ``GeoreferenceSettings``."""
        from sam3edge.geo.frames import PosedCamera
        from sam3edge.geo.lens_file import read_lens
        from sam3edge.geo.pose import CameraPose, PoseAccuracy

        pose = CameraPose(
            self.longitude,
            self.latitude,
            self.camera_height,
            self.heading,
            self.tilt,
            self.roll,
            self.field_of_view or 0.0,  # the lens says it
        )
        accuracy = PoseAccuracy(
            self.position_accuracy,
            self.camera_height_accuracy,
            self.heading_accuracy,
            self.tilt_accuracy,
            self.roll_accuracy,
            self.field_of_view_accuracy,
        )
        return PosedCamera(pose, accuracy, None if self.lens is None else read_lens(self.lens))


class DroneSettings(GeoreferenceSettings):
    """Photographs of drones, with position and gimbal in EXIF and XMP. ``LensFieldOfView: 0`` takes EXIF's focal
    length."""

    type: Literal["drone"]
    lens_field_of_view: float = Field(0.0, ge=0, lt=180)

    def build(self, source: SourceSettings, refused: Refused) -> Georeferencing | None:
        """See ``GeoreferenceSettings``."""
        from sam3edge.geo.drone import DroneOptions
        from sam3edge.geo.frames import DronePhotographs

        return DronePhotographs(_folder_of(source, self.type), DroneOptions(self.lens_field_of_view))


GEOREFERENCES: dict[str, type[GeoreferenceSettings]] = {
    "none": NoGeoreference,
    "raster": RasterSettings,
    "calibration": CalibrationSettings,
    "pose": PoseSettings,
    "drone": DroneSettings,
}
"""By ``Georeference.Type``."""


def _folder_of(source: SourceSettings, kind: str) -> Path:
    if not isinstance(source, FolderSettings):
        raise SettingsError(
            f"Georeference.Type: {kind} needs Source.Type folder, got {source.type}; expected calibration or pose"
        )
    return source.path
