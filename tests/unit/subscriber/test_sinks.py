"""Files about frames: GeoJSON, overlays, GeoPackages."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyogrio
import pytest

from sam3edge.core.errors import SettingsError, SubscriptionError
from sam3edge.images import digests
from sam3edge.images.files import read_frame
from sam3edge.subscriber.reading import DeviceMessage
from sam3edge.subscriber.sinks import overlays
from sam3edge.subscriber.sinks.geojson_files import GeoJsonFiles
from sam3edge.subscriber.sinks.geopackages import GeoPackages
from sam3edge.subscriber.sinks.overlays import Overlays
from support.device_messages import WHOLE, of_frame
from support.samples import red_square
from support.smart_home import EVENT


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def named(name: str, **changes: Any) -> dict[str, Any]:
    return {**of_frame(WHOLE, name), **changes, "frame": {**WHOLE["frame"], "id": name, "name": name}}


def test_a_geojson_file_a_frame_is_the_message_and_the_same_frame_replaces_it(tmp_path: Path) -> None:
    sink = GeoJsonFiles(tmp_path / "out")
    sink.write([WHOLE, EVENT, of_frame(WHOLE, "b")])
    sink.write([WHOLE])
    found = files(tmp_path / "out")
    assert len(found) == 2
    assert all(path.startswith("line-7/folder/a_png-") and path.endswith(".geojson") for path in found)
    assert WHOLE in [json.loads((tmp_path / "out" / path).read_text()) for path in found]


@pytest.mark.parametrize(
    "name", ["../../../escaped", "/etc/passwd", "..", "a\x00b", "x" * 4000, "CON", " ", "\\\\host\\x"]
)
def test_whatever_frames_and_sources_are_called_files_stay_in_the_folder(tmp_path: Path, name: str) -> None:
    out = tmp_path / "a" / "b" / "out"
    sink = GeoJsonFiles(out)
    sink.write([named(name, source=name), named(name, source=name + "."), named(name + ".", source=name)])
    assert len(files(out)) == 3
    assert len(files(tmp_path)) == 3


def test_frames_that_look_alike_have_files_of_their_own(tmp_path: Path) -> None:
    sink = GeoJsonFiles(tmp_path)
    sink.write([named("a/b.png"), named("a_b.png"), named("a.b.png"), named("A_b.png")])
    assert len({path.lower() for path in files(tmp_path)}) == 4


def test_a_folder_that_cannot_be_made_or_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="is not a folder"):
        GeoJsonFiles(tmp_path / "file" / "out")
    sink = GeoJsonFiles(tmp_path / "out")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "line-7").touch()
    with pytest.raises(SubscriptionError, match="cannot be written"):
        sink.write([WHOLE])


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    (folder / "sub").mkdir(parents=True)
    png = cv2.imencode(".png", red_square()[..., ::-1])[1].tobytes()
    (folder / "sub" / "a.png").write_bytes(png)
    (tmp_path / "outside.png").write_bytes(png)
    (folder / "link.png").symlink_to(tmp_path / "outside.png")
    (folder / "text.png").write_text("no image")
    return folder


def of_image(images: Path, name: str) -> dict[str, Any]:
    path = images / name
    digest = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "00"
    message = named(name)
    return {**message, "frame": {**message["frame"], "digest": f"sha256:{digest}"}}


def test_an_overlay_is_drawn_where_the_image_is_the_one_that_the_device_saw(tmp_path: Path, images: Path) -> None:
    sink = Overlays(tmp_path / "out", images)
    sink.write([of_image(images, "sub/a.png"), EVENT])
    [path] = files(tmp_path / "out")
    assert path.startswith("line-7/folder/sub_a_png-")
    drawn = cv2.imread(str(tmp_path / "out" / path))
    assert drawn is not None
    assert drawn.shape == (240, 320, 3)
    assert np.count_nonzero((drawn != red_square()[..., ::-1]).any(2)) > 100


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("../outside.png", "in the folder of images"),
        ("link.png", "in the folder of images"),
        ("/etc/hostname", "in the folder of images"),
        ("text.png", "no overlay"),
        ("nowhere.png", "expected a file"),
        ("sub", "expected a file"),
        ("a\x00b", "name of a file"),
        ("\x1b[2J\nnowhere.png", "expected a file"),
        ("x" * 5000, "no overlay"),
    ],
)
def test_no_other_file_is_read_or_drawn_and_the_next_frame_is(
    tmp_path: Path, images: Path, name: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    sink = Overlays(tmp_path / "out", images)
    other = {**of_image(images, "sub/a.png"), "frame": {**WHOLE["frame"], "name": "sub/a.png"}}
    sink.write([{**named(name), "frame": {**of_image(images, "sub/a.png")["frame"], "name": name}}, other])
    assert reason in caplog.messages[0]
    assert all(len(said) < 500 and said.isprintable() for said in caplog.messages)
    assert "another one" in caplog.messages[1]  # the image under that name has other bytes by now
    assert files(tmp_path / "out") == []
    sink.write([of_image(images, "sub/a.png")])
    assert len(files(tmp_path / "out")) == 1


def test_what_another_digest_is_named_for_is_not_decoded_and_read_once(
    tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small message may name a large image."""
    read: list[Path] = []
    decoded: list[Path] = []
    monkeypatch.setattr(digests, "_digest", lambda path, digest=digests._digest: read.append(path) or digest(path))
    monkeypatch.setattr(overlays, "read_frame", lambda path: decoded.append(path) or read_frame(path))
    sink, right, path = Overlays(tmp_path / "out", images), of_image(images, "sub/a.png"), images / "sub" / "a.png"
    sink.write([{**right, "frame": {**right["frame"], "digest": f"sha256:{number:064}"}} for number in range(30)])
    assert (len(read), len(decoded)) == (1, 0)
    sink.write([right])
    assert (len(read), len(decoded)) == (1, 1)
    path.write_bytes(path.read_bytes() + b"\0")  # it is another file now
    sink.write([right])
    assert (len(read), len(decoded)) == (2, 1)
    monkeypatch.setattr(digests, "MAX_REMEMBERED", 2)
    some = digests.FileDigests()
    for name in ("sub/a.png", "text.png", "link.png", "sub/a.png"):
        some.of(images / name)
    assert len(some._known) == 2
    assert len(read) == 6


