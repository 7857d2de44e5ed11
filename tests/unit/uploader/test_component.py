"""The uploader component, by the fake nucleus, to S3 and the token exchange service on loopback."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

import sam3edge
from sam3edge.core.errors import ConnectionLost, SettingsError
from sam3edge.core.messages.schemas import schema
from sam3edge.greengrass.fake import FakeNucleus
from sam3edge.hard_examples.example import EXAMPLE, FRAME, examples_in
from sam3edge.uploader.component import UploaderContext, serve
from sam3edge.uploader.settings import Settings, read_settings
from support.fake_s3 import SECRET, TOKEN, FakeS3, fake_s3
from unit.uploader.conftest import put_example

PATIENCE = 20.0
TOPIC = "sam3edge/line-7/status/uploader"


class Device:
    def __init__(self, root: Path, s3: FakeS3, **keys: Any) -> None:
        self.s3 = s3
        self.folder = root / "examples"
        self.keys = {"Bucket": s3.bucket, "Endpoint": s3.url, "HeartbeatSeconds": 1, **keys}
        self.nucleus = FakeNucleus(self.keys)
        self.where = UploaderContext("line-7", root / "work", self.folder, s3.region, s3.exchange, TOKEN)
        self.stop = threading.Event()
        self.error: Exception | None = None
        self.thread = threading.Thread(target=self._serve)

    def _serve(self) -> None:
        try:
            serve(self.nucleus, self.where, self.stop)
        except Exception as error:
            self.error = error

    def start(self) -> None:
        self.thread.start()

    def beats(self) -> list[dict[str, Any]]:
        return [json.loads(payload) for topic, payload in self.nucleus.published if topic == TOPIC]

    def wait(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, f"waited {PATIENCE} s; heartbeats {self.beats()[-1:]}"
            assert self.thread.is_alive(), f"the component ended: {self.error!r}"
            time.sleep(0.02)

    def close(self) -> None:
        self.stop.set()
        if self.thread.ident is not None:
            self.thread.join(PATIENCE)
        assert not self.thread.is_alive()
        self.nucleus.close()
        for topic, payload in self.nucleus.published:
            name = topic.removeprefix("sam3edge/line-7/")
            jsonschema.Draft202012Validator(schema(name)).validate(json.loads(payload))


@pytest.fixture
def s3() -> Iterator[FakeS3]:
    with fake_s3() as one:
        yield one


@pytest.fixture
def device(tmp_path: Path, s3: FakeS3) -> Iterator[Device]:
    one = Device(tmp_path, s3)
    yield one
    one.close()


def test_examples_reach_the_bucket_and_leave_the_device(device: Device) -> None:
    keys = [put_example(device.folder, number, 6_000_000 if number == 1 else 3000) for number in range(3)]
    device.start()
    device.wait(lambda: not examples_in(device.folder))
    assert set(device.s3.objects) == {key + name for key in keys for name in (FRAME, EXAMPLE)}
    assert device.s3.uploads == {}
    assert device.s3.types[keys[0] + EXAMPLE] == "application/json"
    device.wait(lambda: device.beats()[-1]["examples"]["uploaded"] == 3)
    counters = device.beats()[-1]["examples"]
    assert (counters["waiting"], counters["in_hour"], device.beats()[-1]["state"]) == (0, 3, "running")
    assert counters["bytes_in_day"] > 6_000_000


def test_nothing_leaves_without_a_bucket_until_one_is_configured(tmp_path: Path, s3: FakeS3) -> None:
    device = Device(tmp_path, s3, Bucket="")
    try:
        put_example(device.folder, 1)
        device.start()
        device.wait(device.beats)
        assert (device.beats()[-1]["state"], device.beats()[-1]["examples"]["waiting"]) == ("off", 1)
        assert s3.log == []
        assert s3.credentials_given == 0
        device.nucleus.configure({**device.keys, "Bucket": s3.bucket})
        device.wait(lambda: s3.objects)
    finally:
        device.close()


def test_what_went_wrong_is_in_the_heartbeat_without_secrets(device: Device, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    put_example(device.folder, 1)
    device.s3.faults.extend(["403 AccessDenied"] * 100)
    device.start()
    device.wait(lambda: device.beats() and device.beats()[-1]["state"] == "waiting")
    assert "403 AccessDenied" in device.beats()[-1]["last_error"]
    assert len(examples_in(device.folder)) == 1
    for secret in (SECRET, TOKEN, device.s3.session):
        assert secret not in caplog.text
        assert secret not in json.dumps(device.beats())
        assert secret not in repr(device.where)


def test_a_configuration_that_is_refused_is_reported_and_the_one_before_stays(device: Device) -> None:
    device.start()
    device.wait(device.beats)
    device.nucleus.configure({**device.keys, "BytesPerDay": 1000})
    device.wait(lambda: [topic for topic, _ in device.nucleus.published if topic.endswith("/errors")])
    key = put_example(device.folder, 1)
    device.wait(lambda: key + EXAMPLE in device.s3.objects)


def test_a_first_configuration_that_is_refused_ends_it(tmp_path: Path, s3: FakeS3) -> None:
    for keys in ({"Bucket": "No Such Name"}, {"Region": "", "Endpoint": "ftp://labels"}):
        device = Device(tmp_path, s3, **keys)
        device.start()
        device.thread.join(PATIENCE)
        assert isinstance(device.error, SettingsError)
        assert [topic for topic, _ in device.nucleus.published] == ["sam3edge/line-7/errors"]
        device.close()


def test_a_slow_upload_ends_when_the_program_does_and_is_continued(tmp_path: Path, s3: FakeS3) -> None:
    device = Device(tmp_path, s3, BytesPerSecond=2_000_000)
    put_example(device.folder, 1, 12_000_000)
    device.start()
    device.wait(lambda: any(line.startswith("PUT") for line in s3.log))
    device.close()
    first = s3.log.count("PUT partNumber")
    assert first < 3
    assert len(examples_in(device.folder)) == 1
    again = Device(tmp_path, s3)
    again.start()
    again.wait(lambda: not examples_in(again.folder))
    again.close()
    assert s3.log.count("POST uploads") == 1
    assert s3.log.count("PUT partNumber") == 3


def test_a_lost_nucleus_ends_it_with_that_error(device: Device) -> None:
    device.start()
    device.wait(device.beats)
    device.nucleus.outage = ConnectionLost("the socket is closed")
    device.thread.join(PATIENCE)
    assert isinstance(device.error, ConnectionLost)


def test_the_recipes_default_configuration_uploads_nothing() -> None:
    recipe = yaml.safe_load((Path(sam3edge.__file__).parent / "uploader" / "recipe.yaml").read_text())
    assert read_settings(recipe["ComponentConfiguration"]["DefaultConfiguration"]) == Settings()
    assert Settings().bucket == ""


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"Bucket": "UPPER"}, "Bucket"),
        ({"Bucket": "labels", "Prefix": "/a"}, "Prefix"),
        ({"Prefix": ""}, "Prefix"),
        ({"BytesPerDay": 5_000_000}, "BytesPerDay"),
        ({"ExamplesPerHour": -1}, "ExamplesPerHour"),
        ({"Providers": "CPUExecutionProvider"}, "Providers"),
    ],
)
def test_wrong_settings_are_named(keys: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        read_settings(keys)


def test_every_key_is_documented_with_its_default() -> None:
    text = (Path(sam3edge.__file__).parents[1] / "README.md").read_text()
    section = text[text.index("## Configuration of `com.sam3edge.Uploader`") :]
    section = section[: section.index("\n## ", 10)]
    shown = {"bytes_per_day": "256 MiB", "prefix": "`hard-examples`", "log_level": "`INFO`"}
    for name, field in Settings.model_fields.items():
        row = next(line for line in section.splitlines() if line.startswith("|") and f"`{field.alias}`" in line)
        default = shown.get(name, f"{field.default:g}" if isinstance(field.default, int | float) else "")
        assert default in row.split("|")[2]


def test_numbers_may_come_as_text() -> None:
    settings = read_settings({"Bucket": "labels", "BytesPerDay": "10000000", "BytesPerSecond": "50000"})
    assert (settings.bytes_per_day, settings.bytes_per_second) == (10_000_000, 50_000)
