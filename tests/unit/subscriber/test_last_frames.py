"""The last state of every camera, and the address at which QGIS and web maps find it."""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyogrio
import pytest

from sam3edge.core.errors import SettingsError
from sam3edge.subscriber import geojson_server
from sam3edge.subscriber.cameras import Room
from sam3edge.subscriber.geojson_server import PATH, GeoJsonServer, parse_address
from sam3edge.subscriber.sinks import last_frames
from sam3edge.subscriber.sinks.last_frames import LastFrames
from support.device_messages import WHOLE, of_frame
from support.smart_home import EVENT

SQUARE = [[13.0, 52.0], [13.1, 52.0], [13.1, 52.1], [13.0, 52.1], [13.0, 52.0]]


def located(frame: str = "a", *, device: str = "line-7", source: str = "left", count: int = 2, minute: int = 0) -> Any:
    """A frame of a camera that knows where it is."""
    message = of_frame(WHOLE, frame, device=device, source=source, time=f"2026-01-02T03:{minute:02}:00.000+00:00")
    features = [
        {
            **feature,
            "id": f"{device}/{source}/{frame}/{number}",
            "geometry": {"type": "Polygon", "coordinates": [SQUARE]},
            "properties": {**feature["properties"], "track_id": f"t{number}", "zones": ["gate"]},
        }
        for number, feature in enumerate(message["features"][:count])
    ]
    return {**message, "features": features}


def ids(last: LastFrames) -> list[str]:
    return [feature["id"] for feature in json.loads(last.document().body)["features"]]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_last_frame_of_each_camera_with_what_a_map_shows_of_it() -> None:
    last = LastFrames()
    assert json.loads(last.document().body) == {"type": "FeatureCollection", "features": []}
    last.write([located("a", count=2), located("b", count=1, minute=1), EVENT, located("c", source="right", count=1)])
    assert ids(last) == ["line-7/left/b/0", "line-7/right/c/0"]
    [feature, _] = json.loads(last.document().body)["features"]
    assert feature["geometry"]["coordinates"] == [SQUARE]
    assert feature["properties"] == {
        "label": "scratch",
        "prompt": "scratch",
        "score": 0.9,
        "area": WHOLE["features"][0]["properties"]["area"],
        "geometry_quality": "exact",
        "image_id": "a.png",
        "track_id": "t0",
        "zones": ["gate"],
        "device": "line-7",
        "source": "left",
        "frame": "a.png",
        "captured_at": WHOLE["frame"]["captured_at"],
    }


def test_a_frame_with_nothing_in_it_or_without_a_place_empties_its_camera() -> None:
    for nothing in (located("b", count=0, minute=1), of_frame(WHOLE, "b", source="left")):
        last = LastFrames()
        last.write([located("a", count=2)])
        last.write([{**nothing, "time": "2026-01-02T03:01:00.000+00:00"}])
        assert ids(last) == []


def test_late_repetitions_do_not_replace_the_newest_and_a_clock_that_was_set_back_does_not_freeze_it() -> None:
    clock = Clock()
    last = LastFrames(clock=clock)
    last.write([located("new", count=1, minute=30)])
    last.write([located("late", count=1, minute=10)])
    assert ids(last) == ["line-7/left/new/0"]
    clock.now = last_frames.SETTLED_SECONDS + 1
    last.write([located("set-back", count=1, minute=11)])
    assert ids(last) == ["line-7/left/set-back/0"]


def test_a_restart_remembers_and_what_was_damaged_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "last"
    LastFrames(folder).write([located("a", count=1), located("b", source="../..", count=1)])
    assert sorted(path.parent for path in tmp_path.rglob("*.json")) == [folder, folder]
    again = LastFrames(folder)
    assert sorted(ids(again)) == ["line-7/../../b/0", "line-7/left/a/0"]
    again.write([located("late", count=1)])
    assert "line-7/left/late/0" in ids(again)
    (folder / "x.json").write_text("{}")
    with pytest.raises(SettingsError, match="delete it"):
        LastFrames(folder)


