"""The kinds of sources: what each is configured with, and how it is built.

To add one, write its settings with ``build``, and enter them in ``SOURCES``.
"""

from __future__ import annotations

import zoneinfo
from abc import abstractmethod
from pathlib import Path
from typing import Literal

from pydantic import Field, FiniteFloat, field_validator, model_validator

from sam3edge.core.gate import ChangeGate, ChangeGateOptions, Gate, OpenGate
from sam3edge.core.ports import Source
from sam3edge.greengrass.settings import Bytes, Count, Seconds, SettingsModel
from sam3edge.images.decoding import MIN_SIDE, DecodeOptions
from sam3edge.images.depth import Depth, DepthOptions
from sam3edge.sources.camera.source import CameraOptions, open_camera
from sam3edge.sources.folder.disposition import Delete, Keep, MoveTo, OnProcessed
from sam3edge.sources.folder.source import FolderOptions, FolderSource


class SourceSettings(SettingsModel):
    """A source; ``Type`` says which kind."""

    type: str

    @abstractmethod
    def build(self, work: Path) -> Source:
        """The source.

        Args:
            work: the component's work folder, for what the source has to remember.

        Raises:
            SettingsError: it cannot be built like this.
        """
        raise NotImplementedError

    def build_gate(self) -> Gate:
        """Which of its frames are looked at; all, unless the kind says otherwise."""
        return OpenGate()


class FolderSettings(SourceSettings):
    """A watched folder. ``Quarantine`` and ``MoveTo`` default to folders inside the component's work folder."""

    type: Literal["folder"]
    path: Path
    on_processed: Literal["keep", "move", "delete"] = "keep"
    move_to: Path | None = None
    quarantine: Path | None = None
    recursive: bool = False
    max_pixels: int = Field(100_000_000, gt=0, le=10_000_000_000)
    max_bytes: Bytes = Field(512 << 20, gt=0)
    settle_seconds: Seconds = 0.5
    unfinished_seconds: Seconds = 120.0
    min_decoded_side: int = Field(MIN_SIDE, ge=0, le=65_535)
    depth: Literal["full-range", "min-max", "percentiles", "fixed"] = "full-range"
    depth_range: tuple[FiniteFloat, FiniteFloat] | None = None
    time_zone: str = Field("", max_length=100)

    @field_validator("time_zone")
    @classmethod
    def _is_a_zone(cls, name: str) -> str:
        try:
            return name and zoneinfo.ZoneInfo(name).key
        except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError) as error:
            raise ValueError("expected an IANA time zone that this device knows, such as Europe/Berlin") from error

    @model_validator(mode="after")
    def _fixed_needs_counts(self) -> FolderSettings:
        DepthOptions(Depth(self.depth), self.depth_range)
        return self

    rescan_seconds: Seconds = 10.0

    @model_validator(mode="after")
    def _move_needs_a_place(self) -> FolderSettings:
        if (self.on_processed == "move") != (self.move_to is not None):
            raise ValueError("MoveTo is needed with OnProcessed 'move', and only then")
        return self

    def build(self, work: Path) -> Source:
        """See ``SourceSettings``; journal and quarantine are in the work folder unless told otherwise."""
        on_processed: OnProcessed = Delete() if self.on_processed == "delete" else Keep()
        return FolderSource(
            FolderOptions(
                self.path,
                journal=work / "journal.sqlite",
                quarantine=self.quarantine or work / "quarantine",
                on_processed=on_processed if self.move_to is None else MoveTo(self.move_to),
                recursive=self.recursive,
                max_bytes=self.max_bytes,
                decode=DecodeOptions(
                    self.max_pixels,
                    DepthOptions(Depth(self.depth), self.depth_range),
                    zoneinfo.ZoneInfo(self.time_zone) if self.time_zone else None,
                    self.min_decoded_side,
                ),
                settle_seconds=self.settle_seconds,
                unfinished_seconds=self.unfinished_seconds,
                rescan_seconds=self.rescan_seconds,
            )
        )


class GateSettings(SettingsModel):
    """Which camera frames are looked at; see ``ChangeGateOptions``. ``Enabled: false`` looks at all of them."""

    enabled: bool = True
    delta: float = Field(12.0, gt=0, lt=255)
    fraction: float = Field(0.001, ge=0, lt=1)
    max_interval_seconds: Seconds = 60.0


class CameraSettings(SourceSettings):
    """A camera: device index, rtsp://, http(s):// MJPEG, a video file, or gst:<pipeline>."""

    type: Literal["camera"]
    uri: str = Field(min_length=1, repr=False)
    name: str = Field("camera", pattern=r"^[A-Za-z0-9_-]{1,64}$")
    max_fps: float = Field(0.0, ge=0, le=1000)
    width: Count | None = Field(None, gt=0, le=65_535)
    height: Count | None = Field(None, gt=0, le=65_535)
    realtime: bool = False
    open_timeout_seconds: Seconds = Field(10.0, le=3600)
    read_timeout_seconds: Seconds = Field(5.0, le=3600)
    gate: GateSettings = GateSettings()

    def build(self, work: Path) -> Source:
        """See ``SourceSettings``; a camera remembers nothing."""
        return open_camera(
            CameraOptions(
                self.uri,
                self.name,
                self.max_fps,
                self.width,
                self.height,
                self.realtime,
                self.open_timeout_seconds,
                self.read_timeout_seconds,
            )
        )

    def build_gate(self) -> Gate:
        """The frames that differ."""
        gate = self.gate
        if not gate.enabled:
            return OpenGate()
        return ChangeGate(ChangeGateOptions(gate.delta, gate.fraction, gate.max_interval_seconds))


SOURCES: dict[str, type[SourceSettings]] = {"folder": FolderSettings, "camera": CameraSettings}
"""By ``Source.Type``."""
