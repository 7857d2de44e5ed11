"""The configuration of the segmenter component, as it stands in a deployment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, field_validator, model_validator

from sam3edge.core.flow import DetectionOptions
from sam3edge.core.phrases import single_spaced
from sam3edge.core.types import Prompt, Reason
from sam3edge.greengrass.settings import ComponentSettings, SettingsModel, validate_settings

_Unit = Annotated[float, Field(ge=0, le=1)]
_Positive = Annotated[float, Field(gt=0)]


class PromptSettings(SettingsModel):
    """One thing to look for. ``Threshold`` and ``MinArea`` fall back to the component's."""

    text: str = Field(min_length=1, max_length=200)
    threshold: _Unit | None = None
    min_area: float | None = Field(None, ge=0)
    label: str = ""


class FolderSettings(SettingsModel):
    """A watched folder. ``Quarantine`` and ``MoveTo`` default to folders inside the component's work folder."""

    type: Literal["folder"]
    path: Path
    on_processed: Literal["keep", "move", "delete"] = "keep"
    move_to: Path | None = None
    quarantine: Path | None = None
    recursive: bool = False
    max_pixels: int = Field(100_000_000, gt=0)
    max_bytes: int = Field(512 << 20, gt=0)
    settle_seconds: _Positive = 0.5
    rescan_seconds: _Positive = 10.0

    @model_validator(mode="after")
    def _move_needs_a_place(self) -> FolderSettings:
        if (self.on_processed == "move") != (self.move_to is not None):
            raise ValueError("MoveTo is needed with OnProcessed 'move', and only then")
        return self


class GateSettings(SettingsModel):
    """Which camera frames are looked at; see ``ChangeGateOptions``. ``Enabled: false`` looks at all of them."""

    enabled: bool = True
    delta: float = Field(12.0, gt=0, lt=255)
    fraction: float = Field(0.001, ge=0, lt=1)
    max_interval_seconds: _Positive = 60.0


class CameraSettings(SettingsModel):
    """A camera: device index, rtsp://, http(s):// MJPEG, a video file, or gst:<pipeline>."""

    type: Literal["camera"]
    uri: str = Field(min_length=1, repr=False)
    name: str = Field("camera", pattern=r"^[A-Za-z0-9_-]{1,64}$")
    max_fps: float = Field(0.0, ge=0)
    width: int | None = Field(None, gt=0)
    height: int | None = Field(None, gt=0)
    realtime: bool = False
    open_timeout_seconds: _Positive = 10.0
    read_timeout_seconds: _Positive = 5.0
    gate: GateSettings = GateSettings()


SourceSettings: TypeAlias = Annotated[FolderSettings | CameraSettings, Field(discriminator="type")]


class OutboxSettings(SettingsModel):
    """Bounds of the durable outbox; see ``OutboxOptions``. ``MaxAgeSeconds: 0`` keeps messages for ever."""

    max_bytes: int = Field(256 << 20, ge=10_000)
    max_age_seconds: float = Field(0.0, ge=0)
    replay_messages: int = Field(100, ge=0)
    replay_seconds: float = Field(600.0, ge=0)


class PublisherSettings(SettingsModel):
    """``greengrass`` sends to AWS IoT Core, ``files`` writes every message below ``Folder``."""

    type: Literal["greengrass", "files"] = "greengrass"
    folder: Path | None = None

    @model_validator(mode="after")
    def _files_need_a_place(self) -> PublisherSettings:
        if (self.type == "files") != (self.folder is not None):
            raise ValueError("Folder is needed with Type 'files', and only then")
        return self


class AsynchronousSettings(SettingsModel):
    """An asynchronous SageMaker endpoint for requests above ``MaxBodyBytes`` of ``Fallback``."""

    endpoint: str = Field(min_length=1)
    uploads: str = Field(pattern=r"^s3://[^/]+(/.*)?$")
    max_body_bytes: int = Field(100_000_000, ge=10_000, le=1_000_000_000)


