"""Files that are no images, folders that fail: none of it stops the source."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from watchdog.observers.inotify import InotifyObserver

from sam3edge.core.errors import FrameError
from sam3edge.core.types import Frame
from sam3edge.images.decoding import DecodeOptions
from sam3edge.sources.folder.disposition import Delete, Keep, MoveTo
from sam3edge.sources.folder.source import FolderSource
from support import media
from support.folders import (
    finish,
    grow_old,
    next_error,
    next_frame,
    nothing_comes,
    opened,
    picture,
    put,
    report_of,
    wait_until,
)


def cut_short(extension: str) -> bytes:
    data = media.encode(media.noise(), extension)
    return data[: len(data) * 2 // 3]


BAD_FILES = {
    "empty.jpg": b"",
    "text.jpg": b"Dear reader,\n",
    "video.png": b"\0\0\0\x18ftypmp42",
    **{f"cut{extension}": cut_short(extension) for extension in media.EXTENSIONS},
}


@pytest.mark.parametrize("age", [0.0, 100.0])
def test_bad_files_go_to_quarantine_with_a_report_and_the_others_are_delivered(tmp_path: Path, age: float) -> None:
    for name, content in BAD_FILES.items():
        put(tmp_path / "in" / name).write_bytes(content)
        grow_old(tmp_path / "in" / name, age)
    put(tmp_path / "in/good.png", age=age / 2)
    with opened(tmp_path) as source:
        frames, errors = take_all(source, 1 + len(BAD_FILES))
        assert [frame.name for frame in frames] == ["good.png"]
        assert {error.name for error in errors} == set(BAD_FILES)
        for error in errors:
            stored = tmp_path / "quarantine" / error.name
            assert stored.read_bytes() == BAD_FILES[error.name]
            report = report_of(stored)
            assert (report["frame_id"], report["reason"]) == (error.frame_id, str(error))
            assert (report["name"], report["source"]) == (error.name, "folder")
            assert report["size"] == len(BAD_FILES[error.name])
        assert nothing_comes(source)
    with opened(tmp_path) as source:
        assert nothing_comes(source)


def take_all(source: FolderSource, count: int) -> tuple[list[Frame], list[FrameError]]:
    """So many frames and errors, finished or rejected, in whichever order they come."""
    frames: list[Frame] = []
    errors: list[FrameError] = []
    while len(frames) + len(errors) < count:
        try:
            frame = next_frame(source)
            frames.append(frame)
            source.done(frame)
        except FrameError as error:
            errors.append(error)
            source.reject(error)
    return frames, errors


def test_a_bad_file_that_arrives_is_given_time_to_become_good(tmp_path: Path) -> None:
    with opened(tmp_path, settle_seconds=0.2) as source:
        begin = time.monotonic()
        (tmp_path / "in/x.png").write_bytes(b"no image")
        error = next_error(source)
        assert time.monotonic() - begin >= 0.2
        source.reject(error)


def test_a_bad_file_is_raised_once_and_has_the_same_id_after_a_restart(tmp_path: Path) -> None:
    put(tmp_path / "in/x.png", age=10).write_bytes(b"no image")
    with opened(tmp_path) as source:
        first = next_error(source)
        assert nothing_comes(source)
    with opened(tmp_path) as source:
        assert next_error(source).frame_id == first.frame_id


def test_oversized_files_are_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "in/x.png")
    really_open = os.open

    def refuse_images(path: str | os.PathLike[str], *arguments: int) -> int:
        assert Path(path).suffix != ".png", "it was read"
        return really_open(path, *arguments)

    monkeypatch.setattr(os, "open", refuse_images)
    with opened(tmp_path, max_bytes=20) as source:
        error = next_error(source)
        assert "max_bytes" in str(error)
        source.reject(error)
        assert report_of(tmp_path / "quarantine/x.png")["frame_id"] == error.frame_id


def test_images_over_the_pixel_limit_are_refused(tmp_path: Path) -> None:
    put(tmp_path / "in/x.png")
    with opened(tmp_path, decode=DecodeOptions(max_pixels=63)) as source:
        assert "max_pixels" in str(next_error(source))


def test_a_frame_that_the_engine_refuses_goes_to_quarantine(tmp_path: Path) -> None:
    put(tmp_path / "in/x.png")
    with opened(tmp_path, on_processed=Delete()) as source:
        frame = next_frame(source)
        source.reject(FrameError("too odd", frame_id=frame.id, name=frame.name))
        source.reject(FrameError("too odd", frame_id=frame.id, name=frame.name))
        source.reject(FrameError("never heard of", frame_id="0" * 32, name="?"))
        assert report_of(tmp_path / "quarantine/x.png")["reason"] == "too odd"


def test_files_of_the_same_name_do_not_replace_each_other_in_quarantine(tmp_path: Path) -> None:
    with opened(tmp_path) as source:
        for content in (b"one", b"two", b"three"):
            (tmp_path / "in/x.png").write_bytes(content)
            source.reject(next_error(source))
    stored = [path for path in (tmp_path / "quarantine").iterdir() if path.suffix == ".png"]
    assert sorted(path.read_bytes() for path in stored) == [b"one", b"three", b"two"]
    assert len({report_of(path)["frame_id"] for path in stored}) == 3


def test_folders_and_pipes_with_image_names_are_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "in/folder.jpg").mkdir(parents=True)
    os.mkfifo(tmp_path / "in/pipe.jpg")
    with opened(tmp_path, recursive=True) as source:
        (tmp_path / "in/later.jpg").mkdir()
        os.mkfifo(tmp_path / "in/.later")
        (tmp_path / "in/.later").rename(tmp_path / "in/renamed.jpg")
        put(tmp_path / "in/good.png")
        assert finish(source, 1) == ["good.png"]
        assert nothing_comes(source)
    assert "renamed.jpg" in caplog.text


def test_a_file_deleted_before_it_was_read_is_skipped(tmp_path: Path) -> None:
    put(tmp_path / "in/0.png", age=10)
    with opened(tmp_path, rescan_seconds=30.0) as source:
        put(tmp_path / "in/1.png")
        time.sleep(0.1)
        (tmp_path / "in/0.png").unlink()
        (tmp_path / "in/1.png").unlink()
        put(tmp_path / "in/2.png")
        assert finish(source, 1) == ["2.png"]
        assert nothing_comes(source)
    assert not list((tmp_path / "quarantine").iterdir())


def test_a_file_deleted_while_it_was_worked_on(tmp_path: Path) -> None:
    put(tmp_path / "in/x.png")
    with opened(tmp_path, on_processed=MoveTo(tmp_path / "done")) as source:
        frame = next_frame(source)
        (tmp_path / "in/x.png").unlink()
        source.done(frame)
        assert nothing_comes(source)


@pytest.fixture
def ordinary_user() -> Iterator[Path]:
    """A folder of a user for whom permissions count, which they do not for root."""
    with TemporaryDirectory() as folder:
        root = Path(folder)
        if os.geteuid() != 0:
            yield root
            return
        os.chown(root, 65534, 65534)
        os.setegid(65534)
        os.seteuid(65534)
        try:
            yield root
        finally:
            os.seteuid(0)
            os.setegid(0)


def test_a_file_that_may_not_be_read_goes_to_quarantine(ordinary_user: Path) -> None:
    put(ordinary_user / "in/x.png").chmod(0)
    with opened(ordinary_user) as source:
        put(ordinary_user / "in/good.png")
        frames, (error,) = take_all(source, 2)
        assert len(frames) == 1
        assert "may not be read" in str(error)
    assert (ordinary_user / "quarantine/x.png").exists()
    assert report_of(ordinary_user / "quarantine/x.png")["frame_id"] == error.frame_id


def test_a_sub_folder_that_may_not_be_read_hides_its_files_but_forgets_none(ordinary_user: Path) -> None:
    put(ordinary_user / "in/sub/x.png", 1, age=10)
    put(ordinary_user / "in/y.png", 2, age=10)
    with opened(ordinary_user, recursive=True) as source:
        finish(source, 2)
        (ordinary_user / "in/sub").chmod(0)
        assert nothing_comes(source)
        (ordinary_user / "in/sub").chmod(0o700)
        assert nothing_comes(source)
    (ordinary_user / "in/sub").chmod(0)
    with opened(ordinary_user, recursive=True) as source:
        (ordinary_user / "in/sub").chmod(0o700)
        assert nothing_comes(source)


@pytest.mark.parametrize("on_processed", ["move", "delete", "reject"])
def test_what_cannot_be_put_away_is_not_repeated_and_is_put_away_later(
    ordinary_user: Path, on_processed: str, caplog: pytest.LogCaptureFixture
) -> None:
    root = ordinary_user
    changes = {"on_processed": MoveTo(root / "done") if on_processed == "move" else Delete()}
    path = put(root / "in/x.png", 1, age=10)
    with opened(root, **changes) as source:
        frame = next_frame(source)
        (root / "in").chmod(0o500)
        if on_processed == "reject":
            source.reject(FrameError("bad", frame_id=frame.id, name=frame.name))
        else:
            source.done(frame)
        assert path.exists()
        assert "it is not lost and is tried again" in caplog.text
        assert nothing_comes(source)
    with opened(root, **changes) as source:
        assert nothing_comes(source)
        (root / "in").chmod(0o700)
        wait_until(lambda: not path.exists(), source)
        put(root / "in/y.png", 2)
        assert finish(source, 1) == ["y.png"]


def test_a_full_disk_where_files_are_moved_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over file systems: the copy is not left half written, the original stays, and it is moved when there is room."""

    def other_file_system(self: Path, target: Path) -> Path:
        if self.name.startswith("."):
            return original(self, target)
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    original = Path.replace
    monkeypatch.setattr(Path, "replace", other_file_system)
    path = put(tmp_path / "in/x.png", 1, age=10)
    content, status = path.read_bytes(), path.stat()
    with opened(tmp_path, on_processed=MoveTo(tmp_path / "done")) as source:
        frame = next_frame(source)
        with monkeypatch.context() as context:
            context.setattr(shutil, "copyfileobj", full)
            source.done(frame)
            assert path.exists()
            assert not list((tmp_path / "done").iterdir())
            assert nothing_comes(source)
        wait_until(lambda: not path.exists(), source)
    moved = tmp_path / "done/x.png"
    assert moved.read_bytes() == content
    assert moved.stat().st_mtime_ns == status.st_mtime_ns


