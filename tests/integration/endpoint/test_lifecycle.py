"""How the endpoint starts, refuses to start, and ends."""

from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from statistics import quantiles

import pytest
import urllib3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from support.endpoint_server import launch

ASKED = 60
"""Times that a client asks while others keep their sockets open."""


def test_sigterm_lets_the_requests_in_work_finish(demo_bundle: Path, scene: bytes) -> None:
    server = launch(demo_bundle, SAM3EDGE_THREADS="1", DEFAULT_TEXT_PROMPT="car", SAM3EDGE_MAX_REQUESTS="4")
    try:
        server.wait_until_ready()
        with ThreadPoolExecutor(4) as clients:
            slow = [clients.submit(server.post, scene, "image/jpeg", "mock_latency_mean=1000") for _ in range(4)]
            while "sam3edge_requests_in_progress 4.0" not in server.get("/metrics").data.decode():
                time.sleep(0.01)
            assert server.post(scene, "image/jpeg").status == 429
            server.process.send_signal(signal.SIGTERM)
            answers = [one.result(60) for one in slow]
        assert [answer.status for answer in answers] == [200] * 4
        assert all(answer.json()["type"] == "FeatureCollection" for answer in answers)
    finally:
        status = server.wait()
    assert status == 0
    with pytest.raises(urllib3.exceptions.HTTPError):
        server.get("/ping")


def test_what_is_in_work_longer_than_the_drain_is_cut_off(demo_bundle: Path, scene: bytes) -> None:
    server = launch(demo_bundle, SAM3EDGE_THREADS="1", DEFAULT_TEXT_PROMPT="car", SAM3EDGE_DRAIN_SECONDS="1")
    server.wait_until_ready()
    with ThreadPoolExecutor(1) as clients:
        endless = clients.submit(server.post, scene, "image/jpeg", "mock_latency_mean=50000")
        while "sam3edge_requests_in_progress 1.0" not in server.get("/metrics").data.decode():
            time.sleep(0.01)
        started = time.monotonic()
        assert server.stop() == 0
        assert time.monotonic() - started < 40
        assert endless.exception(60) is not None or endless.result(0).status >= 500


def test_a_client_that_goes_away_frees_its_place(demo_bundle: Path, scene: bytes) -> None:
    server = launch(demo_bundle, SAM3EDGE_THREADS="1", DEFAULT_TEXT_PROMPT="car", SAM3EDGE_MAX_REQUESTS="1")
    try:
        server.wait_until_ready()
        with pytest.raises(urllib3.exceptions.ReadTimeoutError), urllib3.PoolManager(retries=False) as hasty:
            hasty.request(
                "POST",
                server.url + "/invocations",
                body=scene,
                headers={"X-Amzn-SageMaker-Custom-Attributes": "mock_latency_mean=50000"},
                timeout=0.5,
            )
        freed = threading.Event()
        for _ in range(600):
            if server.post(scene, "image/jpeg").status == 200:
                freed.set()
                break
            time.sleep(0.05)
        assert freed.is_set()
        assert 'status="499"} 1.0' in server.get("/metrics").data.decode()
    finally:
        assert server.stop() == 0


def a_key() -> str:
    key = Ed25519PrivateKey.generate().public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.mark.parametrize(
    ("damage", "variables", "status", "says"),
    [
        ("gone", {}, 4, "is not there"),
        ("changed", {}, 4, "decoder.onnx"),
        ("none", {"SAM3EDGE_PUBLIC_KEY": a_key()}, 4, "not signed"),
        ("none", {"CONFIDENCE_THRESHOLD": "high"}, 5, "CONFIDENCE_THRESHOLD"),
        ("none", {"SAM3EDGE_PROVIDERS": "NoSuchExecutionProvider"}, 4, "NoSuchExecutionProvider"),
    ],
)
def test_it_does_not_start_and_says_why(
    bundle: Path, tmp_path: Path, damage: str, variables: dict[str, str], status: int, says: str
) -> None:
    checkpoint = tmp_path / "nowhere" if damage == "gone" else bundle
    if damage == "changed":
        (bundle / "decoder.onnx").write_bytes(b"x")
    server = launch(checkpoint, **variables)
    assert server.wait() == status
    errors = [entry["message"] for entry in server.log if entry["level"] == "ERROR"]
    assert len(errors) == 1
    assert says in errors[0]
    assert all("exception" not in entry for entry in server.log)


def test_sockets_that_dribble_keep_nobody_out(demo_bundle: Path, scene: bytes, figure: Callable[[str], None]) -> None:
    """200 of them, half with headers and half with bodies that never come to an end, at 32 places."""
    server = launch(demo_bundle, SAM3EDGE_THREADS="1", DEFAULT_TEXT_PROMPT="car", CONFIDENCE_THRESHOLD="0.4")
    headers = b"POST /invocations HTTP/1.1\r\nHost: x\r\n"
    begun = [headers, headers + b"Content-Length: 9999\r\n\r\n"]

    def ask() -> float:
        started = time.perf_counter()
        assert server.post(scene, "image/jpeg").status == 200
        return (time.perf_counter() - started) * 1000

    with ExitStack() as opened:
        try:
            server.wait_until_ready()
            address = ("127.0.0.1", int(server.url.rsplit(":", 1)[1]))
            idle = [ask() for _ in range(ASKED)]
            crowd = [opened.enter_context(socket.create_connection(address)) for _ in range(200)]
            for number, one in enumerate(crowd):
                one.sendall(begun[number % 2])
            beside = []
            for _ in range(ASKED):
                for one in crowd:
                    with suppress(OSError):  # closed already
                        one.sendall(b"x")
                beside.append(ask())
        finally:
            assert server.stop() == 0
    p95 = [quantiles(times, n=20)[18] for times in (idle, beside)]
    figure(f"endpoint, p95 of a client alone {p95[0]:.0f} ms, beside 200 sockets that dribble {p95[1]:.0f} ms")
