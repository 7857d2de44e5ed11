"""Zones, lines, derived labels and tracks: how they are configured, and the parts made of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import shapely
from pydantic import Field, model_validator

from sam3edge.core.gate import Gate
from sam3edge.core.georeference import FARTHEST
from sam3edge.core.messages.events import MAX_LINES, MAX_PLACE_NAME, MAX_ZONES
from sam3edge.core.messages.status import TrackingMember
from sam3edge.core.phrases import single_spaced
from sam3edge.core.stages import DetectionStage
from sam3edge.core.types import Prompt
from sam3edge.greengrass.settings import Seconds, SecondsOrNever, SettingsModel, Unit
from sam3edge.tracking.complements import DerivedLabel, DeriveLabels
from sam3edge.tracking.earth import offset
from sam3edge.tracking.places import (
    Coordinates,
    Line,
    OnEarth,
    PixelsOfFrame,
    Places,
    Point,
    RelativeToFrame,
    TestPoint,
    Zone,
    ZoneKind,
    bottom_center,
    centroid,
)
from sam3edge.tracking.stage import AttentiveGate, EventChannel, TrackObjects
from sam3edge.tracking.tracker import TrackingOptions
from sam3edge.tracking.zone_stage import ApplyZones

TRACKS = "tracks.json"
"""The file in the segmenter's work folder where tracks outlive a restart."""

MAX_DERIVED = 16

Coordinate: TypeAlias = Annotated[float, Field(ge=-1e6, le=1e6)]
PlaceName: TypeAlias = Annotated[str, Field(pattern=rf"^[A-Za-z0-9_.-]{{1,{MAX_PLACE_NAME}}}$")]
PromptText: TypeAlias = Annotated[str, Field(min_length=1, max_length=200)]
CoordinatesName: TypeAlias = Literal["relative", "pixels", "world"]
TestPointName: TypeAlias = Literal["bottom-center", "centroid"]

MAX_DEGREES = 90.0
"""Between the first corner and another one: what is wider may go round a pole, where longitudes enclose nothing."""

TEST_POINTS: dict[TestPointName, TestPoint] = {"bottom-center": bottom_center, "centroid": centroid}


class ZoneSettings(SettingsModel):
    """A zone; see ``tracking/places.py``. ``Prompts`` are texts; none for all. With ``Coordinates: world``, corners are
    longitude and latitude as in GeoJSON, whose rings end where they begin."""

    name: PlaceName
    polygon: list[tuple[Coordinate, Coordinate]] = Field(min_length=3, max_length=64)
    coordinates: CoordinatesName = "relative"
    kind: ZoneKind = "watch"
    prompts: list[PromptText] = Field([], max_length=256)
    dwell_seconds: SecondsOrNever = 0.0

    @model_validator(mode="after")
    def _encloses_something(self) -> ZoneSettings:
        _require_within(self.coordinates, self.polygon)
        polygon = shapely.Polygon(_on_a_plane(self.coordinates, self.polygon))
        if not polygon.is_valid or polygon.area == 0:
            raise ValueError(f"expected a Polygon that does not cross itself, got: {shapely.is_valid_reason(polygon)}")
        return self

    def zone(self) -> Zone:
        """As stages take it."""
        return Zone(
            self.name,
            tuple(self.polygon),
            _coordinates(self.coordinates, self.polygon[0]),
            self.kind,
            _texts(self.prompts),
            self.dwell_seconds,
        )


class LineSettings(SettingsModel):
    """A line that objects cross, from ``From`` to ``To``."""

    name: PlaceName
    from_: tuple[Coordinate, Coordinate] = Field(alias="From")
    to: tuple[Coordinate, Coordinate]
    coordinates: CoordinatesName = "relative"
    prompts: list[PromptText] = Field([], max_length=256)

    @model_validator(mode="after")
    def _has_a_length(self) -> LineSettings:
        if self.from_ == self.to:
            raise ValueError("expected From and To to be two points, got one")
        _require_within(self.coordinates, [self.from_, self.to])
        return self

    def line(self) -> Line:
        """As stages take it."""
        coordinates = _coordinates(self.coordinates, self.from_)
        return Line(self.name, self.from_, self.to, coordinates, _texts(self.prompts))


class DerivedLabelSettings(SettingsModel):
    """A label for what has another object on it (``With``) or has not (``Without``), both texts of prompts."""

    label: str = Field(min_length=1, max_length=200)
    prompt: PromptText
    with_: PromptText | None = Field(None, alias="With")
    without: PromptText | None = None
    overlap: Annotated[Unit, Field(gt=0)] = 0.5

    @model_validator(mode="after")
    def _one_of_two(self) -> DerivedLabelSettings:
        if (self.with_ is None) == (self.without is None):
            raise ValueError("expected either With or Without")
        return self

    def derived(self) -> DerivedLabel:
        """As the stage takes it."""
        other, when = (self.with_, "with") if self.with_ is not None else (self.without, "without")
        kind: Literal["with", "without"] = "with" if when == "with" else "without"
        return DerivedLabel(self.label, single_spaced(self.prompt), single_spaced(other or ""), kind, self.overlap)


class TrackingSettings(SettingsModel):
    """Joining detections of successive frames; see ``TrackingOptions``."""

    enabled: bool = False
    prompts: list[PromptText] = Field([], max_length=256)
    confirm_looks: int = Field(2, ge=1, le=100)
    max_lost_seconds: SecondsOrNever = 3.0
    max_gap_seconds: Seconds = 120.0
    stationary_seconds: Seconds = 10.0

    def options(self) -> TrackingOptions:
        """As the tracker takes them."""
        return TrackingOptions(
            self.confirm_looks,
            self.max_lost_seconds,
            self.max_gap_seconds,
            self.stationary_seconds,
            _texts(self.prompts),
        )


