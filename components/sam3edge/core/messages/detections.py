"""The detections message: a GeoJSON FeatureCollection that never exceeds the transport's payload size.

It is read by RFC 7946 readers (a FeatureCollection with foreign members; `geometry` and `bbox` are on Earth, and
`geometry` is null where the place of the frame is not known) and by OversightML's tools (`imageGeometry`, `imageBBox`,
`featureClasses`, `modelMetadata`, `image_id` in the properties, coordinates in pixels of the frame, origin top left).
What does not fit is made coarser, then split, and a
feature too large even for a message of its own is replaced by its hull; no detection is left out. Texts are bounded
(``core/messages/bounds.py``), each by a share of what a message may have, so that a name or a list of unknown phrases
never keeps a frame's detections from being sent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any, Literal, cast

import shapely
import shapely.geometry
from shapely.geometry import MultiPolygon, Polygon
from typing_extensions import NotRequired, TypedDict

from sam3edge.core.errors import MessageTooLarge
from sam3edge.core.messages.bounds import MAX_WORD, MIN_PAYLOAD, as_many_as_fit, bounded, reason_of
from sam3edge.core.messages.envelope import (
    Envelope,
    FrameReference,
    ModelMember,
    Timestamp,
    envelope,
    message_id,
    model_member,
    stable_id,
    timestamp,
    to_json,
)
from sam3edge.core.messages.features import Feature, ModelMetadata, Shape, coarse, exact, feature
from sam3edge.core.messages.geometries import hull, pixel_geometry, world_geometry, world_hull
from sam3edge.core.types import (
    Clock,
    Detection,
    Detections,
    Frame,
    JsonValue,
    Message,
    ModelInfo,
    Origin,
    Prompt,
    Reason,
)

WORD, NAME, DETAIL, UNSUPPORTED, PROMPTS = 40, 16, 20, 10, 4
"""What these texts may have of a message: its bytes divided by this. Words are phrases, labels and what names a model.
At 7,000 bytes a phrase may have 175 and the frame's name 437; at 128 KiB nothing that occurs is cut."""


class FrameMember(FrameReference):
    """Which frame was looked at; width and height are pixels. ``clock`` is the one that ``captured_at`` is of."""

    captured_at: Timestamp
    clock: Clock
    width: int
    height: int
    digest: str


class PromptMember(TypedDict):
    """What was asked for."""

    text: str
    label: str
    threshold: float
    min_area: float


class OriginMember(TypedDict):
    """Whose model looked: the device's own or one in the cloud; ``reason`` is why the cloud was wanted, if it was."""

    by: Literal["device", "cloud"]
    reason: NotRequired[Reason]
    detail: NotRequired[str]


class PartMember(TypedDict):
    """Which part of the frame's result this is; ``index`` counts from 0.

    A part that a nucleus refused for its size comes in pieces, of which ``piece`` counts from 0 among ``pieces``. It is
    whole when the shares ``1 / pieces`` of those that arrived add up to 1.
    """

    index: int
    count: int
    piece: NotRequired[int]
    pieces: NotRequired[int]


class DetectionsMessage(Envelope):
    """One message on the detections topic; ``type`` and ``features`` are GeoJSON's."""

    type: Literal["FeatureCollection"]
    features: list[Feature]
    message_type: Literal["detections"]
    source: str
    frame: FrameMember
    model: ModelMember
    prompts: list[PromptMember]
    unsupported_prompts: dict[str, str]
    timing: dict[str, float]
    part: PartMember
    origin: NotRequired[OriginMember]
    prompts_omitted: NotRequired[int]
    unsupported_prompts_omitted: NotRequired[int]


@dataclass(frozen=True, slots=True, eq=False)
class FrameResult:
    """Everything that is said of one frame.

    Attributes:
        device: the thing's name.
        timing: milliseconds by stage.
        unsupported_prompts: texts of prompts that the model does not support, with the reason.
        origin: whose model it was; None where there is no choice, as at the endpoint itself.
        model_name: ``modelName`` in the features' ``modelMetadata``; empty for the bundle's.
        ontology_version: ``ontologyVersion`` there; empty for the bundle's version.
    """

    device: str
    frame: Frame
    model: ModelInfo
    prompts: tuple[Prompt, ...]
    detections: tuple[Detection, ...]
    timing: Mapping[str, float]
    unsupported_prompts: Mapping[str, str]
    origin: Origin | None = None
    model_name: str = ""
    ontology_version: str = ""


