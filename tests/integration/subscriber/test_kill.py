"""A listener that is killed at every moment at which it could matter: each frame is written once, and none is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

import support.killed_listener as killed_listener
from support.device_messages import PARTS, Device, of_frame
from support.listener_rig import whole_lines
from support.mosquitto import Mosquitto, needs_mosquitto
from support.waiting import until

pytestmark = [needs_mosquitto, pytest.mark.long]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    folder = tmp_path / "mosquitto"
    folder.mkdir()
    with Mosquitto(folder) as one:
        yield one


def begin_session(broker: Mosquitto) -> None:
    """So that the broker keeps what is published from now on."""
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=killed_listener.CLIENT, clean_session=False)
    client.on_connect = lambda *_: client.subscribe("sam3edge/+/detections", qos=1)
    client.on_subscribe = lambda *_: client.disconnect()
    client.connect("127.0.0.1", broker.port)
    client.loop_forever()


def start(root: Path, broker: Mosquitto, *kill_at: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, killed_listener.__file__, str(root), broker.url, *kill_at]
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})


def lines(root: Path) -> list[str]:
    return [line["frame"]["id"] for path in root.glob("lines.ndjson*") for line in whole_lines(path)]


def test_killed_at_every_moment_it_writes_every_frame_once(tmp_path: Path, broker: Mosquitto) -> None:
    """One state, and a process after the other that is killed at the next moment, while frames arrive."""
    root = tmp_path / "root"
    root.mkdir()
    begin_session(broker)
    device = Device(broker.url)
    frames: list[str] = []

    def publish(count: int) -> None:
        for _ in range(count):
            frames.append(f"frame-{len(frames):03}")
            device.publish([of_frame(part, frames[-1]) for part in PARTS])

    for moment in killed_listener.MOMENTS:
        publish(2)
        assert start(root, broker, moment).wait(60) == -signal.SIGKILL, moment
    publish(1)
    process = start(root, broker)
    try:
        until(lambda: frames[-1] in lines(root))
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        device.close()
    assert sorted(lines(root)) == frames
    assert all(path.read_bytes().endswith(b"\n") for path in root.glob("lines.ndjson*"))
    assert len(list((root / "geojson").rglob("*.geojson"))) == len(frames)
    collected = [name for path in (root / "geopackages").glob("*.gpkg") for name in path.read_text().split()]
    assert sorted(collected) == frames