def test_a_journal_that_cannot_be_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for n in range(3):
        put(tmp_path / f"in/{n}.png", n, age=10)
    with opened(tmp_path, on_processed=Keep()) as source:
        connection = source._journal._connection
        connection.execute("PRAGMA query_only = ON")
        assert finish(source, 2) == ["0.png", "1.png"]
        assert "cannot be written" in caplog.text
        (tmp_path / "in/0.png").rename(tmp_path / "in/.0.png")
        (tmp_path / "in/.0.png").rename(tmp_path / "in/0.png")
        assert next_frame(source).name == "2.png"
        assert nothing_comes(source)
        connection.execute("PRAGMA query_only = OFF")
        put(tmp_path / "in/3.png", 3)
        assert finish(source, 1) == ["3.png"]
    with opened(tmp_path, on_processed=Keep()) as source:
        assert finish(source, 1) == ["2.png"]
        assert nothing_comes(source)


def test_a_damaged_journal_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(tmp_path / "in/x.png", 1, age=10)
    with opened(tmp_path) as source:
        finish(source, 1)
    (tmp_path / "journal.sqlite").write_bytes(b"this was a journal " * 100)
    with opened(tmp_path) as source:
        assert finish(source, 1) == ["x.png"]
    assert (tmp_path / "journal.sqlite.damaged").exists()
    assert "is damaged" in caplog.text
    with sqlite3.connect(tmp_path / "journal.sqlite") as connection:
        assert connection.execute("SELECT count(*) FROM settled").fetchone() == (1,)
    connection.close()


