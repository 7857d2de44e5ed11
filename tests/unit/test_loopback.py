"""HTTP on this computer: who is answered, and who is not."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator
from http import HTTPStatus

import pytest

from sam3edge import loopback
from sam3edge.loopback import MAX_CONNECTIONS, SAFE_HEADERS, LoopbackServer, Refused, Request, Response


def respond(request: Request) -> Response:
    if request.target == "/missing":
        raise Refused(HTTPStatus.NOT_FOUND, "there is nothing by this name")
    body = request.read(int(request.headers.get("Content-Length", 0)))
    return Response(HTTPStatus.OK, b"%s %s" % (request.method.encode(), body), "text/plain", {"X-Own": "1"})


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    with LoopbackServer(respond, SAFE_HEADERS) as one:
        yield one


def ask(
    server: LoopbackServer, method: str = "GET", target: str = "/", body: bytes = b"", **headers: str
) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    try:
        connection.request(method, target, body or None, headers)
        got = connection.getresponse()
        return got.status, got.headers, got.read()
    finally:
        connection.close()


def test_requests_get_what_the_function_says(server: LoopbackServer) -> None:
    status, headers, body = ask(server, "POST", body=b"abc")
    assert (status, body, headers["Content-Type"], headers["X-Own"]) == (200, b"POST abc", "text/plain", "1")
    assert {name: headers[name] for name in SAFE_HEADERS} == dict(SAFE_HEADERS)
    status, headers, body = ask(server, target="/missing")
    assert (status, body) == (404, b'{"error": "there is nothing by this name"}')
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_it_listens_on_this_computer_only(server: LoopbackServer) -> None:
    assert server.host == "127.0.0.1"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "evil.example:{port}", "127.0.0.1:{port}.evil.example"])
def test_other_names_for_this_computer_are_refused(server: LoopbackServer, host: str) -> None:
    assert ask(server, Host=host.format(port=server.port))[0] == 421


@pytest.mark.parametrize(("host", "status"), [("127.0.0.1", 200), ("localhost", 200), ("LOCALHOST", 200)])
def test_its_own_names_are_known(server: LoopbackServer, host: str, status: int) -> None:
    assert ask(server, Host=f"{host}:{server.port}", Origin=f"http://{host}:{server.port}")[0] == status


@pytest.mark.parametrize("written", ["", ":{port}"])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_browsers_leave_out_the_port_of_http(
    monkeypatch: pytest.MonkeyPatch, server: LoopbackServer, host: str, written: str
) -> None:
    monkeypatch.setattr(loopback, "HTTP_PORT", server.port)
    assert server.origins == ("http://127.0.0.1", "http://localhost")
    own = f"{host}{written.format(port=server.port)}"
    assert ask(server, Host=own, Origin=f"http://{host}")[0] == 200
    assert ask(server, Host=own, Origin="http://evil.example")[0] == 403
    assert ask(server, Host="evil.example")[0] == 421


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "https://127.0.0.1:{port}"])
def test_pages_of_others_are_refused(server: LoopbackServer, origin: str) -> None:
    assert ask(server, Origin=origin.format(port=server.port))[0] == 403


def test_connections_that_say_nothing_are_bounded_and_hold_nobody_up(server: LoopbackServer) -> None:
    silent = [socket.create_connection(("127.0.0.1", server.port), 30) for _ in range(2 * MAX_CONNECTIONS)]
    try:
        assert ask(server)[0] == 200
        assert silent[0].recv(1) == b""
    finally:
        for one in silent:
            one.close()
    assert ask(server)[0] == 200


def test_a_connection_that_says_nothing_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loopback._Handler, "timeout", 0.1)
    with (
        LoopbackServer(respond, SAFE_HEADERS) as server,
        socket.create_connection(("127.0.0.1", server.port), 30) as one,
    ):
        assert one.recv(1) == b""


def test_a_port_is_free_again_as_soon_as_its_server_is_closed() -> None:
    """Though the system still remembers connections of before, which the server has closed first."""
    with LoopbackServer(respond, SAFE_HEADERS) as server:
        port = server.port
        assert ask(server)[0] == 200
        with pytest.raises(OSError, match="in use"):
            LoopbackServer(respond, SAFE_HEADERS, port)
    with LoopbackServer(respond, SAFE_HEADERS, port) as again:
        assert ask(again)[0] == 200
