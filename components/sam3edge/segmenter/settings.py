"""The configuration of the segmenter component, as deployments write it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, SerializeAsAny, field_validator, model_validator

from sam3edge.core.flow import DetectionOptions
from sam3edge.core.messages.bounds import MIN_PAYLOAD
from sam3edge.core.phrases import single_spaced
from sam3edge.core.types import Prompt, Reason
from sam3edge.greengrass.settings import (
    Bytes,
    ComponentSettings,
    Count,
    Pixels,
    Seconds,
    SecondsOrNever,
    SettingsModel,
    Unit,
    by_type,
    validate_settings,
)
from sam3edge.hard_examples.drift import DriftOptions
from sam3edge.hard_examples.selection import Kind, SelectionOptions
from sam3edge.outbox.limits import OutboxOptions, ReplayOptions
from sam3edge.segmenter.georeferences import GEOREFERENCES, GeoreferenceSettings, NoGeoreference
from sam3edge.segmenter.publishers import PUBLISHERS, GreengrassSettings, PublisherSettings
from sam3edge.segmenter.sources import SOURCES, SourceSettings
from sam3edge.segmenter.tracking import PlaceSettings, TrackingSettings, require_in_sight

MAX_PROMPTS = 256
"""Each takes its share of every frame's time and of every message."""


def _split(value: Any) -> Any:
    """One string with commas as a list; anything else as it is."""
    return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value


class PromptSettings(SettingsModel):
    """One thing to look for. ``Threshold`` and ``MinArea`` fall back to the component's."""

    text: str = Field(min_length=1, max_length=200)
    threshold: Unit | None = None
    min_area: Pixels | None = None
    label: str = Field("", max_length=200)


class OutboxSettings(SettingsModel):
    """Bounds of the durable outbox; see ``OutboxOptions``. ``MaxAgeSeconds: 0`` keeps messages for ever."""

    max_bytes: Annotated[Bytes, Field(ge=10_000)] = 256 << 20
    max_age_seconds: SecondsOrNever = 0.0
    replay_messages: Annotated[Count, Field(le=10_000)] | None = None
    replay_seconds: SecondsOrNever = 600.0

    def options(self, replay_messages: int) -> OutboxOptions:
        """As the outbox takes them.

        Args:
            replay_messages: what the nucleus needs, where the configuration does not say otherwise.
        """
        messages = replay_messages if self.replay_messages is None else self.replay_messages
        return OutboxOptions(self.max_bytes, self.max_age_seconds or None, ReplayOptions(messages, self.replay_seconds))


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
    max_seconds: SecondsOrNever = 0.0
    recheck_seconds: Seconds = 60.0
    max_backlog: Count = 0
    uncertain_scores: tuple[Unit, Unit] = (0.4, 0.6)
    presence: float = Field(0.9, gt=0.5, le=1)
    requests_per_hour: Count = 60
    requests_per_day: Count = 500
    timeout_seconds: float = Field(10.0, ge=0.1, le=300)
    failures: Annotated[Count, Field(ge=1)] = 3
    pause_seconds: Seconds = 30.0
    longest_side: int = Field(2016, ge=64, le=65_000)
    max_body_bytes: int = Field(4_000_000, ge=10_000, le=25 << 20)
    asynchronous: AsynchronousSettings | None = None
    model_wait_seconds: SecondsOrNever = 60.0

    @field_validator("reasons", mode="before")
    @classmethod
    def _texts(cls, value: Any) -> Any:
        return _split(value)

    @model_validator(mode="after")
    def _lower_first(self) -> FallbackSettings:
        if self.uncertain_scores[0] > self.uncertain_scores[1]:
            raise ValueError("UncertainScores must be two scores, the lower first")
        return self


class HardExampleSettings(SettingsModel):
    """Which frames are kept for training, and how many; see ``hard_examples/selection.py`` and ``quotas.py``.

    ``Kinds`` is a list, or one string with commas. ``Folder`` defaults to one in the work folder.
    """

    enabled: bool = False
    kinds: list[Kind] = Field(["uncertain", "surprising", "disagreement", "random"], min_length=1)
    band: Unit = 0.1
    deviations: float = Field(4.0, gt=0, le=1000)
    random_share: Unit = 0.001
    per_hour: Count = 20
    bytes_per_day: Bytes = 64 << 20
    max_bytes: Bytes = 512 << 20
    folder: str = ""

    @field_validator("kinds", mode="before")
    @classmethod
    def _texts(cls, value: Any) -> Any:
        return _split(value)

    def options(self) -> SelectionOptions:
        """As the selector takes them."""
        return SelectionOptions(
            frozenset(self.kinds), band=self.band, deviations=self.deviations, random_share=self.random_share
        )


