"""What holds connections and asks for nothing keeps nobody else from being answered."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from http import HTTPStatus

import pytest

from sam3edge import loopback
from sam3edge.bounded_http import BoundedHandler, BoundedHttpServer
from sam3edge.subscriber import geojson_server
from support.waiting import until

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"


class Handler(BoundedHandler):
    """Answers with the body; at ``/slow`` when it may."""

    protocol_version = "HTTP/1.1"
    timeout = 0.5
    may = threading.Event()
    slow = threading.Semaphore(0)

    def do_POST(self) -> None:  # noqa: N802, as http.server names it
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/slow":
            self.slow.release()
            self.may.wait(30)
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Nothing."""


class Patient(Handler):
    """Waits for requests as long as a test takes."""

    timeout = 60.0


Serve = Callable[..., int]


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as closing:
        Handler.may.clear()

        def start(handler: type[BoundedHandler], connections: int) -> int:
            server = BoundedHttpServer(("127.0.0.1", 0), handler, connections)
            thread = threading.Thread(target=server.serve_forever, args=(0.02,))
            thread.start()
            closing.callback(thread.join)
            closing.callback(server.server_close)
            closing.callback(server.shutdown)
            return int(server.server_address[1])

        yield start
        Handler.may.set()


def connected(port: int, said: bytes = b"") -> socket.socket:
    one = socket.create_connection(("127.0.0.1", port), 30)
    one.sendall(said)
    return one


def status(port: int, path: str = "/") -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST", path, b"abc")
        return connection.getresponse().status
    finally:
        connection.close()


def rest(one: socket.socket) -> bytes:
    """All that comes until it is closed by the server."""
    got = b""
    with suppress(ConnectionError):
        while more := one.recv(4096):
            got += more
    return got


@pytest.mark.parametrize("said", [b"", b"POS", HEAD, HEAD + b"Content-Length: 100\r\n\r\nabc"])
def test_a_request_that_drips_in_is_ended_by_its_deadline(serve: Serve, said: bytes) -> None:
    """Each byte comes long before the deadline, which is that of all of them."""
    port = serve(Handler, 8)
    with connected(port, said) as one:
        ended = threading.Event()

        def drip() -> None:
            while not ended.wait(0.05):
                with suppress(OSError):
                    one.sendall(b"a")

        thread = threading.Thread(target=drip)
        thread.start()
        try:
            assert rest(one) == b""
        finally:
            ended.set()
            thread.join()


def test_a_response_may_take_longer_than_its_request(serve: Serve) -> None:
    port = serve(Handler, 8)
    with connected(port, HEAD.replace(b" / ", b" /slow ") + b"Content-Length: 3\r\n\r\nabc") as one:
        assert Handler.slow.acquire(timeout=30)
        assert not Handler.may.wait(2 * Handler.timeout)
        Handler.may.set()
        assert one.recv(4096).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize("said", [b"", HEAD, HEAD + b"Content-Length: 100\r\n\r\nabc"])
def test_the_connection_that_was_waited_for_longest_gives_way(serve: Serve, said: bytes) -> None:
    port = serve(Patient, 3)
    with ExitStack() as closing:
        held = []
        for _ in range(3):
            held.append(closing.enter_context(connected(port, said)))
            assert_is_held(held[-1])
        assert status(port) == 200
        assert rest(held[0]) == b""
        for one in held[1:]:
            assert_is_held(one)


def assert_is_held(one: socket.socket) -> None:
    one.settimeout(0.1)
    with pytest.raises(TimeoutError):
        one.recv(1)
    one.settimeout(30)


def test_where_all_are_being_answered_one_more_is_told_to_come_again(serve: Serve) -> None:
    port = serve(Patient, 2)
    with ExitStack() as closing:
        slow = HEAD.replace(b" / ", b" /slow ") + b"Content-Length: 3\r\n\r\nabc"
        held = [closing.enter_context(connected(port, slow)) for _ in range(2)]
        for _ in held:
            assert Handler.slow.acquire(timeout=30)
        with connected(port) as more:
            assert rest(more).startswith(b"HTTP/1.1 503 ")
        Handler.may.set()
        for one in held:
            assert one.recv(4096).startswith(b"HTTP/1.1 200")
        until(lambda: status(port) == 200)


@pytest.mark.parametrize("handler", [loopback._Handler, geojson_server._Handler])
def test_our_servers_wait_for_a_request_for_seconds(handler: type[BoundedHandler]) -> None:
    assert 1 <= handler.timeout <= 30


def test_our_servers_hold_some_connections() -> None:
    assert 4 <= loopback.MAX_CONNECTIONS <= 64
    assert 4 <= geojson_server.MAX_CONNECTIONS <= 64
