from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sam3edge.core.errors import OutboxFull, SettingsError
from sam3edge.core.messages.bounds import MIN_PAYLOAD
from sam3edge.core.messages.schemas import schema
from sam3edge.core.types import Message
from sam3edge.greengrass.commands import Command, Commands


def as_bytes(value: object) -> bytes:
    """As a sender writes it, infinity and lone surrogates included."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


class Station:
    """A device with two commands, and what it answered."""

    def __init__(self) -> None:
        self.obeyed: list[Command] = []
        self.answers: list[Message] = []
        self.full = False
        handlers = {"pause": self.pause, "refuse": self.refuse, "break": self.break_}
        self.commands = Commands("thing-1", "site/commands/response", handlers, self.put)

    def put(self, messages: Sequence[Message]) -> None:
        if self.full:
            raise OutboxFull("no room")
        self.answers += messages

    def pause(self, command: Command) -> Mapping[str, Any]:
        self.obeyed.append(command)
        return {"until": "noon"}

    def refuse(self, command: Command) -> Mapping[str, Any]:
        raise SettingsError("expected minutes, got hours")

    def break_(self, command: Command) -> Mapping[str, Any]:
        self.obeyed.append(command)
        raise KeyError("a defect")

    def send(self, command: object) -> dict[str, Any]:
        payload = command if isinstance(command, bytes) else json.dumps(command).encode()
        self.commands.handle("site/commands", payload)
        answer: dict[str, Any] = json.loads(self.answers[-1].payload)
        return answer


@pytest.fixture
def station() -> Station:
    return Station()


def test_a_command_is_obeyed_and_acknowledged(station: Station) -> None:
    answer = station.send({"id": "c1", "command": "pause", "arguments": {"minutes": 5}})
    assert station.obeyed == [Command("c1", "pause", {"minutes": 5})]
    assert abs(datetime.fromisoformat(answer.pop("time")) - datetime.now(timezone.utc)) < timedelta(minutes=1)
    assert answer == {
        "message_type": "command_response",
        "id": station.answers[0].id,
        "schema_version": "1.0",
        "device": "thing-1",
        "command": {"id": "c1", "name": "pause"},
        "status": "SUCCEEDED",
        "result": {"until": "noon"},
    }
    assert station.answers[0].topic == "site/commands/response"


def test_a_repeated_command_is_answered_again_and_not_obeyed_again(station: Station) -> None:
    first = station.send({"id": "c1", "command": "pause"})
    assert station.send({"id": "c1", "command": "pause"}) == first
    assert len(station.obeyed) == 1
    station.send({"id": "c2", "command": "pause"})
    assert len(station.obeyed) == 2
    assert len({message.id for message in station.answers}) == 2


def test_a_refusal_says_why(station: Station) -> None:
    answer = station.send({"id": "c1", "command": "refuse"})
    assert (answer["status"], answer["reason"]) == ("REJECTED", "expected minutes, got hours")


def test_an_unknown_command_is_told_the_known_ones(station: Station) -> None:
    answer = station.send({"id": "c1", "command": "dance"})
    assert answer["status"] == "REJECTED"
    assert answer["reason"] == "expected one of break, pause, refuse, got dance"


@pytest.mark.parametrize(
    ("payload", "fault"),
    [
        (b"\xff\xfe", "json"),
        (b"{", "json"),
        (b"[1]", "object"),
        (b'{"command": "pause"}', "id"),
        (b'{"id": "", "command": "pause"}', "id"),
        (b'{"id": 7, "command": "pause"}', "id"),
        (b'{"id": "c1"}', "command"),
        (b'{"id": "c1", "command": "pause", "arguments": [1]}', "arguments"),
        (b'{"id": "c1", "command": "pause", "argument": {}}', "argument"),
        (b"[" * 100_000, "json"),
        (b'{"id": "c1", "command": "pause", "arguments": {"minutes": NaN}}', "arguments"),
    ],
)
def test_what_is_no_command_is_rejected_with_the_fault(station: Station, payload: bytes, fault: str) -> None:
    answer = station.send(payload)
    assert answer["status"] == "REJECTED"
    assert fault in answer["reason"].lower()
    assert station.obeyed == []


def test_the_reason_repeats_what_is_wrong_and_stays_short(station: Station) -> None:
    assert "id: Input should be a valid string, got '7'" in station.send({"id": 7, "command": "pause"})["reason"]
    many = {"id": "c1", "command": "pause", **{f"unknown {i}": "x" * 1000 for i in range(1000)}}
    reason = station.send(many)["reason"]
    assert len(reason.encode()) <= 500
    assert reason.endswith("…")


def test_a_result_that_is_not_json_is_a_defect(station: Station) -> None:
    station.pause = lambda command: {"until": float("nan")}  # type: ignore[method-assign]
    station.commands._handlers["pause"] = station.pause
    with pytest.raises(ValueError, match="JSON"):
        station.send({"id": "c1", "command": "pause"})
    answer = json.loads(station.answers[0].payload)
    assert (answer["status"], answer["reason"]) == ("FAILED", "ValueError")


def test_a_defect_is_acknowledged_and_not_hidden(station: Station) -> None:
    with pytest.raises(KeyError):
        station.send({"id": "c1", "command": "break"})
    answer = json.loads(station.answers[0].payload)
    assert (answer["status"], answer["reason"]) == ("FAILED", "KeyError")
    station.send({"id": "c1", "command": "break"})
    assert len(station.obeyed) == 1


def test_an_answer_that_found_no_room_is_given_when_the_command_comes_again(station: Station) -> None:
    station.full = True
    station.commands.handle("t", b'{"id": "c1", "command": "pause"}')
    assert station.answers == []
    station.full = False
    assert station.send({"id": "c1", "command": "pause"})["status"] == "SUCCEEDED"
    assert len(station.obeyed) == 1


def test_the_memory_of_commands_is_bounded(station: Station) -> None:
    for number in range(300):
        station.send({"id": f"c{number}", "command": "pause"})
    assert len(station.commands._responses) == 200
    station.send({"id": "c299", "command": "pause"})
    assert len(station.obeyed) == 300


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
COMMANDS = st.fixed_dictionaries(
    {},
    optional={
        "id": JSON | st.text(min_size=1, max_size=400),
        "command": JSON | st.sampled_from(["pause", "refuse", "dance"]),
        "arguments": JSON,
        "stray": JSON,
    },
)


@given(st.binary(max_size=300) | JSON.map(as_bytes) | COMMANDS.map(as_bytes))
@settings(max_examples=300, deadline=None)
def test_whatever_arrives_one_response_follows_its_schema_and_fits(payload: bytes) -> None:
    station = Station()
    station.commands.handle("site/commands", payload)
    [answer] = station.answers
    jsonschema.Draft202012Validator(schema("commands/response")).validate(json.loads(answer.payload))
    assert len(answer.payload) <= MIN_PAYLOAD
