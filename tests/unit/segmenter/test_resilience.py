"""What must not end a device: configurations, lost threads, a lost nucleus."""

from __future__ import annotations

import json
import sqlite3
import stat
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sam3edge.core.errors import ConnectionLost, SettingsError, ThreadDied
from sam3edge.greengrass.restarts import RestartBudget
from sam3edge.segmenter.last_configuration import LastConfiguration
from sam3edge.segmenter.settings import MAX_PROMPTS, read_settings
from support.segmenter import Device, use_fake_engines

GOOD: dict[str, Any] = {"Prompts": ["red"], "Source": {"Type": "folder", "Path": "/images"}}


@pytest.fixture(autouse=True)
def _fake_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    use_fake_engines(monkeypatch)


# -- what a configuration may hold ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "names"),
    [
        ({"MinArea": "inf"}, "MinArea"),
        ({"MinArea": "1e999"}, "MinArea"),
        ({"MinArea": float("nan")}, "MinArea"),
        ({"Prompts": [{"Text": "a", "Label": "\ud800"}]}, "Prompts.0.Label"),
        ({"Prompts": ["a\0b"]}, "Prompts.0"),
        ({"Prompts": ["a"] * (MAX_PROMPTS + 1)}, "Prompts"),
        ({"HeartbeatSeconds": 1e300}, "HeartbeatSeconds"),
        ({"HeartbeatSeconds": "inf"}, "HeartbeatSeconds"),
        ({"Source": {**GOOD["Source"], "SettleSeconds": 1e300}}, "Source.SettleSeconds"),
        ({"Source": {**GOOD["Source"], "RescanSeconds": "inf"}}, "Source.RescanSeconds"),
        ({"Source": {"Type": "folder", "Path": "/a\0b"}}, "Source.Path"),
        ({"Source": {"Type": "camera", "Uri": "0", "OpenTimeoutSeconds": 1e300}}, "Source.OpenTimeoutSeconds"),
        ({"Threads": 10**12}, "Threads"),
        ({"Threads": 100_000}, "Threads"),
        ({"Threads": "9" * 5000}, "Threads"),
        ({"TopicPrefix": "a\0b"}, "TopicPrefix"),
        ({"Providers": "Non sense!"}, "Providers"),
        ({"Providers": ""}, "Providers"),
        ({"Outbox": {"MaxBytes": 10**30}}, "Outbox.MaxBytes"),
        ({"a" * 10_000: 1}, "a key of"),
        ({"Prompts": [[[[[[[[[["a"]]]]]]]]]]}, "within each other"),
    ],
)
def test_what_no_part_could_carry_out_is_refused_by_name(keys: dict[str, Any], names: str) -> None:
    with pytest.raises(SettingsError, match=names) as caught:
        read_settings({**GOOD, **keys})
    str(caught.value).encode()


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=20)
    | st.sampled_from(["1e999", "inf", "-1", "9" * 400, "\0", "rtsp://admin:hunter2@cam"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(
    ["Prompts", "Threshold", "MinArea", "Source", "Publisher", "Outbox", "Fallback", "Threads", "Providers",
     "TopicPrefix", "HeartbeatSeconds", "MaxPayloadBytes", "InFlight", "ProbeSeconds", "LogLevel", "NmsIou"]
)  # fmt: skip
INNER = st.sampled_from(
    [
        "Type",
        "Path",
        "Uri",
        "SettleSeconds",
        "MaxBytes",
        "Endpoint",
        "Name",
        "Gate",
        "MaxFps",
        "Reasons",
        "Folder",
        "Depth",
        "DepthRange",
        "TimeZone",
        "UnfinishedSeconds",
        "ReplayMessages",
    ]
)


@given(st.dictionaries(KEYS, JSON | st.dictionaries(INNER, JSON, max_size=4), max_size=4))
@settings(max_examples=300, deadline=None)
def test_any_configuration_is_taken_or_refused_in_words(changes: dict[str, Any]) -> None:
    taken, said = None, ""
    try:
        taken = read_settings({**GOOD, **changes})
    except SettingsError as error:
        said = str(error)
    assert "hunter2" not in said
    said.encode()
    if taken is not None:
        taken.detection_options(7000)
        json.dumps(taken.model_dump(mode="json"), allow_nan=False).encode()


# -- a configuration that a part refuses ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"Providers": "NonsenseExecutionProvider"}, "Providers"),
        ({"Publisher": {"Type": "files", "Folder": "/proc/nowhere"}}, ""),
        ({"Source": {"Type": "folder", "Path": "/" + "x" * 4000}}, ""),
        ({"Source": {"Type": "camera", "Uri": "rtsp:/admin:hunter2@cam"}}, ""),
        ({"Source": "rtsp://admin:hunter2@cam"}, "Source"),
        ({"Source": {"Type": "rtsp://admin:hunter2@cam"}}, "Source"),
        ({"Source": {"Type": "folder", "Path": "rtsp://admin:hunter2@cam"}}, ""),
    ],
)
def test_it_is_refused_in_words_and_the_one_before_stays(tmp_path: Path, keys: dict[str, Any], says: str) -> None:
    device = Device(tmp_path)
    try:
        device.start()
        device.wait(lambda: device.nucleus.states)
        device.nucleus.configure({**device.nucleus.configuration(), **keys})
        device.wait(lambda: device.published("errors"))
        assert says in device.published("errors")[0]["reason"]
        device.put("a.png")
        device.wait(lambda: device.published("detections"))
    finally:
        device.close()
    assert "hunter2" not in json.dumps([payload.decode() for _, payload in device.nucleus.published])


