"""``sam3edge listen``: what people type, what they get, and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyogrio
import pytest
from typer.testing import CliRunner

from sam3edge.cli.main import app
from sam3edge_simulator.mqtt.broker import Broker
from support.device_messages import PARTS, WHOLE, Device, of_frame
from support.listener_rig import whole_lines
from support.smart_home import EVENT
from support.waiting import until


@pytest.fixture
def broker() -> Iterator[Broker]:
    with Broker() as one:
        yield one


class Running:
    """The command in a process of its own."""

    def __init__(self, folder: Path, *arguments: Any, **environment: str) -> None:
        self._errors = folder / "errors"
        with self._errors.open("wb") as errors, (folder / "out").open("wb") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "sam3edge.cli.main", "listen", *map(str, arguments)],
                cwd=folder,
                stdout=out,
                stderr=errors,
                env={**os.environ, "COLUMNS": "200", **environment},
            )
        self.out = folder / "out"

    @property
    def errors(self) -> str:
        return " ".join(self._errors.read_text().split())

    def wait_listening(self) -> None:
        until(lambda: "listening to" in self.errors or self._process.poll() is not None)
        assert self._process.poll() is None, self.errors

    def stop(self, how: int = signal.SIGTERM) -> int:
        self._process.send_signal(how)
        return self._process.wait(60)

    def wait(self) -> int:
        return self._process.wait(60)


def published(device: Device, out: Path, name: str = "probe") -> None:
    """Publish until a line of it is there: a listener may not have subscribed yet when it says that it listens."""
    numbers = iter(range(10_000))

    def arrived() -> bool:
        device.publish([of_frame(WHOLE, f"{name}-{next(numbers)}")])
        return any(line["id"].startswith(name) for line in whole_lines(out))

    until(arrived)


def test_without_anything_asked_for_it_writes_lines_and_leaves_nothing_behind(tmp_path: Path, broker: Broker) -> None:
    running = Running(tmp_path, broker.url)
    running.wait_listening()
    device = Device(broker.url)
    published(device, running.out)
    device.publish([of_frame(part, "x") for part in PARTS])
    device.publish_text("rubbish")
    until(lambda: whole_lines(running.out)[-1]["frame"]["id"] == "x")
    device.close()
    assert running.stop(signal.SIGINT) == 0
    assert len(whole_lines(running.out)[-1]["features"]) == len(WHOLE["features"])
    assert "not kept" in running.errors
    assert "1 messages refused" in running.errors
    assert sorted(path.name for path in tmp_path.iterdir()) == ["errors", "out"]


def test_files_an_address_and_a_restart(tmp_path: Path, broker: Broker) -> None:
    arguments = (broker.url, "--ndjson", "x.ndjson", "--topic", "detections", "--topic", "events", "--geojson", "g")
    running = Running(tmp_path, *arguments, "--serve", "127.0.0.1:0")
    running.wait_listening()
    assert "the last state is at http://127.0.0.1:" in running.errors
    device = Device(broker.url)
    published(device, tmp_path / "x.ndjson")
    device.publish([EVENT], "events")
    until(lambda: whole_lines(tmp_path / "x.ndjson")[-1] == EVENT)
    assert running.stop() == 0
    again = Running(tmp_path, *arguments)
    again.wait_listening()
    published(device, tmp_path / "x.ndjson", "later")
    device.publish([of_frame(WHOLE, "probe-0"), of_frame(WHOLE, "last")])  # the first of them is known
    until(lambda: whole_lines(tmp_path / "x.ndjson")[-1]["id"].startswith("last"))
    assert again.stop() == 0
    device.close()
    found = [line["id"] for line in whole_lines(tmp_path / "x.ndjson")]
    assert len(found) == len(set(found))
    assert len(list((tmp_path / "g").rglob("*.geojson"))) == len(found) - 1  # an event is not a frame
    assert (tmp_path / ".sam3edge-listen" / "journal.db").exists()


def test_a_geopackage_at_the_end(tmp_path: Path, broker: Broker) -> None:
    running = Running(tmp_path, broker.url, "--ndjson", "x.ndjson", "--geopackage", "g")
    running.wait_listening()
    device = Device(broker.url)
    published(device, tmp_path / "x.ndjson")
    odd = of_frame(WHOLE, "odd")
    ring = {"type": "Polygon", "coordinates": [[[1, 2], [3, 4], [5, 6], [7, 8]]]}  # is not closed
    odd["features"] = [{**odd["features"][0], "geometry": ring}, *odd["features"][1:]]
    device.publish([odd])
    # lines come first: who is stopped between the two collects it with its next start
    until(lambda: any(line["frame"]["id"] == "odd" for line in whole_lines(tmp_path / "g" / ".collected.ndjson")))
    device.close()
    assert running.stop() == 0, running.errors
    [file] = (tmp_path / "g").glob("*.gpkg")
    _, _, geometries, _ = pyogrio.raw.read(file, layer="detections_pixels")
    assert len(geometries) == sum(len(line["features"]) for line in whole_lines(tmp_path / "x.ndjson")) - 1
    assert "left out" in running.errors


def test_two_listeners_in_two_folders_take_nothing_from_each_other(tmp_path: Path, broker: Broker) -> None:
    """Nor does a second one end the session that is kept for the first, which would do so to the second in turn."""
    places = tmp_path / "one", tmp_path / "other"
    for place in places:
        place.mkdir()
    listeners = [Running(place, broker.url, "--ndjson", "x.ndjson") for place in places]
    for running in listeners:
        running.wait_listening()
    device = Device(broker.url)
    for place in places:
        published(device, place / "x.ndjson")
    device.publish([of_frame(WHOLE, f"both-{number}") for number in range(20)])
    both = [f"both-{number}" for number in range(20)]
    for place in places:
        until(lambda place=place: {one["frame"]["id"] for one in whole_lines(place / "x.ndjson")} >= set(both))
    device.close()
    assert [running.stop() for running in listeners] == [0, 0]
    first, second = ((place / ".sam3edge-listen" / "client").read_text() for place in places)
    assert first != second
    assert all("another client" not in running.errors for running in listeners)


def test_a_name_that_is_none_is_refused(tmp_path: Path, broker: Broker) -> None:
    (tmp_path / ".sam3edge-listen").mkdir()
    (tmp_path / ".sam3edge-listen" / "client").write_text("two\nlines")
    running = Running(tmp_path, broker.url, "--ndjson", "x.ndjson")
    assert running.wait() == 2
    assert "expected the name of this client" in running.errors


def test_two_listeners_need_a_state_each(tmp_path: Path, broker: Broker) -> None:
    first = Running(tmp_path, broker.url, "--ndjson", "x.ndjson")
    first.wait_listening()
    second = Running(tmp_path, broker.url, "--ndjson", "y.ndjson")
    assert second.wait() == 2
    assert "another listener" in second.errors
    assert first.stop() == 0


def test_who_reads_the_lines_may_leave(tmp_path: Path, broker: Broker) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "sam3edge.cli.main", "listen", broker.url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=tmp_path,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    device = Device(broker.url)
    numbers = iter(range(100_000))
    process.stderr.readline()
    until(lambda: device.publish([of_frame(WHOLE, str(next(numbers)))]) is not None or next(numbers) > 40)
    process.stdout.readline()
    process.stdout.close()
    until(lambda: device.publish([of_frame(WHOLE, str(next(numbers)))]) is not None or process.poll() is not None)
    device.close()
    assert process.wait(60) == 0
    assert b"Traceback" not in process.stderr.read()
    process.stderr.close()


def test_passwords_come_from_files_and_the_environment_and_are_not_shown(tmp_path: Path) -> None:
    with Broker() as broker:
        port = broker.port
    (tmp_path / "password").write_text("hunter2\n")
    running = Running(tmp_path, "--password-file", "password", SAM3EDGE_BROKER=f"mqtt://me:secret@127.0.0.1:{port}")
    until(lambda: "cannot be reached" in running.errors)
    running.stop()
    assert "secret" not in running.errors
    assert "hunter2" not in running.errors


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("nowhere",), "expected mqtt://"),
        (("mqtt://me:secret@host:x",), "expected mqtt://"),
        (("mqtt://host", "--certificate", "x.pem"), "expected mqtts://"),
        (("mqtts://host", "--ca", "nowhere.pem", "--ndjson", "-"), "expected PEM files"),
        (("mqtt://host", "--password-file", "nowhere"), "expected a user"),
        (("mqtt://me@host", "--password-file", "nowhere"), "cannot be read"),
        (("mqtt://me@host", "--password-file", "large"), "at most 65535 bytes"),
        (("mqtt://host", "--aws-credentials"), "expected wss://"),
        (("mqtt://broker..example.org",), "expected mqtt://"),
        ((f"mqtt://{'a' * 64}.org",), "expected mqtt://"),
        (("mqtts://host", "--key", "x.pem"), "--certificate"),
        (("mqtt://host", "--client", "x" * 129), "--client: expected"),
        (("mqtt://host", "--client", "a\x1b[2J"), "--client: expected"),
        (("mqtt://host", "--ndjson", "x", "--ndjson-megabytes", "inf"), "--ndjson-megabytes: expected 0"),
        (("mqtt://host", "--ndjson", "x", "--ndjson-megabytes", "0.0000004"), "--ndjson-megabytes: expected 0"),
        (("mqtt://host", "--home-assistant", "--offline-after", "inf"), "--offline-after: expected"),
        (("mqtt://host", "--topic", "status", "--geojson", "g"), "--topic has no effect; expected --ndjson"),
        (("mqtt://host", "--allow-origin", "http://x"), "--allow-origin has no effect; expected --serve"),
        (("mqtt://host", "--allow-host", "x"), "--allow-host has no effect; expected --serve"),
        (("mqtt://host", "--bridge-to", "mqtt://other"), "--bridge-to has no effect; expected --home-assistant"),
        (("mqtt://host", "--ndjson-megabytes", "1"), "--ndjson-megabytes has no effect; expected --ndjson FILE"),
        (("mqtt://host", "--ndjson", "-", "--ndjson-files", "1"), "--ndjson-files has no effect; expected --ndjson"),
        (("mqtt://host", "--discovery-prefix", "x"), "--discovery-prefix has no effect; expected --home-assistant"),
        (("mqtt://host", "--offline-after", "9"), "--offline-after has no effect; expected --home-assistant"),
        (("mqtt://host", "--frigate-prefix", "x"), "--frigate-prefix has no effect; expected --frigate-topics"),
        (("mqtt://host", "--serve", f"{'a' * 64}.org:80"), "cannot listen on"),
        (("mqtt://host", "--serve", "a..b:80"), "cannot listen on"),
        (("mqtt://host", "--ndjson", "config.json"), "another name"),
        (("mqtt://host", "--topic", "ping"), "--topic: expected"),
        (("mqtt://host", "--overlays", "o"), "--images"),
        (("mqtt://host", "--images", "."), "--overlays"),
        (("mqtt://host", "--overlays", "o", "--images", "nowhere"), "folder of images"),
        (("mqtt://host", "--prefix", "a/#"), "+ stands for any one level, # is not allowed"),
        (("mqtt://host", "--prefix", "a/" * 100 + "b"), "--prefix: expected"),
        (("mqtt://host", "--prefix", ""), "--prefix: expected"),
        (("mqtt://host", "--prefix", "a/b+"), "--prefix: expected"),
        (("mqtt://host", "--frigate-topics", "--frigate-prefix", "a/+"), "--frigate-prefix: expected"),
        (("mqtt://host", "--home-assistant", "--discovery-prefix", "/x"), "--discovery-prefix: expected"),
        (("mqtt://host", "--home-assistant", "--bridge-to", "http://host"), "expected mqtt://"),
        (("mqtt://host", "--serve", "8080"), "expected an address"),
        (("mqtt://host", "--serve", "127.0.0.1:0", "--allow-origin", "*"), "origin"),
        (("mqtt://host", "--ndjson", "file/x.ndjson"), "cannot be written"),
        (("mqtt://host", "--geojson", "file/x"), "cannot be written"),
        (("mqtt://host", "--ndjson", "new", "--geojson", "made/g", "--overlays", "o", "--images", "no"), "of images"),
        (("mqtt://host", "--ndjson", "new", "--geojson", "g", "--geopackage", "file"), "cannot be written"),
        (("mqtt://host", "--ndjson", "new", "--serve", "nowhere", "--state", "s"), "expected an address"),
        (("mqtts://host", "--ca", "nowhere.pem", "--ndjson", "new", "--geojson", "g"), "expected PEM files"),
        (("mqtt://host", "--ndjson", "new", "--state", "other"), "expected a journal"),
        (("mqtt://host", "--ndjson", "x", "--state", "file"), "cannot be used"),
        (("mqtt://host", "--ndjson-files", "0"), "--ndjson-files"),
        ((), "broker"),
    ],
)
def test_what_is_wrong_is_named_with_status_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "large").write_text("x" * 65_536)
    (tmp_path / "config.json").write_text('{"my": "precious config"}')
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "journal.db").write_text("notes of mine")
    there = sorted(tmp_path.rglob("*"))
    before = signal.getsignal(signal.SIGTERM)
    result = CliRunner().invoke(app, ["listen", *arguments])
    signal.signal(signal.SIGTERM, before)
    assert result.exit_code == 2, result.output
    assert says in " ".join(result.output.replace("\u2502", " ").split())
    assert "secret" not in result.output
    assert "Traceback" not in result.output
    assert (tmp_path / "config.json").read_text() == '{"my": "precious config"}'
    assert sorted(tmp_path.rglob("*")) == there  # nothing is made


def test_names_are_said_as_they_were_typed_and_logs_are_whole_lines(tmp_path: Path) -> None:
    with Broker() as broker:
        port = broker.port
    running = Running(tmp_path, f"mqtt://[::1]:{port}", "--client", "[/x]", "--state", "s", COLUMNS="40")
    until(lambda: "cannot be reached" in running.errors)
    assert running.stop() == 0
    lines = (tmp_path / "errors").read_text().splitlines()
    assert f"listening to mqtt://[::1]:{port}; what comes meanwhile is kept for [/x]" in lines
    [said] = [line for line in lines if "cannot be reached" in line]
    assert f" WARNING mqtt://[::1]:{port} cannot be reached: " in said


def test_a_default_from_the_environment_may_have_no_effect(tmp_path: Path, broker: Broker) -> None:
    running = Running(tmp_path, broker.url, SAM3EDGE_BRIDGE_TO=broker.url)
    running.wait_listening()
    assert running.stop() == 0


def test_topics_of_others_do_not_reach_the_terminal_as_they_are(tmp_path: Path, broker: Broker) -> None:
    running = Running(tmp_path, broker.url)
    running.wait_listening()
    device, hostile = Device(broker.url), Device(broker.url, "\x1b]0;owned\x07\x1b[31mX")
    published(device, running.out)
    hostile.publish_text("rubbish")
    until(lambda: "owned" in running.errors)
    device.close()
    hostile.close()
    assert running.stop() == 0
    assert "refused a message on sam3edge/ ]0;owned [31mX/detections" in running.errors
    assert "\x1b" not in (tmp_path / "errors").read_text()
