"""The client against a real server on loopback: answering, down, slow, lying, throttling."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Any

import cv2
import numpy as np
import pytest

from sam3edge.core.errors import EndpointError, SettingsError
from sam3edge.core.flow import DetectionOptions, detect
from sam3edge.core.types import Detections, Exemplar, Frame, Prompt
from sam3edge.engines.fake import FakeEngine
from sam3edge.invocations.attributes import HEADER, MAX_HEADER
from sam3edge.invocations.client import EndpointClient, Larger, UploadOptions
from sam3edge.invocations.connect import Asynchronous, open_endpoint
from sam3edge.invocations.deadline import EndpointWithDeadline
from sam3edge.invocations.http import HttpTransport, invocations_url, retry_after
from sam3edge.invocations.request import InvocationRequest
from support.samples import frame, red_square
from support.stand_in import Asked, Reply, StandIn, another_schema, busy, no_json, outside

RED = (Prompt("red"),)
SECONDS = 20.0


@pytest.fixture
def server() -> Iterator[StandIn]:
    one = StandIn(FakeEngine(version="9.9.9"))
    yield one
    one.close()


def client(server: StandIn, **options: Any) -> EndpointClient:
    return EndpointClient(HttpTransport(server.url), UploadOptions(**options))


def test_it_answers_as_the_engine_there_does_in_pixels_of_the_frame(server: StandIn) -> None:
    found = client(server).ask(frame(red_square()), RED, SECONDS)
    here = detect(FakeEngine(), frame(red_square()), DetectionOptions(RED))
    assert (found.model.name, found.model.version) == ("colors", "9.9.9")
    assert found.detections[0].box == pytest.approx(here.detections[0].box, abs=1)
    assert found.detections[0].area == pytest.approx(here.detections[0].area, rel=0.05)
    assert found.detections[0].prompt == RED[0]
    [asked] = server.asked
    assert asked.path == "/invocations"
    assert asked.phrases == ["red"]


def test_a_large_frame_is_uploaded_smaller_and_answered_in_its_own_pixels(server: StandIn) -> None:
    image = np.full((900, 2400, 3), 90, np.uint8)
    cv2.rectangle(image, (1200, 300), (1799, 599), (255, 0, 0), -1)
    found = client(server, longest_side=600).ask(frame(image), RED, SECONDS)
    assert cv2.imdecode(np.frombuffer(server.asked[0].picture, np.uint8), 1).shape == (225, 600, 3)
    assert found.detections[0].box == pytest.approx((1200, 300, 1800, 600), abs=6)
    assert found.detections[0].area == pytest.approx(600 * 300, rel=0.05)


def test_the_body_keeps_to_the_limit(server: StandIn) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (1200, 1200, 3), dtype=np.uint8)
    client(server, max_body=50_000).ask(frame(noise), RED, SECONDS)
    assert 10_000 < len(server.asked[0].body) <= 50_000
    many = tuple(Prompt(f"a very long phrase number {i} | with, marks = ; {chr(228)}") for i in range(30))
    client(server, max_body=50_000).ask(frame(noise), many, SECONDS)
    assert 10_000 < len(server.asked[1].body) <= 50_000


def test_what_fits_into_no_limit_is_an_error_and_not_sent(server: StandIn) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (1200, 1200, 3), dtype=np.uint8)
    with pytest.raises(EndpointError, match="does not fit into 300 bytes"):
        client(server, max_body=300).ask(frame(noise), RED, SECONDS)
    assert server.asked == []


def test_phrases_travel_whole_in_the_header_or_when_there_are_many_in_json(server: StandIn) -> None:
    odd = tuple(Prompt(text) for text in ("a|b, c=d; e", "grün", "100% red", "red"))
    found = client(server).ask(frame(red_square()), odd, SECONDS)
    assert server.asked[0].phrases == [prompt.text for prompt in odd]
    assert server.asked[0].headers["Content-Type"] == "image/jpeg"
    assert set(found.unsupported_prompts) == {"a|b, c=d; e", "grün", "100% red"}
    many = (*(Prompt(f"phrase {i}") for i in range(200)), Prompt("red"))
    assert len(client(server).ask(frame(red_square()), many, SECONDS).detections) == 1
    assert server.asked[1].headers["Content-Type"] == "application/json"
    assert HEADER not in server.asked[1].headers
    assert server.asked[1].phrases == [prompt.text for prompt in many]
    for asked in server.asked:
        assert len(asked.headers.get(HEADER, "")) <= MAX_HEADER


def test_the_lowest_threshold_is_sent_and_each_prompt_keeps_its_own(server: StandIn) -> None:
    pale = red_square()
    pale[pale[..., 0] == 255] = (255, 60, 60)  # scores about 0.77
    prompts = (Prompt("red", 0.7), Prompt("red", 0.9), Prompt("red", 0.7, min_area=10_000))
    found = client(server).ask(frame(pale), prompts, SECONDS)
    assert server.asked[0].threshold == 0.7
    assert server.asked[0].phrases == ["red"]
    assert [d.prompt for d in found.detections] == [prompts[0]]


def test_exemplars_are_not_sent(server: StandIn) -> None:
    shown = Prompt("visual", exemplars=(Exemplar((0, 0, 10, 10)),))
    found = client(server).ask(frame(red_square()), (*RED, shown), SECONDS)
    assert "exemplars" in found.unsupported_prompts["visual"]
    with pytest.raises(EndpointError, match="exemplars"):
        client(server).ask(frame(red_square()), (shown,), SECONDS)


def test_a_server_that_is_down_is_worth_another_try() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, and not listening
        transport = HttpTransport(f"http://127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(EndpointError, match="cannot be reached") as caught:
            EndpointClient(transport).ask(frame(), RED, SECONDS)
    assert caught.value.retryable


def test_a_server_that_hangs_up_is_worth_another_try(server: StandIn) -> None:
    def hang_up(asked: Asked) -> Reply:
        return Reply(b"x", headers={"Content-Length": "1000", "Connection": "close"})

    server.manner = hang_up
    with pytest.raises(EndpointError, match="cannot be reached") as caught:
        client(server).ask(frame(), RED, SECONDS)
    assert caught.value.retryable


@pytest.mark.parametrize("with_deadline", [False, True])
def test_a_slow_server_is_given_up_in_time(server: StandIn, with_deadline: bool) -> None:
    server.manner = server.slow
    endpoint = EndpointWithDeadline(client(server)) if with_deadline else client(server)
    started = time.monotonic()
    with pytest.raises(EndpointError, match=r"no response within 0\.3 s") as caught:
        endpoint.ask(frame(), RED, 0.3)
    assert time.monotonic() - started < 15  # of the 30 that the server takes
    assert not caught.value.retryable


def test_a_server_that_drips_is_given_up_in_time() -> None:
    """Every byte comes in time, the answer does not: no socket's time-out sees that."""
    stop = threading.Event()

    def drip(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            while not stop.wait(0.05):
                try:
                    connection.sendall(b"x")
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        endpoint = EndpointWithDeadline(EndpointClient(HttpTransport(f"http://127.0.0.1:{listener.getsockname()[1]}")))
        try:
            with pytest.raises(EndpointError, match="no response within"):
                endpoint.ask(frame(), RED, 0.5)
            with pytest.raises(EndpointError, match="still in progress"):
                endpoint.ask(frame(), RED, 0.5)
        finally:
            stop.set()
            thread.join()


LIES: dict[str, Callable[[StandIn], Callable[[Asked], Reply]]] = {
    "document: Invalid JSON": lambda server: no_json,
    "features.0.properties": lambda server: another_schema,
    "is outside the image": lambda server: server.lying(outside),
    "320 x 240 pixels, got 319": lambda server: server.lying(lambda d: d["frame"].update(width=319)),
    "which was not asked for": lambda server: server.lying(
        lambda d: d["features"][0]["properties"].update(prompt="blue")
    ),
    "calls 'red' unsupported": lambda server: server.lying(lambda d: d["unsupported_prompts"].update(red="no")),
    "score: Input should be less": lambda server: server.lying(
        lambda d: d["features"][0]["properties"].update(score=1.5)
    ),
    "finite": lambda server: server.lying(
        lambda d: d["features"][0]["properties"]["imageGeometry"]["coordinates"][0][0].__setitem__(0, float("nan"))
    ),
    "score: Input should be a finite": lambda server: server.lying(
        lambda d: d["features"][0]["properties"].update(score=float("inf"))
    ),
    "valid number": lambda server: server.lying(lambda d: d["features"][0]["properties"].update(area="much")),
    "invalid outline": lambda server: server.lying(
        lambda d: d["features"][0]["properties"]["imageGeometry"].update(
            coordinates=[[[0, 0], [10, 10], [10, 0], [0, 10], [0, 0]]]
        )
    ),
    "at least 4 items": lambda server: server.lying(
        lambda d: d["features"][0]["properties"]["imageGeometry"].update(coordinates=[[[0, 0], [1, 1]]])
    ),
    "type: Input should be": lambda server: server.lying(lambda d: d.update(type="Feature")),
    "Recursion": lambda server: lambda asked: Reply(b"[" * 100_000),
    "Invalid JSON: .*": lambda server: lambda asked: Reply(b"\xff\xfe"),
    "model": lambda server: server.lying(lambda d: d.pop("model")),
}


@pytest.mark.parametrize("says", LIES)
def test_a_lying_server_is_not_believed(server: StandIn, says: str) -> None:
    server.manner = LIES[says](server)
    with pytest.raises(EndpointError, match=says if says != "Recursion" else "recursion") as caught:
        client(server).ask(frame(red_square()), RED, SECONDS)
    assert not caught.value.retryable
    assert len(str(caught.value)) < 500


def test_members_that_a_newer_endpoint_adds_are_left_alone(server: StandIn) -> None:
    server.manner = server.lying(lambda d: d.update(novelty={"a": [1, 2]}))
    assert len(client(server).ask(frame(red_square()), RED, SECONDS).detections) == 1


def test_an_answer_without_end_is_not_read(server: StandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sam3edge.invocations.http.MAX_RESPONSE_BYTES", 200_000)
    server.manner = lambda asked: Reply(b" " * 5_000_000)
    with pytest.raises(EndpointError, match="more than 200000 bytes"):
        client(server).ask(frame(), RED, SECONDS)


def test_a_packed_answer_is_not_unpacked(server: StandIn) -> None:
    server.manner = lambda asked: Reply(b"\x1f\x8b" + b"0" * 100, headers={"Content-Encoding": "gzip"})
    with pytest.raises(EndpointError, match="Invalid JSON"):
        client(server).ask(frame(), RED, SECONDS)


def test_a_server_that_sends_elsewhere_is_not_followed(server: StandIn) -> None:
    server.manner = lambda asked: Reply(b"", 307, {"Location": server.url + "/elsewhere"})
    with pytest.raises(EndpointError, match="responded 307"):
        client(server).ask(frame(), RED, SECONDS)
    assert len(server.asked) == 1


@pytest.mark.parametrize(("status", "retryable"), [(400, False), (413, False), (422, False), (500, True), (503, True)])
def test_an_error_says_why_and_whether_it_passes(server: StandIn, status: int, retryable: bool) -> None:
    body = json.dumps({"error": {"message": "the picture is too dark", "type": "x", "param": None, "code": "x"}})
    server.manner = lambda asked: Reply(body.encode(), status)
    with pytest.raises(EndpointError, match=f"responded {status}: the picture is too dark") as caught:
        client(server).ask(frame(), RED, SECONDS)
    assert (caught.value.retryable, caught.value.retry_after) == (retryable, None)


def test_throttling_says_when_to_come_back(server: StandIn) -> None:
    server.manner = busy
    with pytest.raises(EndpointError, match="429: too many requests in progress") as caught:
        client(server).ask(frame(), RED, SECONDS)
    assert caught.value.retryable
    assert caught.value.retry_after == 30


NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("", None),
        ("7", 7.0),
        ("0", 0.0),
        ("-7", None),
        ("soon", None),
        ("9" * 400, None),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0.0),
    ],
)
def test_retry_after_is_a_number_or_a_date(value: str, seconds: float | None) -> None:
    assert retry_after(value, NOW) == seconds