class PlaceSettings(SettingsModel):
    """What is *live* of all this."""

    zones: list[ZoneSettings] = Field([], max_length=MAX_ZONES)
    lines: list[LineSettings] = Field([], max_length=MAX_LINES)
    test_point: TestPointName = "bottom-center"
    derived_labels: list[DerivedLabelSettings] = Field([], max_length=MAX_DERIVED)

    @model_validator(mode="after")
    def _names_differ(self) -> PlaceSettings:
        names = [zone.name for zone in self.zones] + [line.name for line in self.lines]
        if len(set(names)) < len(names):
            raise ValueError(f"expected every zone and line to have a name of its own, got {', '.join(names)}")
        return self

    def rules(self) -> Rules:
        """As the stages take them."""
        places = Places(
            tuple(zone.zone() for zone in self.zones),
            tuple(line.line() for line in self.lines),
            TEST_POINTS[self.test_point],
        )
        return Rules(places, tuple(derived.derived() for derived in self.derived_labels))

    def on_earth(self) -> dict[str, list[Point]]:
        """Zones and lines that are drawn in world coordinates: their points by their names."""
        drawn = [(zone.name, zone.coordinates, zone.polygon) for zone in self.zones]
        drawn += [(line.name, line.coordinates, [line.from_, line.to]) for line in self.lines]
        return {name: points for name, coordinates, points in drawn if coordinates == "world"}

    def named_prompts(self) -> set[str]:
        """Texts of prompts that zones, lines and derived labels speak of."""
        places = chain.from_iterable([*(zone.prompts for zone in self.zones), *(line.prompts for line in self.lines)])
        derived = (text for one in self.derived_labels for text in (one.prompt, one.with_, one.without) if text)
        return {single_spaced(text) for text in (*places, *derived)}


@dataclass(frozen=True, slots=True)
class Rules:
    """What is replaced as a whole, between two frames, when the configuration changes."""

    places: Places
    derived: tuple[DerivedLabel, ...]


@dataclass(frozen=True, slots=True)
class Tracking:
    """The stages, in order.

    Attributes:
        objects: the one that tracks; None where nothing is tracked.
    """

    stages: Sequence[DetectionStage]
    objects: TrackObjects | None

    def gate(self, gate: Gate) -> Gate:
        """The source's gate, or one that waits for the tracks with it."""
        return gate if self.objects is None else AttentiveGate(gate, self.objects)

    def report(self) -> TrackingMember | None:
        """For the heartbeat; None where nothing is tracked."""
        return None if self.objects is None else self.objects.summary()


def build_tracking(
    keys: TrackingSettings,
    channel: EventChannel,
    work: Path,
    rules: Callable[[], Rules],
    prompts: Callable[[], Sequence[Prompt]],
) -> Tracking:
    """The parts that a configuration asks for.

    Args:
        work: the component's work folder.
        rules: those in force at present.
        prompts: what is asked for at present.
    """
    stages: list[DetectionStage] = [
        DeriveLabels(lambda: rules().derived, prompts),
        ApplyZones(lambda: rules().places),
    ]
    if not keys.enabled:
        return Tracking(stages, None)
    objects = TrackObjects(channel, work / TRACKS, keys.options(), lambda: rules().places)
    return Tracking([*stages, objects], objects)


def require_in_sight(standpoint: Point, drawn: Mapping[str, Sequence[Point]]) -> None:
    """Refuse what is drawn where a camera cannot see it, which is so by mistake.

    Args:
        standpoint: longitude, latitude of the camera.
        drawn: points by the names of zones and lines.
    """
    for name, points in drawn.items():
        nearest = float(np.hypot(*offset(standpoint, np.array(points)).T).min())
        if nearest > FARTHEST:
            raise ValueError(
                f"expected {name} where the camera at longitude {standpoint[0]:g}, latitude {standpoint[1]:g} can see "
                f"it, got points {nearest / 1000:,.0f} km away; longitude comes first"
            )


def _texts(prompts: Sequence[str]) -> frozenset[str]:
    return frozenset(map(single_spaced, prompts))


def _coordinates(name: CoordinatesName, first: Point) -> Coordinates:
    """What is drawn in these, beginning with a point."""
    if name == "world":
        return OnEarth(first)
    return RelativeToFrame() if name == "relative" else PixelsOfFrame()


def _on_a_plane(name: CoordinatesName, points: Sequence[Point]) -> npt.NDArray[np.float64]:
    """Corners as they are compared, but for the size of the frame."""
    corners = np.array(points, np.float64)
    return offset(points[0], corners) if name == "world" else corners


def _require_within(coordinates: CoordinatesName, points: Sequence[Point]) -> None:
    """What is given in pixels by mistake would lie outside of every frame, what is not so by mistake within one pixel,
    and what is not in degrees on no map."""
    if coordinates == "relative" and any(not -1 <= value <= 2 for point in points for value in point):
        raise ValueError(
            "expected relative coordinates, 0 to 1, got others; add Coordinates: pixels, or world for longitude and "
            "latitude"
        )
    if coordinates == "pixels" and all(0 <= value <= 1 for point in points for value in point):
        raise ValueError("expected pixels of the frame, got 0 to 1 only; leave Coordinates out, which means relative")
    if coordinates == "world":
        if any(abs(longitude) > 180 or abs(latitude) > 90 for longitude, latitude in points):
            raise ValueError("expected longitudes within -180..180 and latitudes within -90..90; longitude comes first")
        if any(abs((longitude - points[0][0] + 180) % 360 - 180) > MAX_DEGREES for longitude, _ in points):
            raise ValueError(f"expected longitudes within {MAX_DEGREES:g} degrees of the first one; divide the zone")
