"""Whatever a message is about, it fits into what a nucleus carries."""

from __future__ import annotations

import json
from datetime import datetime, timezone

import jsonschema
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from sam3edge.core.errors import FrameError, SettingsError
from sam3edge.core.messages import commands, errors, snapshots, status
from sam3edge.core.messages.bounds import MAX_REASON, MIN_PAYLOAD, as_many_as_fit, bounded, json_size, reason_of
from sam3edge.core.messages.detections import FrameResult, encode
from sam3edge.core.messages.schemas import schema
from sam3edge.core.types import Detection, Frame, ModelInfo, Origin, PassedOver, Prompt
from support.samples import wobbly

CONTROL = "\x01" * 1200
"""Each takes six bytes in JSON."""

TEXTS = st.one_of(
    st.text(st.characters(), max_size=60),
    st.sampled_from([CONTROL, "\ud800" * 300, '"\\' * 400, "深" * 500, "x" * 4096, "", "a/" * 900 + "name.jpg"]),
)
"""Lone surrogates, too: a file name that is not UTF-8 becomes one."""

NUMBERS = st.floats(0, 1e12, allow_nan=False)


def box(size: float = 10.0) -> shapely.Polygon:
    return shapely.box(1, 1, 1 + size, 1 + size)


@given(TEXTS, st.integers(10, 300), st.sampled_from(["start", "end"]))
def test_a_bounded_text_can_be_written_and_is_not_longer(text: str, most: int, keep: str) -> None:
    short = bounded(text, most, keep)  # type: ignore[arg-type]
    assert json_size(short) <= most
    assert len(json.dumps(short, ensure_ascii=False).encode()) <= most + 2
    if json_size(text) <= most:
        assert short == text.encode("utf-8", "replace").decode()


def test_of_a_long_text_the_start_is_kept_and_of_a_path_the_end() -> None:
    assert bounded("abcdefgh", 7) == "abcd…"
    assert bounded("camera/abc.jpg", 10, keep="end") == "…abc.jpg"


@given(st.dictionaries(TEXTS, TEXTS, max_size=40))
def test_members_that_do_not_fit_are_left_out_whole(members: dict[str, str]) -> None:
    fitting = as_many_as_fit(members.items(), 700)
    assert len(json.dumps(fitting, ensure_ascii=False, separators=(",", ":")).encode()) <= 700 + 2


@given(
    texts=st.tuples(*[TEXTS] * 8),
    phrases=st.lists(TEXTS, min_size=1, max_size=30),
    unknown=st.integers(0, 200),
    objects=st.integers(0, 12),
    added=st.dictionaries(st.text(max_size=5).map("x".__add__), TEXTS | NUMBERS, max_size=40),
    limit=st.sampled_from([MIN_PAYLOAD, 7_000, 131_072]),
)
@settings(max_examples=60, deadline=None)
def test_the_detections_of_any_frame_can_be_sent(
    texts: tuple[str, ...], phrases: list[str], unknown: int, objects: int, added: dict[str, str | float], limit: int
) -> None:
    name, identity, source, detail, model, version, provider, reason = texts
    prompts = tuple(Prompt(text, 0.5, 0.0, label) for text, label in zip(phrases, reversed(phrases), strict=True))
    frame = Frame(
        identity.encode("utf-8", "replace").decode(), source, name, np.zeros((240, 320, 3), np.uint8),
        datetime(2026, 1, 1, tzinfo=timezone.utc), "sha256:" + "0" * 64,
    )  # fmt: skip
    shapes = [wobbly(2 * (n + 2), 40.0) for n in range(objects)]
    found = tuple(Detection(prompts[0], 0.9, s.bounds, s.area, s, added) for s in shapes)
    result = FrameResult(
        "line-7", frame, ModelInfo(model, version, "sha256:" + "0" * 64, "fp16", provider), prompts, found,
        {"vision": 1.0}, {f"{i} {reason}": reason for i in range(unknown)}, Origin("cloud", "slow", detail),
    )  # fmt: skip
    messages = encode(result, "t", limit, 4.0)
    bodies = [json.loads(message.payload) for message in messages]
    assert max(len(message.payload) for message in messages) <= limit
    assert sum(len(body["features"]) for body in bodies) == objects
    for body in bodies:
        assert len(body["unsupported_prompts"]) + body.get("unsupported_prompts_omitted", 0) == unknown


def test_eight_unknown_phrases_of_a_large_vocabulary_are_a_message_on_lite() -> None:
    """The reason names what the bundle knows: forty phrases."""
    reason = "exported for these phrases only: " + ", ".join(f"a phrase of some length {i}" for i in range(40))
    frame = Frame("f", "folder", "a.jpg", np.zeros((8, 8, 3), np.uint8), datetime.now(timezone.utc), "sha256:0")
    model = ModelInfo("m", "1", "sha256:0", "fp32", "CPUExecutionProvider")
    prompts = tuple(Prompt(f"unknown {i}") for i in range(8))
    unknown = {prompt.text: reason for prompt in prompts}
    [message] = encode(FrameResult("line-7", frame, model, prompts, (), {}, unknown), "t", 7_000, 4.0)
    body = json.loads(message.payload)
    assert len(body["unsupported_prompts"]) + body.get("unsupported_prompts_omitted", 0) == 8
    assert "unknown 0" in body["unsupported_prompts"]