@pytest.mark.parametrize(
    ("given", "posted"),
    [
        ("http://host:8080", "http://host:8080/invocations"),
        ("https://host/", "https://host/invocations"),
        ("https://host/a/b", "https://host/a/b"),
    ],
)
def test_an_address_is_that_of_the_container_or_whole(given: str, posted: str) -> None:
    assert invocations_url(given) == posted


@pytest.mark.parametrize(
    "wrong",
    ["ftp://host", "http://", "http://user:secret@host", "http://host:99999", "file:///etc/passwd", "a b", "-x"],
)
def test_what_is_no_endpoint_is_refused_and_no_password_repeated(wrong: str) -> None:
    with pytest.raises(SettingsError) as caught:
        open_endpoint(wrong, UploadOptions(), 1.0)
    assert "secret" not in str(caught.value)


def test_a_name_in_sagemaker_needs_boto3_and_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    with pytest.raises(SettingsError, match=r"Install\.Packages"):
        open_endpoint("my-endpoint", UploadOptions(), 1.0)
    with pytest.raises(SettingsError, match=r"Install\.Packages"):
        open_endpoint("http://host", UploadOptions(), 1.0, Asynchronous("big", "s3://b/p", 10**6))


class Recorder:
    """A transport that keeps what it is given and has no answer."""

    def __init__(self) -> None:
        self.sent: list[InvocationRequest] = []

    def send(self, request: InvocationRequest, seconds: float) -> bytes:
        self.sent.append(request)
        raise EndpointError("nobody is here")

    def close(self) -> None: ...


def test_what_exceeds_the_body_limit_goes_the_asynchronous_way_undiminished() -> None:
    small, large = Recorder(), Recorder()
    both = EndpointClient(small, UploadOptions(longest_side=2000, max_body=100_000), Larger(large, 10_000_000))
    noise = np.random.default_rng(0).integers(0, 255, (1200, 1200, 3), dtype=np.uint8)
    for image in (red_square(), noise):
        with pytest.raises(EndpointError, match="nobody"):
            both.ask(frame(image), RED, SECONDS)
    assert (len(small.sent), len(large.sent)) == (1, 1)
    assert cv2.imdecode(np.frombuffer(large.sent[0].body, np.uint8), 1).shape == (1200, 1200, 3)


def test_what_goes_wrong_in_its_thread_comes_out_of_it() -> None:
    class Broken:
        def ask(self, frame: Frame, prompts: Any, seconds: float) -> Detections:
            raise ZeroDivisionError

        def close(self) -> None: ...

    with pytest.raises(ZeroDivisionError):
        EndpointWithDeadline(Broken()).ask(frame(), RED, SECONDS)