def test_cameras_are_bounded(tmp_path: Path) -> None:
    last = LastFrames(tmp_path, Room(cameras=2, total_bytes=1 << 20, device_bytes=1 << 20))
    for source in ("a", "b", "a", "c"):
        last.write([located("x", source=source, count=1)])
    assert ids(last) == ["line-7/a/x/0", "line-7/c/x/0"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["line-7__a.json", "line-7__c.json"]


def test_a_device_with_many_sources_loses_its_own(tmp_path: Path) -> None:
    last = LastFrames(tmp_path)
    last.write([located("x", source=f"s{number}", count=1) for number in range(5)])
    last.write([located("x", device="evil", source=f"s{number}", count=1) for number in range(100)])
    assert [one.split("/")[0] for one in ids(last)] == ["line-7"] * 5 + ["evil"] * last_frames.ROOM.sources
    assert len(list(tmp_path.iterdir())) == 5 + last_frames.ROOM.sources
    assert ids(LastFrames(tmp_path))  # and they are read again


def test_a_device_with_much_loses_its_own_and_the_document_is_bounded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    last = LastFrames()
    last.write([located("x", count=2)])
    one = len(last.document().body)
    room = Room(cameras=100, total_bytes=6 * one, device_bytes=3 * one)
    last = LastFrames(tmp_path, room)
    last.write([located("x", count=2)])
    last.write([located("x", device="evil", source=f"s{number}", count=2) for number in range(16)])
    assert [path.split("/")[0] for path in ids(last)] == ["line-7"] * 2 + ["evil"] * 2 * 3
    last.write([located("x", device=f"d{number}", count=2) for number in range(20)])
    assert 3 * one < len(last.document().body) <= 7 * one
    assert len(list(tmp_path.iterdir())) == 6
    last.write([located("large", device="d19", count=12, minute=1)])
    assert "the map has no room for" in caplog.text
    assert not any("d19" in path for path in ids(last))
    assert ids(last)


def test_who_writes_does_not_wait_for_who_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large document takes its time, and the messages that come meanwhile are taken."""
    last, hashing, wrote = LastFrames(), threading.Event(), threading.Event()
    last.write([located("a", count=1)])
    sha256 = hashlib.sha256

    def slow(body: bytes) -> Any:
        hashing.set()
        assert wrote.wait(30)
        return sha256(body)

    monkeypatch.setattr(last_frames.hashlib, "sha256", slow)
    reader = threading.Thread(target=last.document)
    reader.start()
    assert hashing.wait(30)
    last.write([located("b", count=1, minute=1)])
    wrote.set()
    reader.join(30)
    assert ids(last) == ["line-7/left/b/0"]


@pytest.fixture
def last() -> LastFrames:
    one = LastFrames()
    one.write([located("a", count=2)])
    return one


@pytest.fixture
def server(last: LastFrames) -> Iterator[GeoJsonServer]:
    one = GeoJsonServer("127.0.0.1:0", last.document, ["https://maps.example.org"], ["maps.local"])
    yield one
    one.close()


class Response:
    """What came back."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status, self.headers, self.body = response.status, response.headers, response.read()


def ask(server: GeoJsonServer, method: str = "GET", path: str = PATH, **headers: str) -> Response:
    found = re.fullmatch(r"http://127\.0\.0\.1:(\d+)" + PATH, server.url)
    assert found is not None
    connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=30)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        return Response(connection.getresponse())
    finally:
        connection.close()


def test_gdal_reads_the_address_as_qgis_does_in_one_request_and_in_ranges(
    server: GeoJsonServer, last: LastFrames
) -> None:
    """QGIS: a layer by the protocol GeoJSON, and one by HTTP, which asks for the size and then for ranges."""
    for count in (0, 2, 12):
        last.write([located(str(count), count=count, minute=30 + count)])
        for source in (f"GEOJSON:{server.url}", f"/vsicurl/{server.url}?{count}"):  # /vsicurl/ keeps what it has read
            meta, _, geometries, fields = pyogrio.raw.read(source)
            assert len(geometries) == count
            assert meta["crs"] == "EPSG:4326"
            if count:
                named = dict(zip(meta["fields"], fields, strict=True))
                assert list(named["label"]) == ["scratch"] * count
                assert list(named["device"]) == ["line-7"] * count


def test_gdal_reads_a_large_document_in_ranges(server: GeoJsonServer, last: LastFrames) -> None:
    last.write([located("x", device=f"line-{number + 10}", count=12) for number in range(20)])
    assert len(last.document().body) > 60_000
    assert len(pyogrio.raw.read(f"/vsicurl/{server.url}?large")[2]) == 240 + 2


def test_ranges_on_one_connection_are_of_one_state(server: GeoJsonServer, last: LastFrames) -> None:
    many = [located("x", source=f"camera-{number}", count=12) for number in range(20)]
    last.write(many)
    body = last.document().body
    assert len(body) > 60_000
    connection = http.client.HTTPConnection("127.0.0.1", int(server.url.split(":")[2].split("/")[0]), timeout=30)

    def get(range_: str = "", method: str = "GET") -> Response:
        connection.request(method, PATH, headers={"Range": range_} if range_ else {})
        return Response(connection.getresponse())

    assert int(get(method="HEAD").headers["Content-Length"]) == len(body)
    first = get("bytes=0-16383")
    last.write([located("y", count=1, minute=50)])
    rest = get("bytes=16384-")
    assert (first.status, rest.status) == (206, 206)
    assert first.body + rest.body == body
    assert rest.headers["Content-Range"] == f"bytes 16384-{len(body) - 1}/{len(body)}"
    assert get(f"bytes={len(body)}-").status == 416
    invalid = get("bytes=5-1")
    assert (invalid.status, invalid.body) == (200, body)
    assert get("pages=1-2").body == body  # what it does not know it ignores
    assert get().body == last.document().body != body
    connection.close()