class DriftSettings(SettingsModel):
    """The watch over the distributions of what the model says; see ``hard_examples/drift.py``."""

    enabled: bool = True
    reference_frames: int = Field(1000, ge=50, le=1_000_000)
    window_frames: int = Field(200, ge=50, le=10_000)
    seconds_between: float = Field(10.0, ge=0, le=86_400)
    threshold: float = Field(0.03, gt=0, le=1)

    def options(self) -> DriftOptions:
        """As the monitor takes them."""
        return DriftOptions(self.reference_frames, self.window_frames, self.seconds_between, self.threshold)


class Live(PlaceSettings):
    """What may change while the component runs: it takes effect with the next frame.

    ``NmsIou`` is by default what COCO's evaluation calls the same object. Masks, unlike boxes, of two objects hardly
    ever overlap so far; 1 keeps every repeat.

    ``Prompts`` is a list of texts or of {Text, Threshold, MinArea, Label}, or one string with commas.
    """

    prompts: list[PromptSettings] = Field(min_length=1, max_length=MAX_PROMPTS)
    threshold: Unit = 0.5
    min_area: Pixels = 0.0
    simplify_tolerance: float = Field(0.5, ge=0, le=50)
    max_simplify_tolerance: float = Field(4.0, ge=0, le=500)
    nms_iou: Annotated[float, Field(gt=0, le=1)] = 0.5
    georeference: Annotated[SerializeAsAny[GeoreferenceSettings], PlainValidator(by_type(GEOREFERENCES, "none"))] = (
        NoGeoreference()
    )

    @field_validator("prompts", mode="before")
    @classmethod
    def _texts(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = [text.strip() for text in value.split(",") if text.strip()]
        if isinstance(value, list):
            return [{"Text": item} if isinstance(item, str) else item for item in value]
        return value

    @model_validator(mode="after")
    def _rules_are_about_prompts(self) -> Live:
        missing = self.named_prompts() - {single_spaced(prompt.text) for prompt in self.prompts}
        if missing:
            raise ValueError(
                "expected Zones, Lines and DerivedLabels to name texts of Prompts, got "
                f"{', '.join(sorted(missing))}; add them to Prompts"
            )
        return self

    @model_validator(mode="after")
    def _places_on_earth_need_a_georeference(self) -> Live:
        names = self.on_earth()
        if names and self.georeference.type == "none":
            raise ValueError(
                f"expected a Georeference for Coordinates: world of {', '.join(names)}, got none; say where the frames "
                "are (Georeference.Type), or draw them in the frame"
            )
        if (standpoint := self.georeference.standpoint) is not None:
            require_in_sight(standpoint, names)
        return self

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
        nms_iou = None if self.nms_iou == 1 else self.nms_iou
        return DetectionOptions(prompts, self.simplify_tolerance, self.max_simplify_tolerance, nms_iou, max_payload)


class Settings(Live, ComponentSettings):
    """The whole configuration. What is not in ``Live`` takes effect by rebuilding the component's parts.

    ``MaxPayloadBytes``, ``InFlight``, ``ProbeSeconds`` and ``Outbox.ReplayMessages`` default to what the nucleus
    allows, which the recipe knows.
    """

    source: Annotated[SerializeAsAny[SourceSettings], PlainValidator(by_type(SOURCES))]
    publisher: Annotated[SerializeAsAny[PublisherSettings], PlainValidator(by_type(PUBLISHERS, "greengrass"))] = (
        GreengrassSettings()
    )
    outbox: OutboxSettings = OutboxSettings()
    fallback: FallbackSettings = FallbackSettings()
    hard_examples: HardExampleSettings = HardExampleSettings()
    drift: DriftSettings = DriftSettings()
    tracking: TrackingSettings = TrackingSettings()
    threads: int = Field(0, ge=0, le=256)
    max_instances: int = Field(100, gt=0, le=10_000)
    prompts_per_run: int = Field(4, gt=0, le=MAX_PROMPTS)
    max_payload_bytes: int | None = Field(None, ge=MIN_PAYLOAD, le=131_072)
    in_flight: int | None = Field(None, ge=1, le=100)
    heartbeat_seconds: Seconds = Field(30.0, ge=1)
    probe_seconds: SecondsOrNever | None = None
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @model_validator(mode="after")
    def _tracks_are_of_prompts(self) -> Settings:
        missing = set(map(single_spaced, self.tracking.prompts)) - {single_spaced(one.text) for one in self.prompts}
        if missing:
            names = ", ".join(sorted(missing))
            raise ValueError(f"expected Tracking.Prompts to be texts of Prompts, got {names}; add them to Prompts")
        return self

    def needs_rebuild(self, other: Settings) -> bool:
        """Whether going from here to ``other`` changes more than ``Live`` covers."""
        live = set(Live.model_fields)
        return self.model_dump(exclude=live) != other.model_dump(exclude=live)


def read_settings(configuration: Mapping[str, Any]) -> Settings:
    """Validate a component configuration.

    Raises:
        SettingsError: names every key that is wrong, what was expected and, unless it may be secret, what it got.
    """
    return validate_settings(Settings, configuration)
