"""What arrives, checked: bytes from anywhere to a message of a device.

Only what this package uses is checked; members that a later schema of the same major version adds pass through.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, ConfigDict, Field, Strict, TypeAdapter, ValidationError, with_config
from pydantic_core import from_json
from typing_extensions import NotRequired, TypedDict

from sam3edge.core.errors import MessageRefused
from sam3edge.core.messages import topics
from sam3edge.core.messages.envelope import SCHEMA_VERSION, to_json
from sam3edge.subscriber.names import one_line
from sam3edge.validation import first_complaint

DeviceMessage: TypeAlias = Mapping[str, Any]
"""A message as its topic's schema in ``core/messages/schemas`` describes it."""

TOPIC_OF: Mapping[str, str] = {
    "detections": topics.DETECTIONS,
    "event": topics.EVENTS,
    "counts": topics.EVENTS,
    "error": topics.ERRORS,
    "status": topics.STATUS,
    "model_activated": topics.MODEL_STATUS,
    "uploader_status": topics.UPLOADER_STATUS,
    "command_response": topics.COMMAND_RESPONSES,
    "snapshot": topics.SNAPSHOTS,
}
"""The topic of each ``message_type`` that devices send to the cloud."""

MAX_PAYLOAD = 1 << 20
"""Bytes of a message. AWS IoT Core carries 128 KiB."""

MAX_COMPLAINT = MAX_TOPIC = 200
"""Characters of what was wrong, and of the topic that it came on, in a log."""

MAX_PARTS = 9999
MAX_PIXEL = 1e6
"""Of a coordinate: beyond every image, and small enough to be drawn."""

MAX_NUMBER = 2**53
"""Of any other number: up to it, whole ones are exact for every reader of JSON, and what is made of a few of them is
finite and can be written."""

_STRICT = with_config(ConfigDict(strict=True))  # digits in a text are not a number


def moment(time: str) -> datetime:
    """A time as devices write it, RFC 3339; raises ValueError for other texts."""
    parsed = datetime.fromisoformat(time.replace("Z", "+00:00"))
    if parsed.tzinfo is None:
        raise ValueError("expected a time with its offset from UTC")
    return parsed


def _checked_time(time: str) -> str:
    moment(time)
    return time


Word: TypeAlias = Annotated[str, Field(max_length=4096)]
Time: TypeAlias = Annotated[str, Field(max_length=64), AfterValidator(_checked_time)]
Number: TypeAlias = Annotated[float, Field(ge=-MAX_NUMBER, le=MAX_NUMBER, allow_inf_nan=False)]
Count: TypeAlias = Annotated[int, Field(ge=0, le=MAX_NUMBER)]

_Pixel: TypeAlias = Annotated[float, Field(ge=-MAX_PIXEL, le=MAX_PIXEL, allow_inf_nan=False)]
_Longitude: TypeAlias = Annotated[float, Field(ge=-180, le=180, allow_inf_nan=False)]
_Latitude: TypeAlias = Annotated[float, Field(ge=-90, le=90, allow_inf_nan=False)]
_Position: TypeAlias = Annotated[tuple[_Longitude, _Latitude], Strict(False)]  # a list
_Point: TypeAlias = Annotated[tuple[_Pixel, _Pixel], Strict(False)]  # a list
_PixelPolygon: TypeAlias = list[Annotated[list[_Point], Field(min_length=3)]]
_Box: TypeAlias = Annotated[list[_Pixel], Field(min_length=4, max_length=4)]
_Area: TypeAlias = list[Annotated[list[_Position], Field(min_length=4)]]


@_STRICT
class _PixelPolygonMember(TypedDict):
    type: Literal["Polygon"]
    coordinates: _PixelPolygon


@_STRICT
class _PixelPolygonsMember(TypedDict):
    type: Literal["MultiPolygon"]
    coordinates: list[_PixelPolygon]


@_STRICT
class _AreaMember(TypedDict):
    type: Literal["Polygon"]
    coordinates: _Area


@_STRICT
class _AreasMember(TypedDict):
    type: Literal["MultiPolygon"]
    coordinates: list[_Area]


@_STRICT
class _Properties(TypedDict):
    label: Word
    prompt: Word
    score: Number
    imageBBox: _Box
    imageGeometry: Annotated[_PixelPolygonMember | _PixelPolygonsMember, Field(discriminator="type")]
    zones: NotRequired[list[Word]]


