"""What every ``Source`` does: folders, cameras, video files and the fake."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

from sam3edge.core.errors import FrameError
from sam3edge.core.ports import EndOfSource, Source
from sam3edge.core.types import Frame
from sam3edge.sources.camera.frames import FrameSequence
from sam3edge.sources.camera.source import CameraOptions, open_camera
from sam3edge.sources.fake import ListSource
from sam3edge.sources.folder.source import FolderSource
from support import media
from support.folders import options
from support.mjpeg import mjpeg_server

PATIENCE = 20.0
RED = (220, 20, 20)
COUNT = 4


@dataclass(frozen=True)
class Case:
    """A source of at least ``COUNT`` red frames.

    Attributes:
        open: opens it once.
        source_id: what its frames are to say.
        ends: whether it has exactly ``COUNT`` frames and then ends.
    """

    open: Callable[[], Source]
    source_id: str
    ends: bool


def folder(tmp_path: Path, stack: ExitStack) -> Case:
    (tmp_path / "in").mkdir()
    for number in range(COUNT):
        data = media.encode(np.full((48, 64, 3), RED, np.uint8), ".png")
        (tmp_path / f"in/{number}.png").write_bytes(data)
    return Case(lambda: FolderSource(options(tmp_path, source_id="yard")), "yard", ends=False)


def video(tmp_path: Path, stack: ExitStack) -> Case:
    path = media.write_video(tmp_path / "x.mkv", COUNT, colour=RED)
    return Case(lambda: open_camera(CameraOptions(str(path), "film")), "film", ends=True)


def paced_video(tmp_path: Path, stack: ExitStack) -> Case:
    path = media.write_video(tmp_path / "x.mkv", 50, fps=20, colour=RED)
    return Case(lambda: open_camera(CameraOptions(str(path), "film", realtime=True)), "film", ends=False)


def mjpeg(tmp_path: Path, stack: ExitStack) -> Case:
    server = stack.enter_context(mjpeg_server(RED))
    return Case(lambda: open_camera(CameraOptions(server.url, "gate")), "gate", ends=False)


def fake(tmp_path: Path, stack: ExitStack) -> Case:
    frames = FrameSequence("fake")
    image = np.full((48, 64, 3), RED, np.uint8)
    items = [frames.frame(image, datetime(2024, 1, 1, tzinfo=timezone.utc)) for _ in range(COUNT)]
    return Case(lambda: ListSource(items), "fake", ends=True)


@pytest.fixture(params=[folder, video, paced_video, mjpeg, fake], ids=lambda make: make.__name__)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Case]:
    with ExitStack() as stack:
        yield request.param(tmp_path, stack)


@pytest.fixture
def source(case: Case) -> Iterator[Source]:
    with closing(case.open()) as opened:
        yield opened


def next_frame(source: Source) -> Frame:
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        frame = source.next(0.2)
        if frame is not None:
            return frame
    raise AssertionError("no frame came")


def test_frames_are_what_they_claim(source: Source, case: Case) -> None:
    frames = [next_frame(source) for _ in range(COUNT)]
    for frame in frames:
        assert frame.image.dtype == np.uint8
        assert frame.image.shape == (48, 64, 3)
        assert frame.image.flags.c_contiguous
        assert np.abs(frame.image.reshape(-1, 3).mean(axis=0) - RED).max() < 8
        assert frame.captured_at.utcoffset() == timedelta(0)
        assert re.fullmatch(r"sha256:[0-9a-f]{64}", frame.digest)
        assert re.fullmatch(r"[0-9a-f]{32}", frame.id)
        assert frame.source == case.source_id
        assert frame.name
    assert len({frame.id for frame in frames}) == COUNT


def test_frames_that_are_done_do_not_come_again(source: Source) -> None:
    seen = set()
    for _ in range(COUNT):
        frame = next_frame(source)
        assert frame.id not in seen
        seen.add(frame.id)
        source.done(frame)
        source.done(frame)


def test_a_rejected_frame_does_not_stop_the_others(source: Source) -> None:
    first = next_frame(source)
    source.reject(FrameError("not to the engine's liking", frame_id=first.id, name=first.name))
    assert next_frame(source).id != first.id


def test_rejecting_what_was_never_delivered_is_harmless(source: Source) -> None:
    source.reject(FrameError("unknown", frame_id="0" * 32, name="?"))
    next_frame(source)


def test_next_keeps_to_its_timeout(source: Source, case: Case) -> None:
    for timeout in (0.0, 0.1):
        begin = time.monotonic()
        source.next(timeout)
        assert time.monotonic() - begin < timeout + PATIENCE  # it returns; how soon is the machine's business


def test_the_end_is_told_as_often_as_asked(source: Source, case: Case) -> None:
    if not case.ends:
        pytest.skip("does not end by itself in the time of a test")
    for _ in range(COUNT):
        source.done(next_frame(source))
    for _ in range(3):
        with pytest.raises(EndOfSource):
            source.next(0.1)


def test_closing_is_idempotent_and_ends_the_source(source: Source) -> None:
    next_frame(source)
    source.close()
    source.close()
    with pytest.raises(EndOfSource):
        source.next(0.1)


def test_an_unused_source_can_be_closed(case: Case) -> None:
    case.open().close()


@pytest.mark.parametrize("kind", ["folder", "fake"])
def test_what_is_no_image_raises_a_named_error_and_the_others_follow(tmp_path: Path, kind: str) -> None:
    good = next_of(fake(tmp_path, ExitStack()))
    if kind == "folder":
        (tmp_path / "in").mkdir()
        (tmp_path / "in/bad.png").write_bytes(b"no image")
        source: Source = FolderSource(options(tmp_path))
    else:
        source = ListSource([None, FrameError("no image", frame_id="7", name="bad.png"), good])
    with closing(source):
        with pytest.raises(FrameError) as raised:
            next_frame(source)
        assert raised.value.name == "bad.png"
        assert raised.value.frame_id
        source.reject(raised.value)
        if kind == "folder":
            (tmp_path / "in/good.png").write_bytes(media.encode(good.image, ".png"))
        assert np.array_equal(next_frame(source).image, good.image)


def next_of(case: Case) -> Frame:
    with closing(case.open()) as source:
        return next_frame(source)


def test_the_fake_tells_what_was_done_with_it(tmp_path: Path) -> None:
    good = next_of(fake(tmp_path, ExitStack()))
    error = FrameError("no image", frame_id="7", name="bad.png")
    source = ListSource([good])
    source.done(good)
    source.reject(error)
    source.close()
    assert (source.finished, source.rejected, source.closed) == ([good.id], [error], True)
