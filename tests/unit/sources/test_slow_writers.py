"""Writers that take their time: a camera that uploads over a slow link never loses its picture."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sam3edge.core.errors import FrameError
from sam3edge.sources.folder.source import FolderSource
from support import media
from support.folders import opened

PICTURE = media.encode(media.noise(120, 160, 7), ".jpg")
PIECES = 5

WRITER = """
import sys, time
from pathlib import Path
path, manner, pause, data = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3]), sys.stdin.buffer.read()
pieces = [data[i * len(data) // {n} : (i + 1) * len(data) // {n}] for i in range({n})]
target = path.with_suffix(".upload") if manner == "rename" else path
if manner == "reopen":
    for piece in pieces:
        with target.open("ab") as file:
            file.write(piece)
        time.sleep(pause)
else:
    with target.open("wb") as file:
        if manner == "preallocate":
            file.truncate(len(data))
        for piece in pieces:
            file.write(piece)
            file.flush()
            time.sleep(pause)
if manner == "rename":
    target.rename(path)
""".replace("{n}", str(PIECES))


def write(path: Path, manner: str, pause: float) -> subprocess.Popen[bytes]:
    """A process of its own that writes the picture slowly."""
    command = [sys.executable, "-c", WRITER, str(path), manner, str(pause)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.write(PICTURE)
    process.stdin.close()
    return process


def collect(source: FolderSource, until: Callable[[], bool]) -> tuple[list[str], list[str]]:
    """Names of frames, and reasons of what was refused."""
    frames, reasons = [], []
    deadline = time.monotonic() + 60
    while not until() and time.monotonic() < deadline:
        try:
            frame = source.next(0.05)
        except FrameError as error:
            source.reject(error)
            reasons.append(str(error))
        else:
            if frame is not None:
                source.done(frame)
                frames.append(frame.name)
    return frames, reasons


@pytest.mark.parametrize("events", [True, False], ids=["local disk", "network share"])
@pytest.mark.parametrize("manner", ["pause", "reopen", "rename", "preallocate"])
def test_a_slow_writer_keeps_its_picture(
    tmp_path: Path, manner: str, events: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each pause is many times what a file needs to settle; whether it is open meanwhile or not."""
    if not events:
        monkeypatch.setattr("sam3edge.sources.folder.watcher.FolderWatch._observe", lambda self: None)
    with opened(tmp_path, unfinished_seconds=60.0) as source:
        process = write(tmp_path / "in" / "slow.jpg", manner, 0.3)
        seen: list[str] = []

        def finished() -> bool:
            return process.poll() is not None and bool(seen)

        deadline = time.monotonic() + 60
        while not finished() and time.monotonic() < deadline:
            frames, reasons = collect_once(source)
            seen += frames
            assert reasons == []
        assert process.wait(30) == 0
    assert seen == ["slow.jpg"]
    assert not list((tmp_path / "quarantine").iterdir())
    assert (tmp_path / "in" / "slow.jpg").read_bytes() == PICTURE


def collect_once(source: FolderSource) -> tuple[list[str], list[str]]:
    begun = time.monotonic()
    return collect(source, lambda: time.monotonic() > begun + 0.1)


def test_what_stays_cut_short_is_quarantined_by_copy_and_is_a_frame_when_it_is_completed(tmp_path: Path) -> None:
    path = tmp_path / "in" / "half.jpg"
    with opened(tmp_path, unfinished_seconds=0.3) as source:
        path.write_bytes(PICTURE[: len(PICTURE) // 2])
        reasons: list[str] = []
        while not reasons:
            _, more = collect_once(source)
            reasons += more
        assert "cut short" in reasons[0]
        assert path.exists()  # never under a writer's hands
        assert (tmp_path / "quarantine" / "half.jpg").read_bytes() == path.read_bytes()
        frames, reasons = collect_once(source)
        assert (frames, reasons) == ([], [])  # once
        with path.open("ab") as file:
            file.write(PICTURE[len(PICTURE) // 2 :])
        frames = []
        while not frames:
            frames, reasons = collect_once(source)
            assert reasons == []
        assert frames == ["half.jpg"]


def test_after_a_restart_it_is_not_reported_again(tmp_path: Path) -> None:
    path = tmp_path / "in" / "half.jpg"
    with opened(tmp_path, unfinished_seconds=0.2) as source:
        path.write_bytes(PICTURE[:1000])
        reasons: list[str] = []
        while not reasons:
            reasons += collect_once(source)[1]
    with opened(tmp_path, unfinished_seconds=0.2) as source:
        begun = time.monotonic()
        assert collect(source, lambda: time.monotonic() > begun + 1.0) == ([], [])
    assert path.exists()


def test_it_is_counted_as_waiting_and_holds_nobody_up(tmp_path: Path) -> None:
    with opened(tmp_path, unfinished_seconds=60.0) as source:
        (tmp_path / "in" / "half.jpg").write_bytes(PICTURE[:1000])
        while source.unfinished == 0:
            collect_once(source)
        assert source.backlog >= 1
        (tmp_path / "in" / "whole.jpg").write_bytes(PICTURE)
        frames: list[str] = []
        while not frames:
            frames, reasons = collect_once(source)
            assert reasons == []
        assert frames == ["whole.jpg"]
        (tmp_path / "in" / "half.jpg").unlink()
        while source.unfinished:
            collect_once(source)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_becomes_readable_a_moment_later_is_a_frame(tmp_path: Path) -> None:
    becomes_readable(tmp_path)


def becomes_readable(root: Path) -> None:
    path = root / "in" / "locked.jpg"
    with opened(root, unfinished_seconds=60.0) as source:
        path.write_bytes(PICTURE)
        path.chmod(0)
        collect_once(source)
        path.chmod(0o644)
        frames: list[str] = []
        while not frames:
            frames, reasons = collect_once(source)
            assert reasons == []


def test_an_open_file_is_not_read_even_if_it_looks_whole(tmp_path: Path) -> None:
    with opened(tmp_path, unfinished_seconds=60.0) as source, (tmp_path / "in" / "open.jpg").open("wb") as file:
        file.write(PICTURE)
        file.flush()
        begun = time.monotonic()
        assert collect(source, lambda: time.monotonic() > begun + 1.0) == ([], [])
        file.close()
        frames: list[str] = []
        while not frames:
            frames, _ = collect_once(source)
        assert frames == ["open.jpg"]