@_STRICT
class _Feature(TypedDict):
    type: Literal["Feature"]
    id: Word
    geometry: Annotated[_AreaMember | _AreasMember, Field(discriminator="type")] | None
    properties: _Properties


@_STRICT
class _Envelope(TypedDict):
    id: Annotated[str, Field(min_length=1, max_length=128)]
    message_type: Word
    schema_version: Annotated[str, Field(pattern=rf"^{SCHEMA_VERSION.partition('.')[0]}\.\d+$", max_length=16)]
    device: Annotated[str, Field(pattern=r"^[^/+#\x00-\x1f\x7f]{1,128}$")]
    time: Time


@_STRICT
class _Frame(TypedDict):
    id: Word
    name: Word
    captured_at: Time
    digest: Word


@_STRICT
class _Part(TypedDict):
    index: Annotated[int, Field(ge=0, lt=MAX_PARTS)]
    count: Annotated[int, Field(ge=1, le=MAX_PARTS)]
    piece: NotRequired[Annotated[int, Field(ge=0, lt=MAX_PARTS)]]
    pieces: NotRequired[Annotated[int, Field(ge=1, le=MAX_PARTS)]]


@_STRICT
class _Model(TypedDict):
    name: Word
    version: Word


@_STRICT
class _Prompt(TypedDict):
    text: Word
    label: Word


class _Detections(_Envelope):
    type: Literal["FeatureCollection"]
    source: Word
    frame: _Frame
    part: _Part
    model: _Model
    prompts: list[_Prompt]
    unsupported_prompts: dict[Any, Any]
    features: list[_Feature]


@_STRICT
class _Track(TypedDict):
    id: Word
    label: Word
    prompt: Word
    score: Number
    top_score: Number
    box: _Box
    area: Number
    start_time: Time
    frame_time: Time
    end_time: Time | None
    stationary: bool
    current_zones: list[Word]
    entered_zones: list[Word]


@_STRICT
class _Reason(TypedDict):
    kind: Word


class _Event(_Envelope):
    type: Literal["new", "update", "end"]
    source: Word
    reasons: list[_Reason]
    before: NotRequired[_Track]
    after: _Track


@_STRICT
class _ObjectCount(TypedDict):
    label: Word
    current: Count


class _ZoneCount(_ObjectCount):
    zone: Word


class _Counts(_Envelope):
    source: Word
    objects: list[_ObjectCount]
    zones: list[_ZoneCount]


class _Status(_Envelope):
    state: Word
    heartbeat_seconds: NotRequired[Annotated[Number, Field(ge=0)]]


_OTHER: TypeAdapter[Any] = TypeAdapter(_Envelope)
_KINDS: Mapping[str, TypeAdapter[Any]] = {
    "detections": TypeAdapter(_Detections),
    "event": TypeAdapter(_Event),
    "counts": TypeAdapter(_Counts),
    "status": TypeAdapter(_Status),
}
_WHOSE = topics.DEFAULT_PREFIX.format(thing="")  # what is before the thing's name


def read_message(topic: str, payload: bytes) -> DeviceMessage:
    """Read and check a message.

    Args:
        topic: where it arrived. Below ``sam3edge/`` it says which device may publish there, and another's name in the
            message is refused.

    Raises:
        MessageRefused: it is too large, not JSON, of another major version of the schema, or not as that says. The
            reason quotes a word of it, at most.
    """
    if len(payload) > MAX_PAYLOAD:
        raise MessageRefused(f"expected a message of at most {MAX_PAYLOAD} bytes, got more")
    try:
        message = from_json(payload, allow_inf_nan=False)  # bounded in depth; surrogates without a partner are refused
    except ValueError as error:
        raise MessageRefused(f"expected JSON, got {len(payload)} bytes that are not: {error}") from error
    if not isinstance(message, dict):
        raise MessageRefused("expected a JSON object")
    kind = message.get("message_type")
    try:
        _KINDS.get(kind if isinstance(kind, str) else "", _OTHER).validate_python(message)
        to_json(message)  # 1e999 is a number in JSON, and infinite as soon as it is read
    except ValidationError as error:
        complaint = one_line(str(first_complaint(error).within(message)), MAX_COMPLAINT)
        raise MessageRefused(f"expected a message as its schema says; {complaint}") from error
    except ValueError as error:
        raise MessageRefused("expected finite numbers") from error
    whose, _, below = topic.removeprefix(_WHOSE).partition("/")
    if topic.startswith(_WHOSE) and below and whose != message["device"]:
        raise MessageRefused("expected the name of the device whose topic it is, got another one's")
    return message
