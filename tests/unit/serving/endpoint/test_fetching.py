"""Addresses in requests: what is fetched, and above all what is not."""

from __future__ import annotations

import ipaddress
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import urllib3

from sam3edge_serving.endpoint.fetching import Fetcher, NoFetcher, allowed_hosts
from sam3edge_serving.http.errors import HttpError, TooLarge, Unanswerable
from sam3edge_serving.http.remote_images import FetchRules, IpAddress, RemoteImages, is_public

PUBLIC = ipaddress.ip_address("93.184.215.14")
OPTIONS = FetchRules(("images.example.org", "*.bucket.example.org"), max_bytes=1000, seconds=5.0)


class Answers(BaseHTTPRequestHandler):
    """What the path says."""

    def do_GET(self) -> None:
        if self.path.startswith("/redirect"):
            self.send_response(302)
            self.send_header("Location", "https://images.example.org/small")
            self.end_headers()
            return
        body = b"x" * (5000 if self.path == "/large" else 10)
        self.send_response(404 if self.path == "/missing" else 200)
        if self.path != "/endless":
            self.send_header("Content-Length", str(len(body) + (5 if self.path == "/cut" else 0)))
        self.end_headers()
        self.wfile.write(self.headers["Host"].encode()[:10] if self.path == "/host?a=1" else body)
        if self.path == "/endless":
            stop: threading.Event = self.server.stop  # type: ignore[attr-defined]
            while not stop.wait(0.05):
                self.wfile.write(b"x")

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    made = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    made.stop = threading.Event()  # type: ignore[attr-defined]
    thread = threading.Thread(target=made.serve_forever, args=(0.02,))
    thread.start()
    yield made
    made.stop.set()  # type: ignore[attr-defined]
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture
def fetch(server: ThreadingHTTPServer) -> Callable[..., bytes]:
    """Fetches from a server on this machine as if it stood at a public address."""
    connected: list[tuple[IpAddress, str]] = []

    def connect(host: str, address: IpAddress, seconds: float) -> urllib3.HTTPConnectionPool:
        connected.append((address, host))
        return urllib3.HTTPConnectionPool("127.0.0.1", server.server_port, timeout=seconds, retries=False)

    def get(url: str, options: FetchRules = OPTIONS) -> bytes:
        connected.clear()
        try:
            return Fetcher(RemoteImages(options, lambda _: [PUBLIC], connect)).fetch(url)  # type: ignore[arg-type]
        finally:
            assert all(address == PUBLIC for address, _ in connected)

    return get


def test_an_image_is_fetched_from_the_address_that_was_checked(fetch: Callable[..., bytes]) -> None:
    assert fetch("https://images.example.org/small") == b"x" * 10
    assert fetch("https://images.example.org:443/host?a=1") == b"images.exa"
    assert fetch("https://one.bucket.example.org/small") == b"x" * 10


@pytest.mark.parametrize(
    ("path", "error", "says"),
    [
        ("missing", Unanswerable, "404"),
        ("redirect", Unanswerable, "give the final address"),
        ("large", TooLarge, "1000 bytes"),
        ("cut", Unanswerable, "broke off"),
    ],
)
def test_what_comes_must_be_an_image_of_its_size(
    fetch: Callable[..., bytes], path: str, error: type[HttpError], says: str
) -> None:
    with pytest.raises(error, match=says):
        fetch(f"https://images.example.org/{path}")


def test_a_server_that_never_ends_is_left(fetch: Callable[..., bytes]) -> None:
    with pytest.raises(Unanswerable, match=r"0\.3 s"):
        fetch("https://images.example.org/endless", FetchRules(OPTIONS.hosts, 1 << 20, 0.3))


@pytest.mark.parametrize(
    "url",
    [
        "http://images.example.org/a.png",
        "ftp://images.example.org/a.png",
        "file:///etc/passwd",
        "s3://images.example.org/a.png",
        "https://images.example.org:8443/a.png",
        "https://user:secret@images.example.org/a.png",
        "https://images.example.org@evil.example/a.png",
        "https://evil.example/images.example.org",
        "https://bucket.example.org/a.png",
        "https://notbucket.example.org/a.png",
        "https://images.example.org.evil.example/a.png",
        "https://images.example.org/a b",
        "https://images.example.org/\r\nX-Injected: 1",
        "https://images.example.org:nonsense/",
        "https://[::1/",
        "https:///nothing",
        "https://127.0.0.1/",
        "https://169.254.169.254/latest/meta-data/",
    ],
)
def test_addresses_outside_of_the_list_are_not_even_resolved(url: str) -> None:
    def resolve(host: str) -> list[IpAddress]:
        raise AssertionError(f"{host} was looked up")

    with pytest.raises(Unanswerable):
        Fetcher(RemoteImages(OPTIONS, resolve)).fetch(url)


def test_nothing_is_fetched_by_default() -> None:
    with pytest.raises(Unanswerable, match="send the image itself"):
        NoFetcher().fetch("https://images.example.org/a.png")


PRIVATE = [
    "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
    "255.255.255.255", "::1", "::", "fe80::1", "fd00:ec2::254", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1",
    "2002:7f00:1::1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
]  # fmt: skip


@pytest.mark.parametrize("text", PRIVATE)
def test_what_is_not_the_internets_is_not_public(text: str) -> None:
    assert not is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("text", ["93.184.215.14", "1.1.1.1", "2606:4700:4700::1111", "64:ff9b::101:101"])
def test_what_is_the_internets_is_public(text: str) -> None:
    assert is_public(ipaddress.ip_address(text))


@pytest.mark.parametrize("also", PRIVATE)
def test_an_allowed_host_that_leads_inside_is_not_connected_to(also: str) -> None:
    def connect(host: str, address: IpAddress, seconds: float) -> urllib3.HTTPSConnectionPool:
        raise AssertionError(f"connected to {address}")

    for addresses in ([ipaddress.ip_address(also)], [PUBLIC, ipaddress.ip_address(also)], []):
        with pytest.raises(Unanswerable, match="not on the internet"):
            Fetcher(RemoteImages(OPTIONS, lambda _, a=addresses: a, connect)).fetch("https://images.example.org/a.png")  # type: ignore[misc]


def test_a_name_that_changes_its_mind_is_asked_once(fetch: Callable[..., bytes]) -> None:
    asked = []

    def resolve(host: str) -> list[IpAddress]:
        asked.append(host)
        return [PUBLIC] if len(asked) == 1 else [ipaddress.ip_address("127.0.0.1")]

    def connect(host: str, address: IpAddress, seconds: float) -> urllib3.HTTPSConnectionPool:
        assert address == PUBLIC
        raise urllib3.exceptions.ConnectTimeoutError("as far as it goes here")

    with pytest.raises(Unanswerable, match="cannot be reached"):
        Fetcher(RemoteImages(OPTIONS, resolve, connect)).fetch("https://images.example.org/a.png")
    assert asked == ["images.example.org"]


def test_a_host_that_is_not_known() -> None:
    def resolve(host: str) -> list[IpAddress]:
        raise OSError("no such host")

    with pytest.raises(Unanswerable, match="has no address"):
        Fetcher(RemoteImages(OPTIONS, resolve)).fetch("https://images.example.org/a.png")


def test_names_of_hosts() -> None:
    assert allowed_hosts(" A.example.org, *.b.example.org ,") == ("a.example.org", "*.b.example.org")
    for wrong in ("https://a.example.org", "a.example.org:443", "*", "a/b", "*.*.c"):
        with pytest.raises(ValueError, match="not the name of a host"):
            allowed_hosts(wrong)
