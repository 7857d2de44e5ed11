"""Connections that do not move."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn

from sam3edge_serving.endpoint import connections
from sam3edge_serving.endpoint.connections import timed

SHORT, LONG = 0.3, 60.0
LARGE = 64 * 2**20
"""Bytes of an answer that no buffer between two sockets holds."""


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """``/`` at once, ``/read`` after the body, ``/slow`` after four header times, ``/large`` with much, ``/pieces``
    with the sizes of what it read."""
    if scope["type"] != "http":
        return
    if scope["path"] == "/read":
        while (await receive()).get("more_body"):
            pass
    if scope["path"] == "/slow":
        await asyncio.sleep(4 * SHORT)
    body = b"x" * LARGE if scope["path"] == "/large" else b"hello"
    if scope["path"] == "/pieces":
        sizes, more = [], True
        while more:
            message = await receive()
            sizes.append(len(message["body"]))
            more = message["more_body"]
        body = json.dumps(sizes).encode()
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@contextmanager
def serving(header_time: float = LONG, body_time: float = LONG) -> Iterator[int]:
    """A server with the protocol under test; its port."""
    server = uvicorn.Server(
        uvicorn.Config(app, port=0, log_config=None, lifespan="off", http=timed(header_time, body_time))  # type: ignore[arg-type]
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(30)


@contextmanager
def connection(port: int, sent: bytes = b"") -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=30) as opened:
        opened.sendall(sent)
        yield opened


def until_closed(opened: socket.socket, dribble: bytes = b"") -> bytes:
    """What comes until the other side closes, while ``dribble`` is sent, a byte every now and then."""
    received, rest = bytearray(), list(dribble)  # bytes would be copied whole for every piece that is added
    opened.settimeout(0.05)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            if rest:
                opened.sendall(bytes([rest.pop(0)]))
            piece = opened.recv(65536)
        except TimeoutError:
            continue
        except ConnectionError:
            return bytes(received)
        if not piece:
            return bytes(received)
        received += piece
    raise AssertionError("it was never closed")


@pytest.mark.parametrize("sent", [b"", b"G", b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: "])
def test_headers_that_do_not_come_to_an_end(sent: bytes) -> None:
    with serving(header_time=SHORT) as port, connection(port, sent) as opened:
        head, _, body = until_closed(opened, b"y" * 600 if sent.endswith(b": ") else b"").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
    assert b"connection: close" in head
    assert json.loads(body)["error"]["code"] == "request_timeout"


@pytest.mark.parametrize("dribble", [b"\r\n" * 300, b"GET / HTTP/1.1\r\nX: " + b"y" * 600])
def test_a_kept_connection_has_no_more_time_for_its_next_headers(dribble: bytes) -> None:
    with serving(header_time=SHORT) as port, connection(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") as opened:
        answers = until_closed(opened, dribble)
    assert answers.startswith(b"HTTP/1.1 200")
    assert b"HTTP/1.1 408" in answers


@pytest.mark.parametrize("path", ["/", "/read"])
def test_a_body_that_dribbles_whether_it_is_read_or_not(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "BODY_GRACE", SHORT)
    request = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n".encode()
    with serving(body_time=SHORT) as port, connection(port, request) as opened:
        until_closed(opened, b"z" * 600)


def test_an_answer_that_nobody_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "SEND_SECONDS", SHORT)
    with serving() as port, connection(port, b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n") as opened:
        opened.recv(1)
        time.sleep(4 * SHORT)
        assert len(until_closed(opened)) < LARGE


def test_an_answer_that_is_taken_is_whole() -> None:
    with serving() as port, connection(port, b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n") as opened:
        assert until_closed(opened).endswith(b"x" * 1000)


@pytest.mark.parametrize("following", [b"GE", b"POST /read HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"])
def test_what_is_slow_to_answer_is_answered_whatever_follows(following: bytes) -> None:
    slow = b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n"
    with serving(header_time=SHORT) as port, connection(port, slow + following) as opened:
        assert opened.recv(65536).startswith(b"HTTP/1.1 200")


def test_a_body_that_comes_byte_by_byte_wakes_the_application_once() -> None:
    head = b"POST /pieces HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 300\r\n\r\n"
    with serving() as port, connection(port, head) as opened:
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(300):
            opened.sendall(b"z")
            time.sleep(0.0005)
        assert json.loads(until_closed(opened).partition(b"\r\n\r\n")[2]) == [300]


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 3_000_000])
def test_a_body_of_any_size_arrives_whole(size: int) -> None:
    head = f"POST /pieces HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n".encode()
    with serving() as port, connection(port, head + b"z" * size) as opened:
        assert sum(json.loads(until_closed(opened).partition(b"\r\n\r\n")[2])) == size
