"""Every kind of message: its envelope, its bounds, and the schema of its topic."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from sam3edge.cli.schemas import MESSAGES, generate_schema
from sam3edge.core.errors import BundleError, FrameError, SettingsError
from sam3edge.core.messages import commands, errors, events, snapshots, status, topics, uploads
from sam3edge.core.messages.detections import encode
from sam3edge.core.messages.envelope import stable_id, timestamp, to_json
from sam3edge.core.messages.ping import ping
from sam3edge.core.messages.schemas import schema, schema_file
from sam3edge.core.types import Message, Prompt
from support.samples import MODEL, answer, detection, frame, wobbly

TOPICS = topics.Topics("sam3edge/line-7")
BAD = FrameError("expected an image, got text", frame_id="abc", name="x.jpg")
DELIVERY = dict.fromkeys(status.DeliveryMember.__annotations__, 0) | {"last_error": "", "oldest_age_s": 1.5}
COUNTERS: status.Counters = {
    "uptime_s": 12.5,
    "counts": {"frames": 3, "instances": 7, "messages": 4, "rejected": 1, "unchanged": 0},
    "frames_per_second": 0.25,
    "last_error": "",
}


def beat(prompts: tuple[Prompt, ...] = (Prompt("scratch"),)) -> status.Heartbeat:
    return status.Heartbeat("running", MODEL, prompts, COUNTERS, DELIVERY, {"backlog": 2, "unfinished": 1}, 30.0)


NOTICED = events.Noticed("line-7", "camera", "f" * 32, "00000042", datetime(2026, 3, 1, 12, tzinfo=timezone.utc))
VIEW = events.TrackView(
    "t" * 36, "person", "person", 0.5, 0.75, (1.0, 2.0, 30.0, 40.0), 500.0, NOTICED.at, NOTICED.at, None, False,
    ("yard",), {"yard": 1.5}, {"gate": (1, 0)},
)  # fmt: skip


MADE: dict[str, tuple[str, Callable[[], Message]]] = {
    "detections": (
        "detections",
        lambda: encode(answer((detection(wobbly(8, 50)),)), TOPICS.detections, 100_000, 4)[0],
    ),
    "event": (
        "event",
        lambda: events.track_event(
            TOPICS.events, NOTICED, "new", [events.EventReason("confirmed")], VIEW, VIEW, 100_000
        ),
    ),
    "counts": (
        "counts",
        lambda: events.counts(
            TOPICS.events,
            NOTICED,
            [{"label": "person", "current": 1, "total": 2}],
            [{"zone": "yard", "label": "person", "current": 1, "entered": 2}],
            [{"line": "gate", "label": "person", "forward": 1, "backward": 0}],
            100_000,
        ),
    ),
    "frame": ("error", lambda: errors.frame_error("line-7", BAD, TOPICS.errors)),
    "component": ("error", lambda: errors.component_error("line-7", SettingsError("no"), TOPICS.errors)),
    "bundle": ("error", lambda: errors.bundle_refused("line-7", BundleError("no"), TOPICS.errors)),
    "heartbeat": ("status", lambda: status.status("line-7", TOPICS.status, beat(), 100_000)),
    "activated": ("model_activated", lambda: status.model_activated("line-7", TOPICS.model_status, MODEL)),
    "succeeded": (
        "command_response",
        lambda: commands.succeeded("line-7", TOPICS.command_responses, "c1", "pause", {"until": "noon"}),
    ),
    "rejected": (
        "command_response",
        lambda: commands.not_done("line-7", TOPICS.command_responses, "c1", "dance", "REJECTED", "unknown"),
    ),
    "failed": (
        "command_response",
        lambda: commands.not_done("line-7", TOPICS.command_responses, "c1", "pause", "FAILED", "KeyError"),
    ),
    "snapshot": (
        "snapshot",
        lambda: snapshots.snapshot("line-7", TOPICS.snapshots, "c1", frame(), b"\xff\xd8", 320, 240),
    ),
    "ping": ("ping", lambda: ping("line-7", TOPICS.ping)),
    "uploader status": (
        "uploader_status",
        lambda: uploads.uploader_status(
            "line-7",
            TOPICS.uploader_status,
            "waiting",
            {
                "waiting": 3,
                "waiting_bytes": 9000,
                "uploaded": 1,
                "failures": 2,
                "refused": 0,
                "in_hour": 1,
                "bytes_in_day": 3000,
            },
            "the bucket responded 403 AccessDenied",
        ),
    ),
}


def validate(topic: str, body: object) -> None:
    jsonschema.Draft202012Validator(
        schema(topic), format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    ).validate(body)


def name_of(message: Message) -> str:
    return message.topic.removeprefix(TOPICS.prefix + "/")


@pytest.mark.parametrize("kind", MADE)
def test_every_message_has_the_envelope_and_follows_its_schema(kind: str) -> None:
    message_type, make = MADE[kind]
    message = make()
    body = json.loads(message.payload)
    validate(name_of(message), body)
    assert (body["message_type"], body["id"], body["device"]) == (message_type, message.id, "line-7")
    assert body["schema_version"] == "1.0"
    made_at = datetime.fromisoformat(body["time"])
    assert made_at.utcoffset() == timedelta(0)
    assert abs(made_at - datetime.now(timezone.utc)) < timedelta(minutes=1)


@pytest.mark.parametrize("kind", MADE)
@pytest.mark.parametrize("member", ["id", "message_type", "schema_version", "device", "time"])
def test_a_message_without_a_member_of_the_envelope_is_against_its_schema(kind: str, member: str) -> None:
    message = MADE[kind][1]()
    body = json.loads(message.payload)
    del body[member]
    with pytest.raises(jsonschema.ValidationError):
        validate(name_of(message), body)


@pytest.mark.parametrize("kind", MADE)
def test_members_that_are_not_described_are_against_the_schema(kind: str) -> None:
    message = MADE[kind][1]()
    with pytest.raises(jsonschema.ValidationError):
        validate(name_of(message), {**json.loads(message.payload), "stray": 1})


def test_features_may_have_properties_that_stages_add() -> None:
    body = json.loads(MADE["detections"][1]().payload)
    body["features"][0]["properties"]["zone"] = "A"
    validate("detections", body)
    body["features"][0]["zone"] = "A"
    with pytest.raises(jsonschema.ValidationError):
        validate("detections", body)


def test_every_topic_has_a_schema_and_a_message_here() -> None:
    assert set(MESSAGES) == set(topics.NAMES)
    made = {name_of(make()) for _, make in MADE.values()}
    assert made == set(topics.NAMES) - {topics.COMMANDS}


@pytest.mark.parametrize("topic", topics.NAMES)
def test_the_schemas_in_the_repository_are_the_generated_ones(topic: str) -> None:
    loaded = schema(topic)
    assert loaded == json.loads(json.dumps(generate_schema(topic)))
    assert loaded["$id"] == f"urn:sam3edge:{topic.replace('/', '-')}:1.0"
    jsonschema.Draft202012Validator.check_schema(loaded)


def test_the_program_writes_every_schema_and_nothing_else(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sam3edge.cli.schemas", "--out", str(tmp_path / "out")]
    subprocess.run(command, check=True, env={"PYTHONPATH": ":".join(filter(None, sys.path))})
    assert {path.name for path in (tmp_path / "out").iterdir()} == {schema_file(topic) for topic in topics.NAMES}
    assert json.loads((tmp_path / "out" / "status-model.schema.json").read_text()) == schema("status/model")


def test_a_schema_of_no_topic_is_refused_by_name() -> None:
    with pytest.raises(KeyError, match=r"expected one of detections, .*, got weather"):
        schema("weather")


@pytest.mark.parametrize(
    ("command", "valid"),
    [
        ({"id": "c1", "command": "snapshot"}, True),
        ({"id": "c1", "command": "set_threshold", "arguments": {"threshold": 0.4}}, True),
        ({"id": "", "command": "snapshot"}, False),
        ({"id": "c" * 129, "command": "snapshot"}, False),
        ({"command": "snapshot"}, False),
        ({"id": "c1", "command": "snapshot", "argument": {}}, False),
    ],
)
def test_the_schema_of_commands(command: dict[str, Any], valid: bool) -> None:
    assert jsonschema.Draft202012Validator(schema("commands")).is_valid(command) is valid


def test_a_frame_error_keeps_its_id_when_it_is_made_again_later() -> None:
    noon = datetime(2026, 1, 2, 12, tzinfo=timezone.utc)
    first, again = (errors.frame_error("d", BAD, "t/errors", made_at=noon) for _ in range(2))
    later = errors.frame_error("d", BAD, "t/errors", made_at=noon + timedelta(hours=1))
    assert first == again
    assert later.id == first.id
    assert json.loads(later.payload)["time"] == "2026-01-02T13:00:00.000+00:00"
    assert json.loads(first.payload)["reason"] == "expected an image, got text"
    assert errors.frame_error("other", BAD, "t/errors").id != first.id


@pytest.mark.parametrize("make", [errors.component_error, errors.bundle_refused])
def test_reports_name_the_error_and_stay_short(make: Callable[[str, Exception, str], Message]) -> None:
    first, second = (json.loads(make("d", BundleError("x" * 5000), "t").payload) for _ in range(2))
    assert (first["error"], first["reason"]) == ("BundleError", "x" * 997 + "…")
    assert first["id"] != second["id"]


def test_a_heartbeat_gives_way_to_the_next_and_counts_prompts_that_do_not_fit() -> None:
    prompts = tuple(Prompt(f"phrase number {i}") for i in range(300))
    message = status.status("line-7", "t/status", beat(prompts), 7_000)
    body = json.loads(message.payload)
    assert message.supersedes == "status"
    assert len(message.payload) <= 7_000
    assert 0 < len(body["prompts"]) < 300 == body["prompt_count"]
    assert "fallback" not in body


def test_times_are_rfc_3339_in_utc_with_milliseconds() -> None:
    east = timezone(timedelta(hours=2))
    assert timestamp(datetime(2026, 1, 2, 3, 4, 5, tzinfo=east)) == "2026-01-02T01:04:05.000+00:00"


def test_the_encoder_is_compact_keeps_letters_and_refuses_what_json_has_no_word_for() -> None:
    assert to_json({"a": [1, "深"]}) == '{"a":[1,"深"]}'.encode()
    for number in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="JSON"):
            to_json({"a": number})


def test_stable_ids_follow_from_their_parts() -> None:
    assert stable_id("line-7", "f", "detections", 0) == stable_id("line-7", "f", "detections", 0)
    assert stable_id("line-7", "f", "detections", 0) != stable_id("line-7", "f", "detections", 1)


def test_topics_lie_below_the_things_prefix_or_another() -> None:
    default = topics.topics_of("line-7")
    assert default.detections == "sam3edge/line-7/detections"
    assert default.model_status == "sam3edge/line-7/status/model"
    own = topics.topics_of("line-7", "plant/hall-2")
    properties = [name for name, member in vars(topics.Topics).items() if isinstance(member, property)]
    assert {getattr(own, name) for name in properties} == {f"plant/hall-2/{name}" for name in topics.NAMES}


@pytest.mark.parametrize(
    ("thing", "says"), [("", "AWS_IOT_THING_NAME is not set"), ("a/b", "got 'a/b'"), ("+", "got"), ("a b", "got")]
)
@pytest.mark.parametrize("prefix", ["", "plant/hall-2"])
def test_a_thing_name_that_is_missing_or_no_topic_level_is_refused(thing: str, says: str, prefix: str) -> None:
    with pytest.raises(SettingsError, match=says):
        topics.topics_of(thing, prefix)