def test_the_last_configuration_that_worked_survives_a_restart(tmp_path: Path) -> None:
    device = Device(tmp_path)
    device.start()
    device.wait(lambda: device.nucleus.states)
    good = device.nucleus.configuration()
    device.close()
    (tmp_path / "again").mkdir()
    again = Device(tmp_path / "again", Threshold=7)
    again.where.work.rmdir()
    device.where.work.rename(again.where.work)
    try:
        again.start()
        again.wait(lambda: again.published("errors"))
        assert "Threshold" in again.published("errors")[0]["reason"]
        device.put("a.png")  # into the folder of the configuration that worked
        again.wait(lambda: again.published("detections"))
    finally:
        again.close()
    file = again.where.work / "last-configuration.json"
    assert json.loads(file.read_text()) == good
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_without_one_that_worked_it_ends_and_says_why(tmp_path: Path) -> None:
    device = Device(tmp_path, Threshold=7)
    device.start()
    device.thread.join(20)
    device.close()
    assert isinstance(device.error, SettingsError)
    assert "Threshold" in device.published("errors")[0]["reason"]


@pytest.mark.parametrize("content", ["", "{", "[1]", '{"Prompts": 7}', "\0"])
def test_a_damaged_last_configuration_is_none(tmp_path: Path, content: str) -> None:
    file = tmp_path / "last.json"
    file.write_text(content)
    assert LastConfiguration(file).read() is None


# -- losses -----------------------------------------------------------------------------------------------------------


def test_frames_go_on_into_the_outbox_without_a_nucleus_until_it_may_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    device = Device(tmp_path)
    for _ in range(2):  # it was started twice within the hour
        RestartBudget(tmp_path / "work/starts.json").started()
    device.where = replace(device.where, restarts=RestartBudget(tmp_path / "work/starts.json"))
    device.start()
    device.wait(lambda: device.nucleus.states)
    device.nucleus.outage = ConnectionLost("the daemon was restarted")
    for number in range(3):
        device.put(f"{number}.png")
    device.wait(lambda: sum(record.getMessage().startswith("answered") for record in caplog.records) == 3)
    device.stop.set()
    device.thread.join(20)
    device.nucleus.close()
    assert isinstance(device.error, ConnectionLost)
    with sqlite3.connect(tmp_path / "work/outbox.sqlite") as outbox:
        topics = [topic for (topic,) in outbox.execute("SELECT topic FROM messages")]
    assert topics.count("sam3edge/line-7/detections") == 3


def test_a_thread_that_dies_ends_the_component_with_a_report(tmp_path: Path) -> None:
    device = Device(tmp_path)
    device.start()
    device.wait(lambda: device.nucleus.states)

    def fail() -> None:
        raise ZeroDivisionError("nobody expected this")

    doomed = threading.Thread(target=fail, name="watcher")
    doomed.start()
    doomed.join()
    device.thread.join(20)
    device.close()
    assert isinstance(device.error, ThreadDied)
    assert any("watcher" in e["reason"] and "ZeroDivisionError" in e["reason"] for e in device.published("errors"))
