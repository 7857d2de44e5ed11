from __future__ import annotations

import os
from contextlib import closing
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

from sam3edge.core.errors import SettingsError
from sam3edge.core.ports import EndOfSource
from sam3edge.core.types import Frame, RgbImage
from sam3edge.sources.camera.source import CameraOptions, open_camera
from sam3edge.sources.camera.video import PacedVideoSource, VideoSource
from support.media import write_video


class Clock:
    """Stands in for the module ``time``: it moves only when somebody sleeps."""

    def __init__(self) -> None:
        self._now = 100.0

    def monotonic(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        self._now += seconds


def number_of(frame: Frame) -> int:
    return int(frame.image[10, 10, 0]) // 10


def play(path: Path, *, realtime: bool = False, max_fps: float = 0.0) -> VideoSource:
    source = open_camera(CameraOptions(str(path), source_id="film", realtime=realtime, max_fps=max_fps))
    assert isinstance(source, VideoSource)
    return source


def watch(source: VideoSource, timeout: float) -> list[Frame]:
    """All frames to the end."""
    frames = []
    try:
        while True:
            frame = source.next(timeout)
            if frame is not None:
                frames.append(frame)
    except EndOfSource:
        return frames


@pytest.mark.parametrize("name", ["x.mkv", "x.avi"])
def test_every_frame_comes_in_order_then_the_source_ends(tmp_path: Path, name: str) -> None:
    path = write_video(tmp_path / name)
    os.utime(path, (1_600_000_000, 1_600_000_000))
    begin = datetime.fromtimestamp(1_600_000_000, timezone.utc)
    with closing(play(path)) as source:
        frames = watch(source, 0.0)
        with pytest.raises(EndOfSource):
            source.next(1.0)
    assert [number_of(frame) for frame in frames] == list(range(20))
    assert [frame.captured_at for frame in frames] == [begin + timedelta(seconds=n / 25) for n in range(20)]
    assert len({frame.id for frame in frames}) == 20
    assert source.dropped == 0


def test_a_paced_file_takes_its_time(tmp_path: Path) -> None:
    path = write_video(tmp_path / "x.mkv", frames=15, fps=25)
    with closing(play(path, realtime=True)) as source:
        begin = datetime.now(timezone.utc)
        frames = watch(source, 0.01)
        assert datetime.now(timezone.utc) - begin >= timedelta(seconds=14 / 25)
    numbers = [number_of(frame) for frame in frames]
    assert numbers == sorted(set(numbers))
    assert len(numbers) + source.dropped == 15
    assert all(frame.captured_at - begin >= timedelta(seconds=number_of(frame) / 25 - 0.01) for frame in frames)


def test_who_comes_late_to_a_paced_file_misses_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_video(tmp_path / "x.mkv", frames=24, fps=25)
    clock = Clock()
    monkeypatch.setattr("sam3edge.sources.camera.video.time", clock)
    with closing(play(path, realtime=True)) as source:
        assert source.next(1.0) is not None
        clock.sleep(0.4)
        frame = source.next(1.0)
        assert frame is not None
        assert number_of(frame) >= 9
        assert source.dropped == number_of(frame) - 1


def test_the_rate_of_a_paced_file_is_capped(tmp_path: Path) -> None:
    path = write_video(tmp_path / "x.mkv", frames=24, fps=40)
    with closing(play(path, realtime=True, max_fps=10)) as source:
        assert 1 <= len(watch(source, 0.2)) <= 8


def test_what_is_no_video_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    path.write_text("no video\n" * 100)
    with pytest.raises(SettingsError, match="not a video"):
        open_camera(CameraOptions(str(path)))
    with pytest.raises(SettingsError, match="no video file"):
        open_camera(CameraOptions(str(tmp_path / "missing.mp4")))


def test_a_film_that_is_cut_short_ends_early(tmp_path: Path) -> None:
    path = write_video(tmp_path / "x.mkv", frames=20, height=120, width=160)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with closing(play(path)) as source:
        numbers = [number_of(frame) for frame in watch(source, 1.0)]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) < 20


class WithoutPositions:
    """A capture of a format that knows neither rate nor positions, with every third frame damaged."""

    fps = 0.0
    position = 0.0

    def __init__(self) -> None:
        self.grabbed = 0
        self.released = 0

    def grab(self) -> bool:
        self.grabbed += 1
        return self.grabbed <= 9

    def retrieve(self) -> RgbImage | None:
        return None if self.grabbed % 3 == 0 else np.zeros((2, 2, 3), np.uint8)

    def release(self) -> None:
        self.released += 1


@pytest.mark.parametrize("paced", [False, True])
def test_damaged_frames_are_counted_and_missing_positions_are_made_up(tmp_path: Path, paced: bool) -> None:
    (tmp_path / "x").touch()
    capture = WithoutPositions()
    source = (
        PacedVideoSource(tmp_path / "x", capture, "film", 0.0)
        if paced
        else VideoSource(tmp_path / "x", capture, "film")
    )
    frames = watch(source, 0.2)
    assert len(frames) + source.dropped == 9
    if not paced:
        assert len(frames) == 6
        assert frames[-1].captured_at - frames[0].captured_at == timedelta(seconds=7 / 25)
    source.close()
    assert capture.released == 1
