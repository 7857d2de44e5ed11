from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import datetime, timezone
from typing import Any

import cv2
import numpy as np
import pytest

from sam3edge.core.errors import FrameError, SettingsError
from sam3edge.core.ports import EndOfSource
from sam3edge.core.types import Frame, RgbImage
from sam3edge.sources.camera.address import Address
from sam3edge.sources.camera.capture import Capture, OpenCvCapture
from sam3edge.sources.camera.reader import Newest, Picture
from sam3edge.sources.camera.source import CameraOptions, CameraSource, open_camera
from sam3edge.sources.camera.video import VideoSource
from support.mjpeg import MjpegServer, mjpeg_server

PATIENCE = 20.0
SOON = {"reconnect_shortest": 0.02, "reconnect_longest": 0.1}


class FakeCapture:
    """A camera that gives numbered pictures whenever it is let."""

    fps = 0.0
    position = 0.0

    def __init__(self, grab: Callable[[int], bool], damaged: Callable[[int], bool] = lambda number: False) -> None:
        self.number = -1
        self.released = threading.Event()
        self._grab = grab
        self._damaged = damaged

    def grab(self) -> bool:
        self.number += 1
        return self._grab(self.number)

    def retrieve(self) -> RgbImage | None:
        if self._damaged(self.number):
            return None
        image = np.full((4, 6, 3), self.number % 256, np.uint8)
        image[..., 1] = self.number // 256
        return image

    def release(self) -> None:
        self.released.set()


def number_of(frame: Frame) -> int:
    return int(frame.image[0, 0, 0]) + 256 * int(frame.image[0, 0, 1])


def every(seconds: float) -> Callable[[int], bool]:
    def grab(number: int) -> bool:
        time.sleep(seconds)
        return True

    return grab


def camera(opener: Callable[[], Capture | None], **changes: Any) -> CameraSource:
    options: dict[str, Any] = {"open_timeout": 0.2, "read_timeout": 0.2, **SOON, **changes}
    return CameraSource(CameraOptions("7", **options), Address(cv2.CAP_V4L2, 7, "7"), opener)


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.005)


def next_frame(source: CameraSource | VideoSource) -> Frame:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        frame = source.next(0.2)
        if frame is not None:
            return frame
    raise AssertionError("no frame came")


@pytest.fixture
def server() -> Iterator[MjpegServer]:
    with mjpeg_server() as running:
        yield running


def connect(url: str, **changes: Any) -> CameraSource:
    options: dict[str, Any] = {"open_timeout": 5.0, "read_timeout": 0.5, **SOON, **changes}
    source = open_camera(CameraOptions(url, **options))
    assert isinstance(source, CameraSource)
    return source


def test_the_newest_frame_is_delivered_and_the_others_are_counted() -> None:
    capture = FakeCapture(every(0.005))
    with closing(camera(lambda: capture, read_timeout=PATIENCE)) as source:
        first = next_frame(source)
        wait_until(lambda: capture.number > number_of(first) + 10)
        being_grabbed = capture.number
        second = next_frame(source)
        assert number_of(second) >= being_grabbed - 1
        skipped = number_of(second) - number_of(first) - 1
        assert skipped > 5
        assert source.dropped >= skipped
        assert first.captured_at < second.captured_at <= datetime.now(timezone.utc)
        assert (first.name, second.name) == ("00000000", "00000001")
        assert first.id[:24] == second.id[:24]
        assert len(first.id) == 32
        assert first.digest != second.digest
        assert source.connected


def test_sources_have_different_ids_after_a_restart() -> None:
    ids = set()
    for _ in range(2):
        with closing(camera(lambda: FakeCapture(every(0.005)))) as source:
            ids.add(next_frame(source).id)
    assert len(ids) == 2


def test_the_frame_rate_is_capped() -> None:
    with closing(camera(lambda: FakeCapture(every(0.005)), max_fps=20)) as source:
        next_frame(source)
        begin = time.monotonic()
        for _ in range(10):
            next_frame(source)
        assert time.monotonic() - begin > 9 / 20
        wait_until(lambda: source.dropped > 10)