def frame_result(device: str, frame: Frame, prompts: tuple[Prompt, ...], found: Detections) -> FrameResult:
    """What was found in a frame, with all that its messages say."""
    f = found
    return FrameResult(device, frame, f.model, prompts, f.detections, f.timing, f.unsupported_prompts, f.origin)


def encode(result: FrameResult, topic: str, max_bytes: int, max_tolerance: float) -> list[Message]:
    """Write a frame's result as one or more messages of at most ``max_bytes`` each.

    Args:
        topic: where it is published.
        max_bytes: largest payload of the transport.
        max_tolerance: pixels by which outlines may be simplified before the result is split.

    Raises:
        MessageTooLarge: ``max_bytes`` does not even hold one feature; it never does from ``bounds.MIN_PAYLOAD`` on.
        ValueError: a number is not finite, or a stage's property has the name of a standard one.
    """
    made_at = datetime.now(timezone.utc)
    result = _within(result, max_bytes)
    room = max_bytes - len(to_json(_without_features(result, 9999, 9999, max_bytes, made_at)))
    features = [to_json(_feature(result, i, d, exact(d))) for i, d in enumerate(result.detections)]
    tolerance = 1.0
    while _length(features) > room and tolerance <= max_tolerance:
        features = [to_json(_feature(result, i, d, coarse(d, tolerance))) for i, d in enumerate(result.detections)]
        tolerance *= 2
    features = [f if len(f) <= room else _smallest(result, i, room) for i, f in enumerate(features)]
    needed = max_bytes - room + max(map(len, features), default=0)
    if needed > max_bytes:
        raise MessageTooLarge(
            f"expected messages of at most {max_bytes} bytes, one needs {needed}; raise MaxPayloadBytes"
        )
    groups = _split(features, room)
    messages = []
    for index, group in enumerate(groups):
        body = _without_features(result, index, len(groups), max_bytes, made_at)
        messages.append(Message(body["id"], topic, _with_features(body, group)))
    return messages


def divide(message: Message, max_bytes: int) -> list[Message]:
    """A message of detections in pieces of at most ``max_bytes`` each, or ``bounds.MIN_PAYLOAD`` if that is more.

    Objects that are too large for a piece keep their hull.

    Returns:
        The pieces, one or more; empty when nothing can be done: another kind of message, no object in it, or small
        enough already.
    """
    max_bytes = max(max_bytes, MIN_PAYLOAD)
    body = json.loads(message.payload)
    if body.get("message_type") != "detections" or not body["features"] or len(message.payload) <= max_bytes:
        return []
    features, body["features"] = body["features"], []
    before = body["part"]
    known = before.get("piece", 0), before.get("pieces", 1)
    body["part"] = {**before, "piece": 9999, "pieces": 9999}
    room = max_bytes - len(to_json(body))
    written = [w if len(w := to_json(f)) <= room else to_json(_as_hull(f)) for f in features]
    if max(map(len, written)) > room:
        return []
    groups = _split(written, room)
    messages = []
    for index, group in enumerate(groups):
        body["id"] = stable_id(message.id, "piece", index, len(groups))
        body["part"] = {**before, "piece": known[0] * len(groups) + index, "pieces": known[1] * len(groups)}
        messages.append(Message(body["id"], message.topic, _with_features(body, group)))
    return messages


def _as_hull(feature: Any) -> Any:
    """A written feature with its hull in place of its outline."""
    outline = hull(_read_geometry(feature["properties"]["imageGeometry"]))
    geometry = {"imageGeometry": pixel_geometry(outline), "imageBBox": [round(v, 1) for v in outline.bounds]}
    area = feature["geometry"]
    return {
        **feature,
        "geometry": None if area is None else world_geometry(world_hull(_read_geometry(area))),
        "properties": {**feature["properties"], **geometry, "geometry_quality": "hull"},
    }


def _read_geometry(written: Any) -> Polygon | MultiPolygon:
    return cast(Polygon | MultiPolygon, shapely.geometry.shape(written))


def _with_features(body: Any, features: Sequence[bytes]) -> bytes:
    return to_json(body).replace(b'"features":[]', b'"features":[' + b",".join(features) + b"]", 1)


def collection(
    head: Envelope,
    source: str,
    frame: FrameMember,
    model: ModelMember,
    prompts: Sequence[Prompt],
    timing: Mapping[str, float],
) -> DetectionsMessage:
    """A detections message without features, in one part; those who write features one after the other put them in.

    Args:
        timing: milliseconds by stage.
    """
    return {
        "type": "FeatureCollection",
        "features": [],
        **head,  # type: ignore[typeddict-item]  # mypy: ** might hold what is not required
        "message_type": "detections",
        "source": source,
        "frame": frame,
        "model": model,
        "prompts": [
            {"text": p.text, "label": p.name, "threshold": p.threshold, "min_area": p.min_area} for p in prompts
        ],
        "unsupported_prompts": {},
        "timing": {stage: round(ms, 2) for stage, ms in timing.items()},
        "part": {"index": 0, "count": 1},
    }


