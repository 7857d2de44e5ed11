"""The component without a nucleus process: live settings, commands, hot swap, eviction, status, loss."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from sam3edge.bundle.proof import ProvenEngine
from sam3edge.core.errors import ConnectionLost, PublishError
from sam3edge.core.types import PassedOver
from sam3edge.engines.fake import FakeEngine
from sam3edge.segmenter import wiring
from support.samples import red_square
from support.segmenter import PATIENCE, Device, use_fake_engines
from support.stand_in import StandIn


@pytest.fixture(autouse=True)
def _fake_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    use_fake_engines(monkeypatch)


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    one = Device(tmp_path)
    yield one
    one.close()


def test_an_image_becomes_a_message(device: Device) -> None:
    device.start()
    device.put("a.png")
    device.wait(lambda: device.published("detections"))
    [message] = device.published("detections")
    assert message["frame"]["name"] == "a.png"
    assert len(message["features"]) == 1
    assert device.nucleus.states[-1] == "RUNNING"


def test_prompts_change_without_a_restart(device: Device) -> None:
    device.start()
    device.put("a.png")
    device.wait(lambda: len(device.published("detections")) == 1)
    device.nucleus.configure({**device.nucleus.configuration(), "Prompts": [{"Text": "red", "Threshold": 1.0}]})
    device.nucleus.settle()
    device.put("b.png")
    device.wait(lambda: len(device.published("detections")) == 2)
    assert [len(m["features"]) for m in device.published("detections")] == [1, 0]


def test_a_bad_update_is_refused_reported_and_the_old_settings_stay(device: Device) -> None:
    device.start()
    device.wait(lambda: device.nucleus.states)
    device.nucleus.configure({**device.nucleus.configuration(), "Threshold": 7})
    device.wait(lambda: device.published("errors"))
    assert "Threshold" in device.published("errors")[0]["reason"]
    device.put("a.png")
    device.wait(lambda: device.published("detections"))
    assert device.published("detections")[0]["prompts"][0]["threshold"] == 0.5


def test_another_folder_is_watched_after_a_change_without_losing_the_component(device: Device, tmp_path: Path) -> None:
    device.start()
    device.wait(lambda: device.nucleus.states)
    (tmp_path / "other").mkdir()
    configuration = device.nucleus.configuration()
    source = {**configuration["Source"], "Path": str(tmp_path / "other")}
    device.nucleus.configure({**configuration, "Source": source})
    device.wait(lambda: len(device.nucleus.states) == 2)
    device.images = tmp_path / "other"
    device.put("b.png")
    device.wait(lambda: device.published("detections"))


def test_a_folder_that_is_not_there_is_refused_and_the_one_before_goes_on(device: Device, tmp_path: Path) -> None:
    device.start()
    device.wait(lambda: device.nucleus.states)
    configuration = device.nucleus.configuration()
    source = {**configuration["Source"], "Path": str(tmp_path / "nowhere")}
    device.nucleus.configure({**configuration, "Source": source})
    device.wait(lambda: any("nowhere" in e["reason"] for e in device.published("errors")))
    device.put("a.png")
    device.wait(lambda: device.published("detections"))


def test_a_command_changes_prompts_for_good_and_is_acknowledged(device: Device) -> None:
    device.start()
    device.wait(lambda: device.nucleus.states)
    device.command(id="1", command="set_prompts", arguments={"prompts": ["blue", "green"]})
    device.wait(lambda: device.published("commands/response"))
    assert device.published("commands/response")[0]["status"] == "SUCCEEDED"
    device.wait(lambda: device.nucleus.configuration()["Prompts"] == ["blue", "green"])
    device.nucleus.settle()
    device.put("a.png")
    device.wait(lambda: device.published("detections"))
    assert [p["text"] for p in device.published("detections")[0]["prompts"]] == ["blue", "green"]


@pytest.mark.parametrize(
    "command",
    [
        {"command": "set_threshold", "arguments": {"threshold": 9}},
        {"command": "set_threshold", "arguments": {}},
        {"command": "set_prompts", "arguments": {"prompts": []}},
        {"command": "reboot", "arguments": {}},
    ],
)
def test_a_bad_command_is_refused_and_changes_nothing(device: Device, command: dict[str, Any]) -> None:
    device.start()
    device.wait(lambda: device.nucleus.states)
    before = device.nucleus.configuration()
    device.command(id="1", **command)
    device.wait(lambda: device.published("commands/response"))
    answer = device.published("commands/response")[0]
    assert answer["status"] == "REJECTED"
    assert len(answer["reason"]) > 10
    assert device.nucleus.configuration() == before


def test_a_snapshot_is_the_next_frame_as_a_picture_that_fits(device: Device) -> None:
    device.start()
    device.wait(lambda: device.nucleus.states)
    device.command(id="7", command="snapshot", arguments={})
    device.wait(lambda: device.published("commands/response"))
    grey = np.random.default_rng(0).integers(0, 255, (1500, 2000, 1), dtype=np.uint8)  # noise makes the largest JPEG
    device.put("a.png", np.repeat(grey, 3, 2))
    device.wait(lambda: device.published("snapshots"))
    [snapshot] = device.published("snapshots")
    assert snapshot["message_type"] == "snapshot"
    assert snapshot["request"] == "7"
    assert len(json.dumps(snapshot)) <= 51_000
    assert 64 <= max(snapshot["width"], snapshot["height"]) < 2000


def test_the_smallest_message_has_room_for_a_snapshot_of_any_frame(tmp_path: Path) -> None:
    device = Device(tmp_path, MaxPayloadBytes=4_000)
    try:
        device.start()
        device.wait(lambda: device.nucleus.states)
        device.command(id="7", command="snapshot", arguments={})
        device.wait(lambda: device.published("commands/response"))
        noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)
        device.put(f"{'x' * 200}.png", noise)
        device.wait(lambda: device.published("snapshots"))
        assert max(len(payload) for _, payload in device.nucleus.published) <= 4_000
    finally:
        device.close()


def test_the_model_is_exchanged_between_two_frames(device: Device) -> None:
    device.start()
    device.put("a.png")
    device.wait(lambda: len(device.published("detections")) == 1)
    assert device.published("detections")[0]["model"]["version"] == "1.0.0"
    device.use("2.0.0")
    deadline = time.monotonic() + PATIENCE
    count = 1
    while device.published("detections")[-1]["model"]["version"] != "2.0.0":
        assert time.monotonic() < deadline
        device.put(f"b{count}.png")
        count += 1
        device.wait(lambda n=count: len(device.published("detections")) == n)


def test_a_bundle_that_does_not_load_is_reported_and_the_one_before_goes_on(device: Device) -> None:
    device.start()
    device.wait(lambda: device.nucleus.states)
    device.use("broken")
    device.wait(lambda: device.published("errors"))
    assert "broken does not load" in device.published("errors")[0]["reason"]
    device.put("a.png")
    device.wait(lambda: device.published("detections"))
    assert device.published("detections")[0]["model"]["version"] == "1.0.0"


def test_it_waits_for_its_first_model_and_says_so(tmp_path: Path) -> None:
    device = Device(tmp_path)
    (device.where.store / "current").unlink()
    try:
        device.start()
        device.put("a.png")
        device.wait(lambda: device.published("status"))
        assert device.published("status")[0]["state"] == "waiting for a model"
        device.use("1.1.0")
        device.wait(lambda: device.published("detections"))
    finally:
        device.close()


def test_the_heartbeat_says_what_an_operator_needs(device: Device) -> None:
    device.start()
    device.put("a.png")
    (device.images / "b.png").write_bytes(b"no picture at all")
    device.wait(lambda: device.published("status") and device.published("status")[-1]["counts"]["rejected"] == 1)
    status = device.published("status")[-1]
    assert status["model"]["version"] == "1.0.0"
    assert status["prompts"] == [{"text": "red", "label": "red", "threshold": 0.5}]
    assert status["counts"]["frames"] == 1
    assert status["heartbeat_seconds"] == device.nucleus.configuration()["HeartbeatSeconds"]
    assert status["last_error"]
    assert {"queued", "delivered", "retried", "evicted"} <= set(status["delivery"])
    assert [m["frame"]["name"] for m in device.published("errors")] == ["b.png"]


def test_a_lost_nucleus_ends_the_component_with_that_error(device: Device) -> None:
    device.start()
    device.wait(lambda: device.nucleus.states)
    device.nucleus.outage = ConnectionLost("the socket is closed")
    device.put("a.png")
    device.thread.join(PATIENCE)
    assert isinstance(device.error, ConnectionLost)


def test_an_outage_loses_nothing(device: Device) -> None:
    device.start()
    device.wait(lambda: device.nucleus.states)
    device.nucleus.outage = PublishError("offline")
    for i in range(5):
        device.put(f"{i}.png")
    time.sleep(1)
    device.nucleus.outage = None
    device.wait(lambda: len({m["id"] for m in device.published("detections")}) == 5)


def test_a_camera_does_not_wait_for_a_full_outbox_the_oldest_go_and_are_counted(tmp_path: Path) -> None:
    video = tmp_path / "v.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 10, (320, 240))
    for i in range(80):
        writer.write(np.ascontiguousarray(red_square(10 + i)[..., ::-1]))
    writer.release()
    source = {"Type": "camera", "Uri": str(video), "Realtime": True, "Gate": {"Enabled": False}}
    device = Device(tmp_path, Source=source, Outbox={"MaxBytes": 12_000}, HeartbeatSeconds=1)
    try:
        device.start()
        device.wait(lambda: device.nucleus.states)
        device.nucleus.outage = PublishError("offline")
        time.sleep(1.5)
        device.nucleus.outage = None
        device.wait(lambda: device.published("status") and device.published("status")[-1]["delivery"]["evicted"] > 0)
        device.wait(lambda: device.published("detections"))
    finally:
        device.close()


@pytest.fixture
def cloud() -> Iterator[StandIn]:
    one = StandIn(FakeEngine(version="9.9.9"))
    yield one
    one.close()


def test_the_cloud_stands_in_for_a_model_until_there_is_one(tmp_path: Path, cloud: StandIn) -> None:
    device = Device(tmp_path, Fallback={"Endpoint": cloud.url, "ModelWaitSeconds": 0})
    (device.where.store / "current").unlink()
    try:
        device.start()
        device.put("a.png")
        device.wait(lambda: device.published("detections"))
        origin = device.published("detections")[0]["origin"]
        assert (origin["by"], origin["reason"]) == ("cloud", "unavailable")
        device.wait(lambda: device.published("status") and device.published("status")[-1]["fallback"]["answered"] == 1)
        assert device.published("status")[-1]["fallback"]["in_hour"] == 1
        device.use("1.1.0")
        device.put("b.png")
        device.wait(lambda: len(device.published("detections")) == 2)
        while (last := device.published("detections")[-1])["origin"]["by"] != "device":
            device.put(f"{len(device.published('detections'))}.png")
            count = len(device.published("detections"))
            device.wait(lambda n=count: len(device.published("detections")) > n)
        assert last["model"]["version"] == "1.1.0"
    finally:
        device.close()


def test_another_provider_than_was_asked_for_is_never_used_in_silence(
    device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = PassedOver("TensorrtExecutionProvider", "golden run: a 'car' is found and must not be")
    proven = ProvenEngine(FakeEngine(), (passed,))
    monkeypatch.setattr(wiring, "load_engine", lambda *_: proven)
    device.start()
    device.wait(lambda: device.published("status") and "passed_over" in device.published("status")[-1])
    assert device.published("status")[-1]["passed_over"] == [{"provider": passed.provider, "reason": passed.reason}]
    device.wait(lambda: device.published("errors"))
    said = device.published("errors")[0]["reason"]
    assert "runs on fake and not on TensorrtExecutionProvider: golden run: a 'car' is found and must not be" in said


def test_without_a_fallback_the_heartbeat_says_nothing_of_it(device: Device) -> None:
    device.start()
    device.wait(lambda: device.published("status"))
    assert "fallback" not in device.published("status")[0]


def test_an_endpoint_that_is_none_is_refused_and_the_configuration_before_goes_on(device: Device) -> None:
    device.start()
    device.wait(lambda: device.nucleus.states)
    device.nucleus.configure({**device.nucleus.configuration(), "Fallback": {"Endpoint": "http://u:secret@host"}})
    device.wait(lambda: any("must not hold a password" in e["reason"] for e in device.published("errors")))
    assert "secret" not in json.dumps(device.published("errors"))
    device.put("a.png")
    device.wait(lambda: device.published("detections"))
    assert device.published("detections")[0]["origin"] == {"by": "device"}