def test_a_property_too_large_for_any_message_is_left_out_and_counted() -> None:
    frame = Frame("f", "folder", "a.jpg", np.zeros((8, 8, 3), np.uint8), datetime.now(timezone.utc), "sha256:0")
    found = Detection(Prompt("a"), 0.9, (1, 1, 2, 2), 1.0, box(), {"track": "x" * 9_000, "zone": "door"})
    model = ModelInfo("m", "1", "sha256:0", "fp32", "CPUExecutionProvider")
    [message] = encode(FrameResult("line-7", frame, model, (Prompt("a"),), (found,), {}, {}), "t", 7_000, 4.0)
    [feature] = json.loads(message.payload)["features"]
    assert feature["properties"]["properties_omitted"] == 2
    assert "track" not in feature["properties"]


@given(TEXTS, TEXTS, TEXTS)
def test_reports_of_anything_can_be_sent(text: str, name: str, identity: str) -> None:
    frame_id = identity.encode("utf-8", "replace").decode()
    for message in (
        errors.frame_error("line-7", FrameError(text, frame_id=frame_id, name=name), "t"),
        errors.component_error("line-7", SettingsError(text), "t"),
        errors.bundle_refused("line-7", ValueError(text), "t"),
        commands.not_done("line-7", "t", frame_id[:128], "name", "REJECTED", text),
        commands.succeeded("line-7", "t", frame_id[:128], "set_prompts", {"Prompts": [bounded(name, 900)] * 50}),
        status.model_activated(
            "line-7", "t", ModelInfo(text, name, identity, "fp16", text), [PassedOver(name, text)] * 9
        ),
    ):
        assert len(message.payload) <= MIN_PAYLOAD


@given(st.lists(TEXTS, min_size=1, max_size=300), TEXTS)
@settings(max_examples=40, deadline=None)
def test_a_heartbeat_can_always_be_sent(phrases: list[str], text: str) -> None:
    delivery = dict.fromkeys(status.DeliveryMember.__annotations__, 10**9) | {"last_error": text}
    fallback = dict.fromkeys(status.FallbackMember.__annotations__, 10**9) | {"last_failure": text, "breaker": "open"}
    examples = dict.fromkeys(status.HardExamplesMember.__annotations__, 10**9)
    alarm: status.DriftAlarmMember = {
        "source": text,
        "prompt": phrases[0],
        "metric": "presence",
        "divergence": 0.1234,
        "limit": 0.1234,
        "since": "2026-01-02T03:11:05.678+00:00",
    }
    drift: status.DriftMember = {"series": 10**9, "collecting": 10**9, "alarm_count": 40, "alarms": [alarm] * 40}
    counters: status.Counters = {
        "uptime_s": 1e9,
        "counts": dict.fromkeys(status.Counts.__annotations__, 10**12),  # type: ignore[typeddict-item]
        "frames_per_second": 0.3,
        "last_error": text,
    }
    model = ModelInfo(text, text, text, text, text)
    prompts = [Prompt(phrase, 0.5, 0.0, text) for phrase in phrases]
    source: status.SourceMember = {"backlog": 10**9, "unfinished": 10**9}
    passed_over = [PassedOver(text, text)] * 9
    beat = status.Heartbeat(
        "running", model, prompts, counters, delivery, source, 86_400.0, fallback, passed_over, examples, drift
    )
    message = status.status("line-7", "t", beat, MIN_PAYLOAD)
    assert len(message.payload) <= MIN_PAYLOAD
    body = json.loads(message.payload)
    assert body["prompt_count"] == len(phrases)
    assert body["drift"]["alarm_count"] == 40
    jsonschema.Draft202012Validator(schema("status")).validate(body)


@given(TEXTS)
def test_a_snapshot_has_room_whatever_its_frame_is_called(name: str) -> None:
    frame = Frame("f", "folder", name, np.zeros((8, 8, 3), np.uint8), datetime.now(timezone.utc), "sha256:0")
    room = snapshots.snapshot_room("line-7", "c" * 128, frame, MIN_PAYLOAD)
    assert room > 1_000
    message = snapshots.snapshot("line-7", "t", "c" * 128, frame, b"x" * room, 8, 8)
    assert len(message.payload) <= MIN_PAYLOAD


def test_a_reason_has_no_password_and_an_end() -> None:
    said = reason_of(ValueError("rtsp://admin:hunter2@cam/1 failed: " + "x" * 5000))
    assert said.startswith("rtsp://***@cam/1 failed: xxx")
    assert json_size(said) <= MAX_REASON


@pytest.mark.parametrize("device", ["", "a b", "a/b", "x" * 129, "a\x00b", "\ud800"])
def test_a_thing_name_is_one_level_of_a_topic(device: str) -> None:
    from sam3edge.core.messages.topics import topics_of

    with pytest.raises(SettingsError):
        topics_of(device)
