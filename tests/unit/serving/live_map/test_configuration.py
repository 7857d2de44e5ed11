"""What operators may say of the page, and what they are told instead."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sam3edge.core.errors import SettingsError
from sam3edge_serving.live_map.__main__ import main
from sam3edge_serving.live_map.configuration import MAX_PREFIXES, PageConfiguration, complete_broker, region_of

IOT = "wss://abc123-ats.iot.eu-central-1.amazonaws.com"


@pytest.mark.parametrize(
    ("broker", "words"),
    [
        ("mqtt://broker.example.org:1883", "over WebSockets only"),
        ("broker.example.org", "over WebSockets only"),
        ("wss://", "over WebSockets only"),
        ("wss://broker.example.org:0", "over WebSockets only"),
        ("wss://broker.example.org:99999", "expected an address"),
        ("wss://ann:secret@broker.example.org", "without user and password"),
        ("wss://broker.example.org; script-src *", "without spaces"),
        ("wss://broker.example.org,evil.example", "without spaces"),
        ("wss://broker.example.org/'none'", "without spaces"),
        ("ws://[::1]:9001", "by its name or an IPv4 address"),
        ("ws://[fe80::1%25eth0]:9001", "by its name or an IPv4 address"),
        ("ws://*:9001", "by its name or an IPv4 address"),
    ],
)
def test_brokers_that_a_page_cannot_use_are_refused(broker: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words) as refused:
        PageConfiguration(broker)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"prefixes": ()}, "1 to 5 topic prefixes"),
        ({"prefixes": ("a",) * (MAX_PREFIXES + 1)}, "1 to 5 topic prefixes"),
        ({"prefixes": ("sam3edge/#",)}, "expected topic levels"),
        ({"prefixes": ("sam3edge//x",)}, "expected topic levels"),
        ({"prefixes": ("sam3edge/x+",)}, "expected topic levels"),
        ({"sign_in": "aws"}, "give --region"),
        ({"map_origins": ("tiles.example.org",)}, "expected an origin"),
        ({"map_origins": ("https://tiles.example.org/path",)}, "expected an origin"),
        ({"map_origins": ("https://a.example.org; script-src *",)}, "expected an origin"),
        ({"map_origins": ("https://a.example.org https://b.example.org",)}, "expected an origin"),
        ({"map_origins": ("https://a.example.org?key=1",)}, "expected an origin"),
        ({"map_origins": ("https://[::1]:8080",)}, "names and IPv4 addresses"),
        ({"map_origins": ("https://*",)}, "expected an origin"),
    ],
)
def test_what_cannot_be_meant_is_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        PageConfiguration("wss://broker.example.org", **changes)


@pytest.mark.parametrize("origin", ["https://tiles.example.org", "http://127.0.0.1:8080/", "https://*.example.org:443"])
def test_origins_get_into_the_policy(origin: str) -> None:
    policy = PageConfiguration("wss://broker.example.org", map_origins=(origin,)).policy()
    assert f"connect-src 'self' wss://broker.example.org {origin};" in policy


def test_endpoints_of_aws_iot_core_say_their_region_and_get_their_path() -> None:
    assert region_of(IOT) == "eu-central-1"
    assert region_of("wss://abc-ats.iot.cn-north-1.amazonaws.com.cn") == "cn-north-1"
    assert region_of("wss://iot.eu-central-1.amazonaws.com.evil.example") == ""
    assert complete_broker(IOT) == complete_broker(f"{IOT}/") == complete_broker(f"{IOT}/mqtt") == f"{IOT}/mqtt"
    assert complete_broker("wss://broker.example.org") == "wss://broker.example.org"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--broker", "mqtt://x"],
        ["--broker", "wss://x", "--pictures", "often"],
        ["--broker", "wss://x", "--map-tiles", "none"],
        ["--broker", "wss://x", "--port", "70000"],
        ["--broker", "wss://x", "--port", "-1"],
    ],
)
def test_the_program_says_what_is_wrong(arguments: list[str]) -> None:
    assert main(arguments) == 5


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_the_program_serves_until_it_is_told_to_stop(tmp_path: Path, end: signal.Signals) -> None:
    command = [sys.executable, "-u", "-m", "sam3edge_serving.live_map", "--broker", IOT, "--pictures", "30"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    program = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment, cwd=tmp_path)
    assert program.stderr is not None
    try:
        line = program.stderr.readline()
        assert "http://127.0.0.1:" in line
    finally:
        program.send_signal(end)
        rest = program.communicate(timeout=30)[1]
    assert program.returncode == 0
    assert rest == "stopped\n"
