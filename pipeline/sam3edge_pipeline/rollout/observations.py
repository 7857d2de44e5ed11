"""What a roll-out takes from a device's message: little, so that weeks of it can be kept.

Only what is needed is read; members that later schemas add do no harm. Detections come from ``detections``, failures
from ``errors``, and which model runs from ``status`` and ``status/model``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from sam3edge.validation import first_complaint

Kind: TypeAlias = Literal["detections", "error", "refused", "model"]
"""``error`` is a frame or a component that failed, ``refused`` a bundle, ``model`` says which one runs."""

MAX_SCORES = 1000
"""Of one message; a message has never room for more objects."""

MAX_PROMPTS = 256
"""Of one message; a segmenter takes no more."""


class ObservationError(ValueError):
    """A message that is none of ours, or damaged."""


@dataclass(frozen=True, slots=True)
class Observation:
    """One message, as far as the quality of a model is concerned.

    Attributes:
        id: of the message; the same when it is sent again.
        at: when the message was made, seconds since 1970, by the device's clock, but never later than it was received.
        digest: of the model; empty for errors, which do not name it.
        camera: the source; empty for what belongs to none.
        frame: its id; empty likewise.
        share: of the frame's result that this message is, 1 / pieces; of ``parts`` in all.
        parts: messages that the frame's result was written as.
        latency_ms: of the whole frame; None where it is not told.
        prompts: what was asked, text and threshold as one key.
        scores: of what was found, by prompt.
    """

    id: str
    thing: str
    at: float
    kind: Kind
    digest: str = ""
    camera: str = ""
    frame: str = ""
    share: float = 1.0
    parts: int = 1
    latency_ms: float | None = None
    prompts: tuple[str, ...] = ()
    scores: Mapping[str, tuple[float, ...]] = field(default_factory=dict)


class _Read(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _Model(_Read):
    digest: str = Field(max_length=600)


class _Frame(_Read):
    id: str = Field(min_length=1, max_length=600)


class _Prompt(_Read):
    text: str
    threshold: float


class _Properties(_Read):
    prompt: str
    score: float = Field(ge=0, le=1)


class _Feature(_Read):
    properties: _Properties


class _Part(_Read):
    count: int = Field(ge=1, le=100_000)
    pieces: int = Field(1, ge=1)


class _Origin(_Read):
    by: Literal["device", "cloud"]


class _Envelope(_Read):
    id: str = Field(min_length=1, max_length=100)
    device: str = Field(min_length=1, max_length=128)
    time: AwareDatetime


class _Detections(_Envelope):
    message_type: Literal["detections"]
    source: str
    frame: _Frame
    model: _Model
    prompts: list[_Prompt] = Field(max_length=MAX_PROMPTS)
    features: list[_Feature] = Field(max_length=MAX_SCORES)
    timing: dict[str, float]
    part: _Part
    origin: _Origin | None = None


class _Error(_Envelope):
    message_type: Literal["error"]
    kind: Literal["frame", "component", "model"]
    frame: _Frame | None = None


class _Status(_Envelope):
    message_type: Literal["status", "model_activated"]
    model: _Model | None


_Message: TypeAlias = Annotated[_Detections | _Error | _Status, Field(discriminator="message_type")]
_ADAPTER: TypeAdapter[_Detections | _Error | _Status] = TypeAdapter(_Message)
_RELEVANT = frozenset({"detections", "error", "status", "model_activated"})


def prompt_key(text: str, threshold: float) -> str:
    """A prompt as two models are compared by it: the same text at another threshold is another question."""
    return f"{text} @{threshold:g}"


def read_observation(body: Any, received: float) -> Observation | None:
    """What a message says.

    Args:
        body: the message, decoded from JSON.
        received: when AWS had it, seconds since 1970. A device's clock may be wrong, and what is dated to the future
            would be kept until then, and be the newest that the device has said.

    Returns:
        None for messages that say nothing of quality: snapshots, responses, probes, and what a model in the cloud found
        in a device's place.

    Raises:
        ObservationError: it is not a message of a device.
    """
    if isinstance(body, Mapping) and body.get("message_type", "detections") not in _RELEVANT:
        return None
    try:
        message = _ADAPTER.validate_python(body)
    except ValidationError as error:
        raise ObservationError(f"expected a message of a device: {first_complaint(error)}") from error
    at = min(message.time.timestamp(), received)
    if isinstance(message, _Detections):
        return _detections(message, at)
    if isinstance(message, _Error):
        kind: Kind = "refused" if message.kind == "model" else "error"
        return Observation(message.id, message.device, at, kind, frame=message.frame.id if message.frame else "")
    return None if message.model is None else Observation(message.id, message.device, at, "model", message.model.digest)


def _detections(message: _Detections, at: float) -> Observation | None:
    if message.origin is not None and message.origin.by == "cloud":
        return None
    keys = {prompt.text: prompt_key(prompt.text, prompt.threshold) for prompt in message.prompts}
    scores: dict[str, list[float]] = {}
    for feature in message.features:
        found = feature.properties
        scores.setdefault(keys.get(found.prompt, found.prompt), []).append(found.score)
    latency = sum(ms for ms in message.timing.values() if ms > 0)
    return Observation(
        id=message.id,
        thing=message.device,
        at=at,
        kind="detections",
        digest=message.model.digest,
        camera=message.source,
        frame=message.frame.id,
        share=1 / message.part.pieces,
        parts=message.part.count,
        latency_ms=latency or None,
        prompts=tuple(dict.fromkeys(keys.values())),
        scores={key: tuple(values) for key, values in scores.items()},
    )
