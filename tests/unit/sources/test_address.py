from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from sam3edge.core.errors import SettingsError
from sam3edge.sources.camera.address import parse_address, without_secrets
from sam3edge.sources.camera.source import CameraOptions


@pytest.mark.parametrize(
    ("uri", "backend", "target"),
    [
        ("0", cv2.CAP_V4L2, 0),
        ("12", cv2.CAP_V4L2, 12),
        ("/dev/video2", cv2.CAP_V4L2, "/dev/video2"),
        ("rtsp://camera/1", cv2.CAP_FFMPEG, "rtsp://camera/1"),
        ("RTSPS://camera/1", cv2.CAP_FFMPEG, "RTSPS://camera/1"),
        ("http://camera/video", cv2.CAP_FFMPEG, "http://camera/video"),
        ("gst: videotestsrc ! appsink", cv2.CAP_GSTREAMER, "videotestsrc ! appsink"),
    ],
)
def test_cameras(uri: str, backend: int, target: int | str) -> None:
    address = parse_address(uri)
    assert (address.backend, address.target, address.file) == (backend, target, None)


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "a film.mp4"
    path.touch()
    for uri in (str(path), f"file://{str(path).replace(' ', '%20')}"):
        address = parse_address(uri)
        assert (address.backend, address.target, address.file) == (cv2.CAP_FFMPEG, str(path), path)


@pytest.mark.parametrize("uri", ["", "no/such/film.mp4", "file:///no/such/film.mp4", "ftp://user:secret@host/x", "/"])
def test_what_is_not_understood_is_refused_without_its_password(uri: str) -> None:
    with pytest.raises(SettingsError) as raised:
        parse_address(uri)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("rtsp://camera:554/1", "rtsp://camera:554/1"),
        ("rtsp://user:secret@camera:554/1", "rtsp://***@camera:554/1"),
        ("rtsp://user:se/cr@et@camera/1", "rtsp://***@camera/1"),
        ("http://camera/video?user=me&pwd=secret#x", "http://camera/video?***"),
        ("gst:rtspsrc location=rtsp://u:secret@c/1 ! x", "gst:rtspsrc location=rtsp://***@c/1 ! x"),
        ("gst:rtspsrc user-pw=secret ! x", "gst:rtspsrc user-pw=*** ! x"),
        ('gst:rtspsrc user-id="my secret" ! x', "gst:rtspsrc user-id=*** ! x"),
        ("gst:nvarguscamerasrc sensor-id=0 ! appsink", "gst:nvarguscamerasrc sensor-id=0 ! appsink"),
    ],
)
def test_what_is_shown_holds_no_secret(uri: str, shown: str) -> None:
    assert without_secrets(uri) == shown
    assert "secret" not in repr(parse_address(uri))
    assert "secret" not in repr(CameraOptions(uri))