def _without_features(
    result: FrameResult, index: int, count: int, max_bytes: int, made_at: datetime
) -> DetectionsMessage:
    """The message without its features, which are put in as the bytes that they were measured by."""
    frame = result.frame
    unsupported = as_many_as_fit(result.unsupported_prompts.items(), max_bytes // UNSUPPORTED)
    shown: FrameMember = {
        "id": bounded(frame.id, MAX_WORD),
        "name": frame.name,
        "captured_at": timestamp(frame.captured_at),
        "clock": frame.clock,
        "width": frame.width,
        "height": frame.height,
        "digest": frame.digest,
    }
    head = envelope(result.device, message_id(result.device, frame.id, "detections", index), made_at)
    model = model_member(result.model, max_bytes // WORD)
    body = collection(head, frame.source, shown, model, result.prompts, result.timing)
    body["unsupported_prompts"] = unsupported
    body["part"] = {"index": index, "count": count}
    if result.origin is not None:
        body["origin"] = _origin(result.origin, max_bytes // DETAIL)
    if len(unsupported) < len(result.unsupported_prompts):
        body["unsupported_prompts_omitted"] = len(result.unsupported_prompts) - len(unsupported)
    if len(to_json(body["prompts"])) > max_bytes // PROMPTS:  # hundreds of prompts must not crowd out what they found
        body["prompts"] = []
        body["prompts_omitted"] = len(result.prompts)
    return body


def _within(result: FrameResult, max_bytes: int) -> FrameResult:
    """The same with names that a message of this size has room for."""
    word = max_bytes // WORD

    def renamed(prompt: Prompt) -> Prompt:
        return replace(prompt, text=bounded(prompt.text, word), label=bounded(prompt.name, word))

    model, frame = result.model, result.frame
    return replace(
        result,
        model=replace(model, name=bounded(model.name, word), version=bounded(model.version, word)),
        frame=replace(
            frame, name=bounded(frame.name, max_bytes // NAME, keep="end"), source=bounded(frame.source, word)
        ),
        prompts=tuple(map(renamed, result.prompts)),
        detections=tuple(replace(d, prompt=renamed(d.prompt)) for d in result.detections),
    )


def _feature(result: FrameResult, index: int, detection: Detection, shape: Shape) -> Feature:
    model = result.model
    by: ModelMetadata = {
        "modelName": result.model_name or model.name,
        "ontologyName": detection.prompt.text,
        "ontologyVersion": result.ontology_version or model.version,
    }
    identity = message_id(result.device, result.frame.id, "feature", index)
    return feature(identity, detection, shape, result.frame.name, by)


def _smallest(result: FrameResult, index: int, room: int) -> bytes:
    """A feature as its hull; without what stages have added, and its place as a box, where that does not fit either."""
    detection = result.detections[index]
    outline = hull(detection.geometry)
    area = None if detection.place is None else world_hull(detection.place.geometry)
    whole = to_json(_feature(result, index, detection, Shape(outline, area, "hull")))
    if len(whole) <= room:
        return whole
    if detection.properties:
        counted: dict[str, JsonValue] = {"properties_omitted": len(detection.properties)}
        detection = replace(detection, properties=counted)
    least = to_json(_feature(result, index, detection, Shape(outline, area, "hull")))
    return least if len(least) <= room else to_json(_feature(result, index, detection, Shape(outline, None, "hull")))


def _origin(origin: Origin, max_bytes: int) -> OriginMember:
    member: OriginMember = {"by": origin.by}
    if origin.reason is not None:
        member["reason"] = origin.reason
        member["detail"] = reason_of(origin.detail, max_bytes)
    return member


def _split(features: Sequence[bytes], room: int) -> list[list[bytes]]:
    """Fill one message after the other; a result without features is one message without features."""
    groups: list[list[bytes]] = [[]]
    used = 0
    for written in features:
        if groups[-1] and used + len(written) + 1 > room:
            groups.append([])
            used = 0
        groups[-1].append(written)
        used += len(written) + 1
    return groups


def _length(features: Sequence[bytes]) -> int:
    return sum(len(f) + 1 for f in features)