def test_what_has_not_changed_is_not_sent_again(server: GeoJsonServer, last: LastFrames) -> None:
    first = ask(server)
    assert first.headers["Content-Type"] == "application/geo+json"
    assert first.headers["Cache-Control"] == "no-cache"
    again = ask(server, If_None_Match=first.headers["ETag"])
    assert (again.status, again.body) == (304, b"")
    last.write([located("b", count=1, minute=1)])
    changed = ask(server, If_None_Match=first.headers["ETag"])
    assert changed.status == 200
    assert changed.headers["ETag"] != first.headers["ETag"]
    stale = ask(server, Range="bytes=0-9", If_Range=first.headers["ETag"])
    assert (stale.status, stale.body) == (200, changed.body)


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("http://localhost:5173", True),
        ("http://127.0.0.1:8000", True),
        ("http://[::1]:8000", True),
        ("https://maps.example.org", True),
        ("https://maps.example.org.evil.example", False),
        ("http://localhost.evil.example", False),
        ("https://evil.example", False),
        ("null", False),
        ("http://[", False),
        ("chrome-extension://localhost", False),
        ("file://127.0.0.1", False),
        ("ftp://127.0.0.1", False),
    ],
)
def test_pages_of_this_computer_and_allowed_ones_may_read_it(server: GeoJsonServer, origin: str, allowed: bool) -> None:
    for response in (ask(server, Origin=origin), ask(server, "OPTIONS", Origin=origin)):
        assert response.headers.get("Access-Control-Allow-Origin") == (origin if allowed else None)
        assert response.headers["Vary"] == "Origin"
    preflight = ask(server, "OPTIONS", Origin=origin)
    assert preflight.status == 204
    assert ("If-None-Match" in preflight.headers.get("Access-Control-Allow-Headers", "")) is allowed


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8080", 200),
        ("127.0.0.1", 200),
        ("[::1]:80", 200),
        ("192.168.1.5:8080", 200),
        ("maps.local", 200),
        ("evil.example", 421),
        ("localhost.evil.example", 421),
        ("", 421),
        ("[", 421),
    ],
)
def test_other_names_are_refused(server: GeoJsonServer, host: str, status: int) -> None:
    assert ask(server, Host=host).status == status


def test_there_is_nothing_else(server: GeoJsonServer) -> None:
    assert ask(server, path="/").status == 404
    assert ask(server, path="/../detections.geojson").status == 404
    assert ask(server, path=f"{PATH}?refresh=1").status == 200
    assert ask(server, "POST").status == 501
    head = ask(server, "HEAD")
    assert (head.status, head.body) == (200, b"")


def test_who_holds_connections_keeps_nobody_from_the_document(
    last: LastFrames, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(geojson_server, "MAX_CONNECTIONS", 2)
    server = GeoJsonServer("127.0.0.1:0", last.document)
    port = int(server.url.split(":")[2].split("/")[0])
    held = [socket.create_connection(("127.0.0.1", port), 30) for _ in range(6)]
    try:
        for one in held[:4]:  # those after them have come in their place
            assert one.recv(1) == b""
        assert ask(server).status == 200
        assert held[4].recv(1) == b""
    finally:
        for one in held:
            one.close()
        server.close()


def test_a_connection_without_a_request_is_closed(last: LastFrames, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geojson_server._Handler, "timeout", 0.1)
    server = GeoJsonServer("127.0.0.1:0", last.document)
    try:
        with socket.create_connection(("127.0.0.1", int(server.url.split(":")[2].split("/")[0])), 30) as one:
            assert one.recv(1) == b""
    finally:
        server.close()


@pytest.mark.parametrize("head", ["Content-Length: 51", "Transfer-Encoding: chunked", "Content-Length: x"])
def test_a_body_is_not_taken_for_another_request(server: GeoJsonServer, head: str) -> None:
    request = f"GET {PATH} HTTP/1.1\r\nHost: localhost\r\n"
    with socket.create_connection(("127.0.0.1", int(server.url.split(":")[2].split("/")[0])), 30) as one:
        one.sendall(f"{request}{head}\r\n\r\n{request}\r\n".encode())
        got = b""
        while more := one.recv(65536):
            got += more
    assert got.count(b"HTTP/1.1 ") == 1
    assert got.startswith(b"HTTP/1.1 200 ")
    assert b"\r\nConnection: close\r\n" in got


def test_a_place_where_nobody_can_listen_is_refused(server: GeoJsonServer, last: LastFrames) -> None:
    taken = server.url.removeprefix("http://").removesuffix(PATH)
    with pytest.raises(SettingsError, match="cannot listen"):
        GeoJsonServer(taken, last.document)
    for address in (
        "8080",
        "127.0.0.1",
        "http://127.0.0.1:80",
        "127.0.0.1:99999",
        "a:b",
        "user@host:80",
        "127.0.0.1:80/x",
    ):
        with pytest.raises(SettingsError, match="expected an address"):
            parse_address(address)
    assert parse_address("[::1]:80") == ("::1", 80)
    for origin in ("*", "maps.example.org", "https://maps.example.org/", "https://"):
        with pytest.raises(SettingsError, match="origin"):
            GeoJsonServer("127.0.0.1:0", last.document, [origin])