class FallbackSettings(SettingsModel):
    """When the cloud is asked; see ``core/fallback/policy.py``. Without ``Endpoint`` it never is.

    ``Reasons`` is a list, or one string with commas. ``degraded`` is not among the defaults because the default
    ``Providers`` name accelerators that many devices do not have.
    """

    endpoint: str = Field("", repr=False)
    reasons: list[Reason] = Field(["unavailable", "slow", "unsupported", "uncertain"], min_length=1)
    max_seconds: float = Field(0.0, ge=0)
    recheck_seconds: _Positive = 60.0
    max_backlog: int = Field(0, ge=0)
    uncertain_scores: tuple[_Unit, _Unit] = (0.4, 0.6)
    presence: float = Field(0.9, gt=0.5, le=1)
    requests_per_hour: int = Field(60, ge=0)
    requests_per_day: int = Field(500, ge=0)
    timeout_seconds: float = Field(10.0, ge=0.1, le=300)
    failures: int = Field(3, ge=1)
    pause_seconds: _Positive = 30.0
    longest_side: int = Field(2016, ge=64, le=65_000)
    max_body_bytes: int = Field(4_000_000, ge=10_000, le=25 << 20)
    asynchronous: AsynchronousSettings | None = None
    hard_example_bytes: int = Field(256 << 20, ge=0)
    model_wait_seconds: float = Field(60.0, ge=0)

    @field_validator("reasons", mode="before")
    @classmethod
    def _texts(cls, value: Any) -> Any:
        return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value

    @model_validator(mode="after")
    def _lower_first(self) -> FallbackSettings:
        if self.uncertain_scores[0] > self.uncertain_scores[1]:
            raise ValueError("UncertainScores must be two scores, the lower first")
        return self


class Live(SettingsModel):
    """What may change while the component runs: it takes effect with the next frame.

    ``Prompts`` is a list of texts or of {Text, Threshold, MinArea, Label}, or one string with commas.
    """

    prompts: list[PromptSettings] = Field(min_length=1)
    threshold: _Unit = 0.5
    min_area: float = Field(0.0, ge=0)
    simplify_tolerance: float = Field(0.5, ge=0, le=50)
    max_simplify_tolerance: float = Field(4.0, ge=0, le=500)
    nms_iou: Annotated[float, Field(gt=0, le=1)] | None = None

    @field_validator("prompts", mode="before")
    @classmethod
    def _texts(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = [text.strip() for text in value.split(",") if text.strip()]
        if isinstance(value, list):
            return [{"Text": item} if isinstance(item, str) else item for item in value]
        return value

    def detection_options(self, max_payload: int) -> DetectionOptions:
        """What the flow looks for, and how it says it."""
        prompts = tuple(
            Prompt(
                single_spaced(p.text),
                self.threshold if p.threshold is None else p.threshold,
                self.min_area if p.min_area is None else p.min_area,
                p.label,
            )
            for p in self.prompts
        )
        return DetectionOptions(
            prompts, self.simplify_tolerance, self.max_simplify_tolerance, self.nms_iou, max_payload
        )


class Settings(Live, ComponentSettings):
    """The whole configuration. What is not in ``Live`` takes effect by building the component's parts anew.

    ``MaxPayloadBytes`` and ``InFlight`` default to what the nucleus allows, which the recipe knows.
    """

    source: SourceSettings
    publisher: PublisherSettings = PublisherSettings()
    outbox: OutboxSettings = OutboxSettings()
    fallback: FallbackSettings = FallbackSettings()
    threads: int = Field(0, ge=0)
    max_instances: int = Field(100, gt=0)
    prompts_per_run: int = Field(4, gt=0)
    max_payload_bytes: int | None = Field(None, ge=1500, le=131_072)
    in_flight: int | None = Field(None, ge=1, le=100)
    heartbeat_seconds: float = Field(30.0, ge=1)
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    def needs_rebuild(self, other: Settings) -> bool:
        """Whether going from here to ``other`` changes more than ``Live`` covers."""
        live = set(Live.model_fields)
        return self.model_dump(exclude=live) != other.model_dump(exclude=live)


def read_settings(configuration: Mapping[str, Any]) -> Settings:
    """Validate a component configuration.

    Raises:
        SettingsError: names every key that is wrong, what was expected and, unless it may be secret, what came.
    """
    return validate_settings(Settings, configuration)