def test_a_disk_that_fails_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "in/x.png", 1, age=10)
    failures = [OSError(errno.EIO, "Input/output error"), OSError(errno.ESTALE, "Stale file handle")]
    original = os.open

    def fails(*arguments: object, **named: object) -> int:
        if failures:
            raise failures.pop()
        return original(*arguments, **named)  # type: ignore[arg-type]

    with opened(tmp_path) as source:
        monkeypatch.setattr(os, "open", fails)
        assert finish(source, 1) == ["x.png"]
    assert not failures


def test_without_inotify_the_folder_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def no_watch_to_spare(self: InotifyObserver) -> None:
        raise OSError(errno.ENOSPC, "inotify watch limit reached")

    monkeypatch.setattr(InotifyObserver, "start", no_watch_to_spare)
    with opened(tmp_path, settle_seconds=0.4) as source:
        with (tmp_path / "in/x.png").open("wb") as file:
            for byte in (picture(1)[n : n + 40] for n in range(0, len(picture(1)), 40)):
                file.write(byte)
                file.flush()
                assert source.next(0.05) is None
        assert finish(source, 1) == ["x.png"]
    assert "cannot be watched" in caplog.text


def test_a_share_that_is_taken_away_and_comes_back(tmp_path: Path) -> None:
    put(tmp_path / "in/x.png", 1, age=10)
    with opened(tmp_path) as source:
        finish(source, 1)
        (tmp_path / "in").rename(tmp_path / "away")
        assert nothing_comes(source)
        (tmp_path / "in").mkdir()
        assert nothing_comes(source)
        (tmp_path / "in").rmdir()
        (tmp_path / "away").rename(tmp_path / "in")
        assert nothing_comes(source)
        put(tmp_path / "in/y.png", 2)
        assert finish(source, 1) == ["y.png"]
