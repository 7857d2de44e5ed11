"""Images by address: what is fetched, and above all what is not."""

from __future__ import annotations

import ipaddress
import itertools
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import urllib3
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from sam3edge_serving.http.remote_images import (
    AddressRefused,
    FetchFailed,
    FetchRules,
    ImageTooLarge,
    IpAddress,
    RemoteImages,
    connect_to,
    is_public,
    read_hosts,
    resolve_host,
)

HOST = "images.example.com"
PUBLIC = ipaddress.ip_address("93.184.216.34")
IMAGE = bytes(range(256)) * 300


def certificate(folder: Path, name: str) -> Path:
    """A key and a certificate for that name, which signs itself; for an hour."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(secret + made.public_bytes(serialization.Encoding.PEM))
    return path


@dataclass
class Host:
    """A server of images with TLS, on the loopback, that passes for a public address.

    Attributes:
        announced: the length that it says; negative to say none.
        seen: target and Host header of every request.
        connected: addresses that were connected to.
    """

    port: int
    authority: Path
    status: int = 200
    body: bytes = IMAGE
    headers: dict[str, str] = field(default_factory=dict)
    announced: int | None = None
    pause: threading.Event | None = None
    seen: list[tuple[str, str]] = field(default_factory=list)
    connected: list[IpAddress] = field(default_factory=list)

    def connect(self, host: str, address: IpAddress, seconds: float) -> urllib3.HTTPSConnectionPool:
        """To the loopback instead."""
        self.connected.append(address)
        return urllib3.HTTPSConnectionPool(
            "127.0.0.1",
            self.port,
            timeout=urllib3.Timeout(connect=seconds, read=seconds),
            retries=False,
            server_hostname=host,
            assert_hostname=host,
            ca_certs=str(self.authority),
        )

    def images(self, seconds: float = 20.0, hosts: str = HOST) -> RemoteImages:
        """What fetches from it."""
        rules = FetchRules(read_hosts(hosts), len(IMAGE), seconds)
        return RemoteImages(rules, lambda _: [PUBLIC], self.connect)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A server for ``HOST``."""
    pem = certificate(tmp_path, HOST)
    held: list[Host] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told = held[0]
            told.seen.append((self.path, self.headers["Host"]))
            self.send_response(told.status)
            length = len(told.body) if told.announced is None else told.announced
            headers = {"Content-Length": str(length)} if length >= 0 else {}
            for name, value in {**headers, **told.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            half = len(told.body) // 2
            self.wfile.write(told.body[:half])
            self.wfile.flush()
            if told.pause is not None:
                told.pause.wait(60)
            try:
                self.wfile.write(told.body[half:])
            except OSError:
                self.close_connection = True  # the client has gone: it was to

        def log_message(self, *_: object) -> None:
            """Silent."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """Clients that break off are meant to."""

    server = Server(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    held.append(Host(server.server_port, pem))
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield held[0]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_an_image_of_an_allowed_host(host: Host) -> None:
    assert host.images().fetch(f"https://{HOST}/a/b.png?size=7#top") == IMAGE
    assert host.seen == [("/a/b.png?size=7", HOST)]
    assert host.connected == [PUBLIC]


@pytest.mark.parametrize(
    ("pattern", "name", "allowed"),
    [
        ("images.example.com", "IMAGES.example.com.", True),
        ("*.example.com", "images.example.com", True),
        ("*.example.com", "a.b.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "badexample.com", False),
        ("example.com", "images.example.com", False),
        ("example.com", "example.com.evil.org", False),
        ("a.org, images.example.com", "images.example.com", True),
        ("", "images.example.com", False),
    ],
)
def test_hosts(pattern: str, name: str, allowed: bool) -> None:
    reached: list[str] = []

    def resolve(host: str) -> list[IpAddress]:
        reached.append(host)
        return []

    with pytest.raises(AddressRefused):
        RemoteImages(FetchRules(read_hosts(pattern), 1, 1.0), resolve).fetch(f"https://{name}/")
    assert bool(reached) == allowed


@pytest.mark.parametrize(
    "url",
    [
        f"http://{HOST}/a.png",
        f"https://{HOST}:8443/a.png",
        f"https://{HOST}:99999/",
        f"https://user@{HOST}/a.png",
        f"https://user:word@{HOST}/a.png",
        f"https://{HOST}/a b.png",
        f"https://{HOST}/a\r\nX: y",
        f"https://{HOST}/\u00e9",
        f"https://{HOST}/" + "a" * 2048,
        f"https://evil.org#@{HOST}/",
        f"https://evil.org\\@{HOST}/",
        "https:///a.png",
        "https://[::1/",
        "https://127.0.0.1/",
        "https://169.254.169.254/latest/meta-data",
        f"//{HOST}/",
        "",
    ],
)
def test_addresses_that_are_refused_before_anything_is_resolved(host: Host, url: str) -> None:
    with pytest.raises(AddressRefused):
        host.images().fetch(url)
    assert not host.connected


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.255.255.254",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "255.255.255.255",
        "224.0.0.1",
        "192.0.2.1",
        "198.18.0.1",
        "240.0.0.1",
        "::1",
        "::",
        "fe80::1",
        "fec0::1",
        "fd00:ec2::254",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "2001:db8::1",
    ],
)
def test_addresses_inside_networks_are_refused_whatever_their_name(host: Host, address: str) -> None:
    inside = ipaddress.ip_address(address)
    assert not is_public(inside)
    for found in ([inside], [PUBLIC, inside]):
        images = RemoteImages(FetchRules((HOST,), 1, 1.0), lambda _, found=found: found, host.connect)
        with pytest.raises(AddressRefused, match="not on the internet"):
            images.fetch(f"https://{HOST}/")
    assert not host.connected


@pytest.mark.parametrize(
    "address", ["93.184.216.34", "8.8.8.8", "2606:2800:220:1::1", "64:ff9b::808:808", "::ffff:8.8.8.8"]
)
def test_addresses_of_the_internet(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


def test_the_loopback_is_refused_under_its_real_name() -> None:
    assert resolve_host("localhost")
    with pytest.raises(AddressRefused):
        RemoteImages(FetchRules(("localhost",), 1, 1.0)).fetch("https://localhost/")


def test_a_name_that_does_not_exist() -> None:
    def resolve(_: str) -> list[IpAddress]:
        raise OSError("no such host")

    with pytest.raises(FetchFailed, match="no address"):
        RemoteImages(FetchRules((HOST,), 1, 1.0), resolve).fetch(f"https://{HOST}/")


def test_the_connection_asks_for_the_hosts_certificate() -> None:
    pool = connect_to(HOST, PUBLIC, 1.0)
    assert (pool.host, pool.port, pool.assert_hostname) == (str(PUBLIC), 443, HOST)
    assert pool.conn_kw["server_hostname"] == HOST


def test_a_host_with_another_hosts_certificate(host: Host, tmp_path: Path) -> None:
    with pytest.raises(FetchFailed):
        host.images(hosts="other.example.com").fetch("https://other.example.com/")
    host.authority = certificate(tmp_path, "elsewhere.example.com")
    with pytest.raises(FetchFailed):
        host.images().fetch(f"https://{HOST}/")
    assert not host.seen


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirections_are_not_followed(host: Host, status: int) -> None:
    host.status, host.headers = status, {"Location": f"https://{HOST}/b.png"}
    with pytest.raises(FetchFailed, match="elsewhere"):
        host.images().fetch(f"https://{HOST}/a.png?signature=secret")
    assert len(host.seen) == 1


@pytest.mark.parametrize("status", [204, 206, 401, 404, 500])
def test_a_host_that_does_not_give_it(host: Host, status: int) -> None:
    host.status = status
    with pytest.raises(FetchFailed) as failed:
        host.images().fetch(f"https://{HOST}/a.png?signature=secret")
    assert "secret" not in str(failed.value)


def test_an_image_that_says_it_is_too_large(host: Host) -> None:
    host.announced = len(IMAGE) + 1
    with pytest.raises(ImageTooLarge):
        host.images().fetch(f"https://{HOST}/")


def test_an_image_that_is_too_large_without_saying_so(host: Host) -> None:
    host.body, host.announced = IMAGE + b"!", -1
    with pytest.raises(ImageTooLarge):
        host.images().fetch(f"https://{HOST}/")


def test_an_image_that_is_cut_short(host: Host) -> None:
    host.announced = len(IMAGE)
    host.body = IMAGE[:-1]
    with pytest.raises(FetchFailed):
        host.images().fetch(f"https://{HOST}/")


def test_an_image_that_is_packed(host: Host) -> None:
    host.headers = {"Content-Encoding": "gzip"}
    with pytest.raises(FetchFailed, match="compressed"):
        host.images().fetch(f"https://{HOST}/")


def test_an_image_that_does_not_say_how_large_it_is(host: Host) -> None:
    host.announced = -1
    assert host.images().fetch(f"https://{HOST}/") == IMAGE


def test_a_host_that_trickles(host: Host) -> None:
    """Every wait is short, but all of them together are not."""
    ticks = itertools.count(0.0, 7.0)
    rules = FetchRules((HOST,), len(IMAGE), 20.0)
    images = RemoteImages(rules, lambda _: [PUBLIC], host.connect, lambda: next(ticks))
    with pytest.raises(FetchFailed, match="longer than 20 s"):
        images.fetch(f"https://{HOST}/")


def test_a_host_that_is_too_slow(host: Host) -> None:
    host.pause = threading.Event()
    with pytest.raises(FetchFailed, match=r"too long|reached"):
        host.images(seconds=0.5).fetch(f"https://{HOST}/")
    host.pause.set()


def test_the_next_address_where_one_does_not_answer(host: Host) -> None:
    second = ipaddress.ip_address("93.184.216.35")

    def connect(name: str, address: IpAddress, seconds: float) -> urllib3.HTTPSConnectionPool:
        pool = host.connect(name, address, seconds)
        if address == PUBLIC:
            pool.port = 1
        return pool

    images = RemoteImages(FetchRules((HOST,), len(IMAGE), 20.0), lambda _: [PUBLIC, second], connect)
    assert images.fetch(f"https://{HOST}/") == IMAGE
    assert host.connected == [PUBLIC, second]
