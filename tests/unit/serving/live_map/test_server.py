"""The page's HTTP: what it serves, what it says of itself, and what cannot be read."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from sam3edge.core.errors import SettingsError
from sam3edge_serving.live_map.configuration import PageConfiguration
from sam3edge_serving.live_map.server import MAX_RANGE, STATIC, PageServer

BROKER = "wss://broker.example.org:8084/mqtt"


def get(server: PageServer, target: str, **headers: str) -> tuple[int, http.client.HTTPMessage, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", int(server.address.rsplit(":", 1)[1].strip("/")), timeout=30)
    try:
        connection.request("GET", target, headers=headers)
        got = connection.getresponse()
        return got.status, got.headers, got.read()
    finally:
        connection.close()


@pytest.fixture
def server() -> Iterator[PageServer]:
    with PageServer().serving(PageConfiguration(BROKER)) as one:
        yield one


def test_the_page_and_all_that_it_loads(server: PageServer) -> None:
    status, headers, page = get(server, "/")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert get(server, "/?x=1")[2] == page
    names = re.findall(r'(?:src|href)="([^"#]+)"', page.decode())
    assert len(names) >= 5
    for name in names:
        assert get(server, f"/{name}")[0] == 200, name
    for module in STATIC.rglob("js/**/*.js"):
        assert get(server, f"/{module.relative_to(STATIC).as_posix()}")[1]["Content-Type"].startswith("text/javascript")
        for imported in re.findall(r'(?:from|import)[ (]"(\.[^"]+)"', module.read_text()):
            assert (module.parent / imported).is_file(), f"{module.name} imports {imported}"


def test_nothing_is_loaded_from_elsewhere_and_there_is_no_code_in_the_page() -> None:
    page = (STATIC / "index.html").read_text()
    assert not re.search(r"<script>|<style|style=|\son\w+=", page)
    ours = [path.read_text() for path in STATIC.rglob("*.js") if "vendor" not in path.parts]
    for text in [page, (STATIC / "page.css").read_text(), *ours]:
        assert not re.findall(r'(?:src|href|from|import|url\()\s*["(]?\s*"?https?:', text)
    for text in ours:
        assert "innerHTML" not in text
        assert "insertAdjacentHTML" not in text
        assert "eval(" not in text


def test_the_policy_names_the_broker_and_nobody_else(server: PageServer) -> None:
    policy = get(server, "/")[1]["Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["connect-src"] == "'self' wss://broker.example.org:8084"
    assert rules["script-src"] == "'self'"
    assert rules["style-src"] == "'self'"
    assert rules["img-src"] == "'self' blob: data:"
    assert rules["frame-ancestors"] == "'none'"
    assert rules["require-trusted-types-for"] == "'script'"
    assert "unsafe" not in policy
    for target in ("/", "/config.json", "/js/main.js", "/nothing"):
        assert get(server, target)[1]["Content-Security-Policy"] == policy


def test_the_configuration_is_told(server: PageServer) -> None:
    status, headers, body = get(server, "/config.json")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert json.loads(body) == PageConfiguration(BROKER).document()


@pytest.mark.parametrize(
    "target",
    [
        "/../server.py", "/js/../../server.py", "/..%2fserver.py", "/js", "/js/", "//etc/passwd", "/map.pmtiles",
        "/map-style.json", "/index.html/", "/config.json/", "/static/index.html", "/vendor/manifest.json",
        "/vendor/mqtt/LICENSE.md",
    ],
)  # fmt: skip
def test_nothing_else_can_be_read(server: PageServer, target: str) -> None:
    assert get(server, target)[0] == 404


def test_nothing_can_be_written(server: PageServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", int(server.address.split(":")[2].strip("/")), timeout=30)
    connection.request("POST", "/config.json", b"{}")
    assert connection.getresponse().status == 405
    connection.close()


def test_other_names_for_this_computer_are_refused(server: PageServer) -> None:
    assert get(server, "/", Host="evil.example")[0] == 421


class TestMap:
    def test_a_style_is_served_and_its_origins_are_allowed(self, tmp_path: Path) -> None:
        style = tmp_path / "style.json"
        style.write_text('{"version": 8}')
        configuration = PageConfiguration(BROKER, map_style=style, map_origins=("https://tiles.example.org",))
        with PageServer().serving(configuration) as server:
            assert get(server, "/map-style.json")[2] == style.read_bytes()
            assert json.loads(get(server, "/config.json")[2])["mapStyle"] == "map-style.json"
            policy = get(server, "/")[1]["Content-Security-Policy"]
            assert "connect-src 'self' wss://broker.example.org:8084 https://tiles.example.org;" in policy

    @pytest.mark.parametrize("content", [b"no JSON", None])
    def test_a_style_that_is_none_is_refused(self, tmp_path: Path, content: bytes | None) -> None:
        style = tmp_path / "style.json"
        if content is not None:
            style.write_bytes(content)
        configuration = PageConfiguration(BROKER, map_style=style)
        with pytest.raises(SettingsError, match="expected a MapLibre style"), PageServer().serving(configuration):
            pass

    def test_an_archive_is_served_in_ranges(self, tmp_path: Path) -> None:
        archive = tmp_path / "map.pmtiles"
        archive.write_bytes(bytes(range(256)) * 4)
        with PageServer().serving(PageConfiguration(BROKER, map_tiles=archive)) as server:
            status, headers, body = get(server, "/map.pmtiles", Range="bytes=10-19")
            assert (status, headers["Content-Range"], body) == (206, "bytes 10-19/1024", bytes(range(10, 20)))
            assert get(server, "/map.pmtiles", Range="bytes=1020-2000")[2] == bytes(range(252, 256))
            assert get(server, "/map.pmtiles", Range="bytes=1020-")[2] == bytes(range(252, 256))
            for wrong in ("", "bytes=2000-3000", "bytes=5-4", "bytes=-5", "bytes=0-1,4-5", "lines=0-1"):
                assert get(server, "/map.pmtiles", Range=wrong)[0] == 416

    def test_a_range_has_a_bound(self, tmp_path: Path) -> None:
        archive = tmp_path / "map.pmtiles"
        with archive.open("wb") as stream:
            stream.truncate(MAX_RANGE + 100)
        with PageServer().serving(PageConfiguration(BROKER, map_tiles=archive)) as server:
            assert len(get(server, "/map.pmtiles", Range="bytes=0-")[2]) == MAX_RANGE

    def test_an_archive_that_is_not_there_is_refused(self, tmp_path: Path) -> None:
        configuration = PageConfiguration(BROKER, map_tiles=tmp_path / "none")
        with pytest.raises(SettingsError, match="expected a PMTiles archive"), PageServer().serving(configuration):
            pass
