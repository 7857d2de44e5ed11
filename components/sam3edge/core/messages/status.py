"""What components say of themselves: the segmenter's heartbeat, and the activation of a bundle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

from typing_extensions import NotRequired, TypedDict

from sam3edge.core.messages.bounds import MAX_WORD, bounded, reason_of
from sam3edge.core.messages.envelope import Envelope, ModelMember, Timestamp, envelope, model_member, to_json, write
from sam3edge.core.types import Message, ModelInfo, PassedOver, Prompt

MAX_PROVIDERS = 2
"""Of those that were passed over, in a message: there are three in all."""

MAX_ALARMS = 4
"""Of drift, in a message."""

MAX_REASON = 300
"""Bytes of why a provider was passed over; a heartbeat may have less room."""

State: TypeAlias = Literal["running", "waiting for a model", "stopping", "restarting"]


class StatusPrompt(TypedDict):
    """What is looked for. ``min_area``, pixels, is left out where it is 0."""

    text: str
    label: str
    threshold: float
    min_area: NotRequired[float]


class Counts(TypedDict):
    """Since the start: frames looked at, objects found, messages made, frames rejected, frames the gate held back."""

    frames: int
    instances: int
    messages: int
    rejected: int
    unchanged: int


class Counters(TypedDict):
    """What the flow has done; frames a second are over the last minute."""

    uptime_s: float
    counts: Counts
    frames_per_second: float
    last_error: str


class DeliveryMember(TypedDict):
    """The outbox; see ``outbox.delivery.DeliveryStatistics``."""

    queued: int
    queued_bytes: int
    in_flight: int
    delivered: int
    retried: int
    replayed: int
    evicted: int
    expired: int
    rejected: int
    split: int
    set_aside: int
    last_error: str
    oldest_age_s: float
    refused_s: float


class SourceMember(TypedDict):
    """Frames that wait at the source; of those, files that look as if they were still being written."""

    backlog: int
    unfinished: int


class HardExamplesMember(TypedDict):
    """Frames kept for training; see ``hard_examples.folder.ExampleCounts``."""

    kept: int
    kept_bytes: int
    stored: int
    evicted: int
    repeated: int
    over_quota: int
    let_go: int


class DriftAlarmMember(TypedDict):
    """One metric of one source and prompt that is not distributed as in the reference window.

    ``divergence`` is Jensen and Shannon's in bits, 0..1, and ``limit`` what it should stay below; ``since`` is when the
    frame was captured that caused the alarm.
    """

    source: str
    prompt: str
    metric: Literal["presence", "score", "count", "area"]
    divergence: float
    limit: float
    since: Timestamp


class DriftMember(TypedDict):
    """What the drift watch sees: sources times prompts that it watches, how many of them have no whole reference window
    yet, how many alarms there are, and the worst of those, as many as fit."""

    series: int
    collecting: int
    alarm_count: int
    alarms: list[DriftAlarmMember]


class BackgroundMember(TypedDict):
    """Whether a calibrated camera looks where it looked when it was calibrated: its background is seen there, it could
    not be seen, or it is seen elsewhere; and since when this is so."""

    state: Literal["confirmed", "unconfirmed", "moved"]
    since: Timestamp


class GeoreferenceMember(TypedDict):
    """What places frames on Earth: whether the last frame had a place, why not, and frames since the start.
    ``background`` is there where the calibration of a camera has it."""

    type: str
    state: Literal["located", "pixels"]
    reason: str
    located: int
    unlocated: int
    background: NotRequired[BackgroundMember]


class TrackingMember(TypedDict):
    """Tracks that there are now. Since the start: ``events`` of tracks, detections that got no track (``untracked``),
    and frames after which the tracks could not be written to the disk (``unwritten``)."""

    tracks: int
    events: int
    untracked: int
    unwritten: int


class FallbackMember(TypedDict):
    """Requests to the cloud; see ``core.fallback.detector.Counts`` and ``core.fallback.budget.Spent``."""

    asked: int
    answered: int
    failures: int
    refused_by_budget: int
    refused_by_breaker: int
    disagreements: int
    breaker: Literal["closed", "open", "half-open"]
    in_hour: int
    in_day: int
    last_failure: str


class PassedOverMember(TypedDict):
    """An execution provider that was asked for and is not used, and why."""

    provider: str
    reason: str


class StatusMessage(Envelope, Counters):
    """One heartbeat; the next one is due ``heartbeat_seconds`` later. ``prompts`` may be shorter than ``prompt_count``
    where they do not all fit. ``passed_over`` is there where the model runs on another provider than was asked for
    first."""

    message_type: Literal["status"]
    state: State
    model: ModelMember | None
    prompts: list[StatusPrompt]
    prompt_count: int
    heartbeat_seconds: float
    delivery: DeliveryMember
    source: SourceMember
    fallback: NotRequired[FallbackMember]
    hard_examples: NotRequired[HardExamplesMember]
    drift: NotRequired[DriftMember]
    georeference: NotRequired[GeoreferenceMember]
    tracking: NotRequired[TrackingMember]
    passed_over: NotRequired[list[PassedOverMember]]


class ModelActivatedMessage(Envelope):
    """A bundle was verified and is the current one; ``model`` says what it ran on when it was tried."""

    message_type: Literal["model_activated"]
    model: ModelMember
    passed_over: NotRequired[list[PassedOverMember]]


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """What a heartbeat says.

    Attributes:
        model: None while there is none.
        delivery: members of ``DeliveryMember``.
        source: what waits there.
        interval: seconds until the next heartbeat.
        fallback: members of ``FallbackMember``; None where the cloud is not asked.
        passed_over: providers that do not run the model.
        hard_examples: members of ``HardExamplesMember``; None where none are kept.
        drift: what the watch says; None where there is none.
        georeference: how frames get their places; None where they are not to have any.
        tracking: None where nothing is tracked.
    """

    state: State
    model: ModelInfo | None
    prompts: Sequence[Prompt]
    counters: Counters
    delivery: Mapping[str, Any]
    source: SourceMember
    interval: float
    fallback: Mapping[str, Any] | None = None
    passed_over: Sequence[PassedOver] = ()
    hard_examples: Mapping[str, Any] | None = None
    drift: DriftMember | None = None
    georeference: GeoreferenceMember | None = None
    tracking: TrackingMember | None = None


def status(device: str, topic: str, beat: Heartbeat, max_bytes: int) -> Message:
    """One heartbeat; an undelivered older one gives way to it. Long texts are cut, prompts that do not fit counted.

    Args:
        max_bytes: largest payload of the transport.
    """
    text, word = max_bytes // 12, max_bytes // 40
    body: StatusMessage = {
        **envelope(device),  # type: ignore[typeddict-item]  # mypy: ** might hold what is not required
        "message_type": "status",
        "state": beat.state,
        "model": None if beat.model is None else model_member(beat.model),
        "prompts": [_prompt(p, word) for p in beat.prompts],
        "prompt_count": len(beat.prompts),
        "heartbeat_seconds": beat.interval,
        "uptime_s": beat.counters["uptime_s"],
        "counts": beat.counters["counts"],
        "frames_per_second": beat.counters["frames_per_second"],
        "last_error": reason_of(beat.counters["last_error"], text),
        "source": beat.source,
        "delivery": cast(DeliveryMember, {**beat.delivery, "last_error": reason_of(beat.delivery["last_error"], text)}),
    }
    if beat.fallback is not None:
        body["fallback"] = cast(
            FallbackMember, {**beat.fallback, "last_failure": reason_of(beat.fallback["last_failure"], text)}
        )
    if beat.passed_over:
        body["passed_over"] = _passed_over(beat.passed_over, min(MAX_REASON, max_bytes // 40))
    if beat.hard_examples is not None:
        body["hard_examples"] = cast(HardExamplesMember, dict(beat.hard_examples))
    if beat.tracking is not None:
        body["tracking"] = beat.tracking
    if beat.drift is not None:
        body["drift"] = _drift(beat.drift, word)
        while body["drift"]["alarms"] and len(to_json({**body, "prompts": []})) > max_bytes:
            body["drift"]["alarms"].pop()
    if beat.georeference is not None:
        body["georeference"] = {**beat.georeference, "reason": reason_of(beat.georeference["reason"], word)}
    while body["prompts"] and len(to_json(body)) > max_bytes:
        body["prompts"] = body["prompts"][: len(body["prompts"]) // 2]
    return write(body, topic, supersedes="status")


def _prompt(prompt: Prompt, max_bytes: int) -> StatusPrompt:
    said: StatusPrompt = {
        "text": bounded(prompt.text, max_bytes),
        "label": bounded(prompt.name, max_bytes),
        "threshold": prompt.threshold,
    }
    if prompt.min_area:
        said["min_area"] = prompt.min_area
    return said


def _drift(drift: DriftMember, max_bytes: int) -> DriftMember:
    alarms: list[DriftAlarmMember] = [
        {**one, "source": bounded(one["source"], max_bytes), "prompt": bounded(one["prompt"], max_bytes)}
        for one in drift["alarms"][:MAX_ALARMS]
    ]
    return {**drift, "alarms": alarms}


def _passed_over(providers: Sequence[PassedOver], max_bytes: int = MAX_REASON) -> list[PassedOverMember]:
    named = providers[:MAX_PROVIDERS]
    return [{"provider": bounded(p.provider, MAX_WORD), "reason": reason_of(p.reason, max_bytes)} for p in named]


def model_activated(device: str, topic: str, model: ModelInfo, passed_over: Sequence[PassedOver] = ()) -> Message:
    """Report that a bundle is the current one, and which providers do not run it."""
    body: ModelActivatedMessage = {
        **envelope(device),  # type: ignore[typeddict-item]  # mypy: ** might hold what is not required
        "message_type": "model_activated",
        "model": model_member(model),
    }
    if passed_over:
        body["passed_over"] = _passed_over(passed_over)
    return write(body, topic)