def test_overlays_need_a_folder_of_images(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="folder of images"):
        Overlays(tmp_path / "out", tmp_path / "nowhere")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def write_geopackage(path: Path, messages: Iterable[DeviceMessage]) -> None:
    """One point a feature, which is enough to count them by."""
    ids = [feature["id"] for message in messages for feature in message["features"]]
    geometry = np.array([b"\x01\x01\x00\x00\x00" + b"\x00" * 16] * len(ids), dtype=object)
    fields = np.array(["id"]), [np.array(ids, dtype=object)]
    pyogrio.raw.write(path, geometry, fields[1], fields[0], driver="GPKG", geometry_type="Point", crs="EPSG:4326")


def geopackages(folder: Path) -> list[int]:
    """How many features are in each, in order."""
    return [len(pyogrio.raw.read(path)[2]) for path in sorted(folder.glob("detections-*.gpkg"))]


def test_detections_are_collected_and_become_a_geopackage_by_size_time_and_at_the_end(tmp_path: Path) -> None:
    clock = Clock()
    each = len(WHOLE["features"])
    sink = GeoPackages(tmp_path, write_geopackage, max_bytes=1, seconds=60, clock=clock)
    sink.write([WHOLE, EVENT, of_frame(WHOLE, "b")])
    assert geopackages(tmp_path) == []
    sink.write([{**of_frame(WHOLE, "c"), "time": "2027-01-01T00:00:00.000+00:00"}])
    assert geopackages(tmp_path) == [2 * each]
    sink.write([])
    assert geopackages(tmp_path) == [2 * each, each]
    sink.close()
    assert geopackages(tmp_path) == [2 * each, each]

    slow = GeoPackages(tmp_path / "slow", write_geopackage, seconds=60, clock=clock)
    slow.write([WHOLE])
    clock.now = 59
    slow.write([])
    assert geopackages(tmp_path / "slow") == []
    clock.now = 60
    slow.write([])
    assert geopackages(tmp_path / "slow") == [each]
    slow.write([of_frame(WHOLE, "b")])
    slow.close()
    assert geopackages(tmp_path / "slow") == [each, each]
    assert len(files(tmp_path / "slow")) == 2 + 2  # and what says which messages were written last


@pytest.mark.parametrize("moment", ["before", "while", "after"])
def test_a_kill_while_a_geopackage_is_made_costs_nothing_and_repeats_nothing(tmp_path: Path, moment: str) -> None:
    each = len(WHOLE["features"])

    class Killed(BaseException):
        pass

    def killed(path: Path, messages: Iterable[DeviceMessage]) -> None:
        if moment == "while":
            path.with_name(".draft.gpkg").write_bytes(b"half")
        if moment == "after":
            write_geopackage(path, messages)
        raise Killed

    sink = GeoPackages(tmp_path, killed, max_bytes=1)
    sink.write([WHOLE, of_frame(WHOLE, "b")])
    with pytest.raises(Killed):
        sink.close()
    again = GeoPackages(tmp_path, write_geopackage)
    again.write([])
    assert geopackages(tmp_path) == [2 * each]
    again.write([WHOLE, of_frame(WHOLE, "b"), of_frame(WHOLE, "c")])  # as the journal has it after a kill
    again.close()
    assert sorted(geopackages(tmp_path)) == [each, 2 * each]