def test_the_cap_holds_on_average_when_frames_come_on_a_coarser_grid() -> None:
    newest = Newest(0.1)
    picture = Picture(np.zeros((1, 1, 3), np.uint8), datetime.now(timezone.utc))
    clock = [0.0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sam3edge.sources.camera.reader.time.monotonic", lambda: clock[0])
        taken = 0
        for number in range(300):
            clock[0] = number / 30 + 0.001 * (number % 3)
            if newest.wants():
                newest.put(picture)
                taken += newest.take(0) is not None
    assert 95 <= taken <= 102
    assert newest.dropped == 300 - taken


def test_damaged_pictures_are_skipped() -> None:
    with closing(camera(lambda: FakeCapture(every(0.005), damaged=lambda number: number % 2 == 0))) as source:
        assert all(int(next_frame(source).image[0, 0, 0]) % 2 == 1 for _ in range(3))


def test_a_camera_that_gives_only_damaged_pictures_is_opened_again() -> None:
    captures = [FakeCapture(every(0.002)), FakeCapture(every(0.002), damaged=lambda number: True)]
    with closing(camera(lambda: captures.pop())) as source:
        next_frame(source)
        assert not captures


def test_a_camera_that_is_lost_is_opened_again(caplog: pytest.LogCaptureFixture) -> None:
    lost = FakeCapture(lambda number: number < 3)
    attempts: list[Capture | None] = [FakeCapture(every(0.005)), None, None, lost]
    with closing(camera(lambda: attempts.pop())) as source:
        assert lost.released.wait(PATIENCE)
        end = time.monotonic() + PATIENCE
        while attempts and time.monotonic() < end:
            source.next(0.05)
        next_frame(source)
    assert "was lost" in caplog.text
    assert caplog.text.count("cannot be opened") == 2


def test_a_camera_that_hangs_is_opened_anew_and_released_when_it_returns(caplog: pytest.LogCaptureFixture) -> None:
    come_back = threading.Event()

    def hang(number: int) -> bool:
        return come_back.wait(PATIENCE)

    hanging, good = FakeCapture(hang), FakeCapture(every(0.005))
    captures: list[Capture] = [good, hanging]
    with closing(camera(lambda: captures.pop())) as source:
        next_frame(source)
        assert "hangs" in caplog.text
        assert not hanging.released.is_set()
        come_back.set()
        assert hanging.released.wait(PATIENCE)
    assert good.released.wait(PATIENCE)


def test_a_camera_that_hangs_for_good_does_not_gather_threads_without_end() -> None:
    come_back = threading.Event()
    opened = []

    def opener() -> Capture | None:
        opened.append(1)
        come_back.wait(PATIENCE)
        return None

    source = camera(opener, open_timeout=0.02)
    wait_until(lambda: source.next(0.1) is None and len(opened) >= 2)
    for _ in range(10):
        assert source.next(0.1) is None
    assert len(opened) <= 4
    come_back.set()
    source.close()


def test_next_returns_in_time_and_ends_after_close() -> None:
    source = camera(lambda: None)
    for timeout in (0.0, 0.05, 0.7):
        begin = time.monotonic()
        assert source.next(timeout) is None
        assert timeout <= time.monotonic() - begin < timeout + PATIENCE
    assert not source.connected
    source.close()
    source.close()
    with pytest.raises(EndOfSource):
        source.next(0.1)


def test_done_and_reject_do_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with closing(camera(lambda: FakeCapture(every(0.005)))) as source:
        frame = next_frame(source)
        source.done(frame)
        source.reject(FrameError("too dark", frame_id=frame.id, name=frame.name))
        assert "too dark" in caplog.text
        next_frame(source)


def test_a_real_mjpeg_stream(server: MjpegServer) -> None:
    with closing(connect(server.url, source_id="yard")) as source:
        frames = [next_frame(source) for _ in range(3)]
    levels = [int(frame.image[20, 20, 0]) for frame in frames]
    assert all(frame.image.shape == (48, 64, 3) and frame.source == "yard" for frame in frames)
    assert all(min(level % 10, -level % 10) <= 2 for level in levels)


def test_a_stream_that_ends_is_opened_again(server: MjpegServer) -> None:
    server.pictures = 3
    with closing(connect(server.url)) as source:
        end = time.monotonic() + PATIENCE
        while server.connections < 3 and time.monotonic() < end:
            source.next(0.05)
        next_frame(source)
    assert server.connections >= 3


def test_a_stream_that_falls_silent_is_opened_again(server: MjpegServer) -> None:
    with closing(connect(server.url)) as source:
        next_frame(source)
        server.hanging.set()
        end = time.monotonic() + PATIENCE
        while source.connected and time.monotonic() < end:
            source.next(0.05)
        assert not source.connected
        server.hanging.clear()
        next_frame(source)
    assert server.connections >= 2


def test_a_camera_that_is_switched_off_and_on() -> None:
    first = MjpegServer()
    source = connect(first.url.replace("//", "//user:hunter2@") + "?pwd=hunter2")
    with closing(source):
        next_frame(source)
        first.close()
        end = time.monotonic() + PATIENCE
        while source.connected and time.monotonic() < end:
            source.next(0.05)
        assert not source.connected
        second = MjpegServer(first.port)
        try:
            end = time.monotonic() + PATIENCE
            while not source.connected and time.monotonic() < end:
                source.next(0.05)
            next_frame(source)
        finally:
            source.close()
            second.close()


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
def test_passwords_do_not_reach_the_logs(
    scheme: str, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("DEBUG")
    with closing(connect(f"{scheme}://user:hunter2@127.0.0.1:1/x?pwd=hunter2", source_id="yard")) as source:
        assert source.next(0.5) is None
        source.reject(FrameError("bad", frame_id="0", name="0"))
    written = capfd.readouterr()
    assert "cannot be opened" in caplog.text
    for text in (caplog.text, written.out, written.err, repr(source)):
        assert "hunter2" not in text


@pytest.mark.skipif(cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER), reason="this OpenCV has GStreamer")
def test_a_pipeline_needs_an_opencv_with_gstreamer() -> None:
    with pytest.raises(SettingsError, match="install the OpenCV of the platform"):
        open_camera(CameraOptions("gst:videotestsrc ! videoconvert ! appsink"))


def test_a_device_that_is_not_there_is_no_error() -> None:
    with closing(open_camera(CameraOptions("63"))) as source:
        assert source.next(0.1) is None


@pytest.mark.parametrize("channels", [None, 1, 3, 4])
def test_pictures_of_any_number_of_channels_become_rgb(channels: int | None) -> None:
    class Stub:
        def retrieve(self) -> tuple[bool, RgbImage]:
            red = np.array([0, 0, 200, 255], np.uint8)
            return True, np.full((2, 3), 200, np.uint8) if channels is None else np.tile(
                red[-channels or 4 :][:channels], (2, 3, 1)
            )

    if channels is None or channels == 1:
        expected = [200, 200, 200] if channels is None else [255, 255, 255]
    elif channels == 3:
        expected = [255, 200, 0]
    else:
        expected = [200, 0, 0]
    image = OpenCvCapture(Stub()).retrieve()  # type: ignore[arg-type]
    assert image is not None
    assert image[0, 0].tolist() == expected


def test_pictures_of_another_depth_are_damaged() -> None:
    class Stub:
        def retrieve(self) -> tuple[bool, np.ndarray[tuple[int, int], np.dtype[np.uint16]]]:
            return True, np.zeros((2, 2), np.uint16)

    assert OpenCvCapture(Stub()).retrieve() is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_fps", -1.0),
        ("open_timeout", 0.0),
        ("read_timeout", -1.0),
        ("reconnect_shortest", 0.0),
        ("reconnect_longest", 0.0),
    ],
)
def test_refused_options(name: str, value: float) -> None:
    with pytest.raises(SettingsError, match=name):
        CameraOptions("0", **{name: value})  # type: ignore[arg-type]
