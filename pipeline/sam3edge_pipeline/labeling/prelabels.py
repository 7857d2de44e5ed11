"""What a model proposes for an image, to be reviewed: from examples that devices uploaded, or from an engine.

An uploaded example is two objects below one prefix, ``frame.jpg`` and, last, ``example.json``. Its coordinates are
pixels of the device's frame; here they become pixels of the JPEG, which may be smaller.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

import shapely
from pydantic import Field
from shapely.geometry import MultiPolygon, Polygon

from sam3edge.core.polygons import to_detections
from sam3edge.core.ports import Engine
from sam3edge.core.types import Frame, Prompt
from sam3edge_pipeline.datasets.formats.annotations import (
    MAX_SIDE,
    FormatError,
    Lenient,
    parse,
    phrase_of,
)
from sam3edge_pipeline.datasets.formats.outlines import finished, from_geojson
from sam3edge_pipeline.datasets.importing import GroupOf, by_folder_and_hour
from sam3edge_pipeline.datasets.labels import ImageRecord

FRAME, EXAMPLE = "frame.jpg", "example.json"
MAX_PROPOSALS = 2000


@dataclass(frozen=True, slots=True)
class Proposal:
    """An object that a model has found.

    Attributes:
        outline: valid, in pixels of the image.
        score: 0..1.
    """

    phrase: str
    outline: Polygon | MultiPolygon
    score: float


@dataclass(frozen=True, slots=True)
class PreLabeled:
    """An image to be reviewed.

    Attributes:
        record: of the image.
        phrases: what was asked for, and is to be decided; each phrase of a proposal is among them.
        note: why it is to be reviewed, for the reviewer; may be empty.
    """

    record: ImageRecord
    phrases: tuple[str, ...]
    proposals: tuple[Proposal, ...]
    note: str = ""


class _Sized(Lenient):
    width: int = Field(gt=0, le=MAX_SIDE)
    height: int = Field(gt=0, le=MAX_SIDE)


class _Frame(_Sized):
    id: str
    source: str
    name: str
    captured_at: datetime


class _Image(_Sized):
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class _Reason(Lenient):
    kind: Literal["uncertain", "surprising", "disagreement", "random"]
    detail: str = ""


class _Prompt(Lenient):
    text: str


class _Properties(Lenient):
    imageGeometry: dict[str, Any]  # noqa: N815  # the format's own name
    prompt: str
    score: float = Field(ge=0, le=1)


class _Feature(Lenient):
    properties: _Properties


class _Detections(Lenient):
    features: list[_Feature] = Field(max_length=MAX_PROPOSALS)


class _Example(Lenient):
    format: Literal[1]
    frame: _Frame
    image: _Image
    reason: _Reason
    prompts: list[_Prompt]
    perceptual_hash: str = Field(pattern=r"^[0-9a-f]{16}$")
    device: _Detections
    cloud: _Detections | None = None


def read_hard_example(
    example: bytes, jpeg: bytes, where: str, thing: str = "", group_of: GroupOf = by_folder_and_hour
) -> PreLabeled:
    """An uploaded example. Where the cloud's model has looked, its detections are proposed, else the device's.

    Args:
        example: ``example.json``.
        jpeg: ``frame.jpg``.
        where: its prefix, for errors and as the image's origin.
        thing: the device's name; images of one source of one device belong together as ``group_of`` says.

    Raises:
        FormatError: damaged, or the image is not the one that it is of.
    """
    path = Path(where) / EXAMPLE
    read = parse(_Example, example, path)
    digest = hashlib.sha256(jpeg).hexdigest()
    if digest != read.image.sha256:
        raise FormatError(f"{path}: image.sha256: expected {digest}, as {FRAME} has, got {read.image.sha256}")
    frame, image = read.frame, read.image
    captured_at = frame.captured_at.astimezone(timezone.utc)
    across, down = image.width / frame.width, image.height / frame.height
    phrases = dict.fromkeys(phrase_of(p.text, path, f"prompts.{i}.text") for i, p in enumerate(read.prompts))
    who, found = ("cloud", read.cloud) if read.cloud is not None else ("device", read.device)
    proposals = []
    for number, feature in enumerate(found.features):
        place = f"{who}.features.{number}.properties"
        inside = from_geojson(feature.properties.imageGeometry, path, f"{place}.imageGeometry")
        scaled = shapely.transform(inside, lambda at: at * (across, down))
        outline = finished(scaled, image.width, image.height, path, f"{place}.imageGeometry")
        phrase = phrase_of(feature.properties.prompt, path, f"{place}.prompt")
        phrases[phrase] = None
        proposals.append(Proposal(phrase, outline, feature.properties.score))
    group = group_of(f"{thing}/{frame.source}/{FRAME}", captured_at)
    record = ImageRecord(
        id=digest,
        suffix=".jpg",
        width=image.width,
        height=image.height,
        group=group,
        captured_at=captured_at,
        perceptual_hash=int(read.perceptual_hash, 16),
        origin=where,
    )
    note = f"{read.reason.kind}: {read.reason.detail}" if read.reason.detail else read.reason.kind
    return PreLabeled(record, tuple(phrases), tuple(proposals), note[:500])


def propose(engine: Engine, frame: Frame, phrases: Sequence[str], threshold: float = 0.5) -> tuple[Proposal, ...]:
    """What a model finds in a frame: a bigger model than devices have, or the one to be improved.

    Args:
        threshold: lower than devices have it, since rejecting is quicker than outlining.

    Raises:
        FrameError: this image cannot be processed.
        EngineError: the model cannot run.
    """
    prompts = [Prompt(phrase, threshold) for phrase in phrases]
    found = to_detections(engine.segment(frame, prompts), frame, engine.model).detections
    best = sorted(found, key=lambda one: -one.score)[:MAX_PROPOSALS]
    return tuple(Proposal(one.prompt.text, one.geometry, one.score) for one in best)
