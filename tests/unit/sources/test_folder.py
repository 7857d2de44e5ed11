from __future__ import annotations

import hashlib
import os
import shutil
import threading
import time
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest

from sam3edge.core.errors import SettingsError
from sam3edge.core.ports import EndOfSource
from sam3edge.images.decoding import DecodeOptions
from sam3edge.images.depth import Depth, DepthOptions
from sam3edge.sources.folder import journal
from sam3edge.sources.folder.disposition import Delete, Keep, MoveTo
from sam3edge.sources.folder.journal import Journal
from sam3edge.sources.folder.source import FolderOptions, FolderSource
from support import media
from support.folders import (
    PATIENCE,
    finish,
    next_frame,
    nothing_comes,
    opened,
    options,
    picture,
    put,
    wait_until,
)


def test_the_backlog_comes_by_time_then_by_name_and_before_new_files(tmp_path: Path) -> None:
    put(tmp_path / "in/young.png", 1, age=10)
    put(tmp_path / "in/old.png", 2, age=100)
    then = time.time_ns() - 50 * 10**9
    for name in ("b.png", "a.png"):
        os.utime(put(tmp_path / "in" / name, 3), ns=(then, then))
    with opened(tmp_path) as source:
        put(tmp_path / "in/0-new.png", 4)
        time.sleep(0.1)
        assert finish(source, 5) == ["old.png", "a.png", "b.png", "young.png", "0-new.png"]


def test_a_frame_says_what_it_is(tmp_path: Path) -> None:
    data = media.encode(media.quarters(), ".png")
    (tmp_path / "in").mkdir()
    path = tmp_path / "in/x.png"
    path.write_bytes(data)
    os.utime(path, ns=(10**18, 10**18))
    with opened(tmp_path, source_id="yard") as source:
        frame = next_frame(source)
    assert (frame.name, frame.source) == ("x.png", "yard")
    assert frame.digest == "sha256:" + hashlib.sha256(data).hexdigest()
    assert frame.captured_at == datetime.fromtimestamp(10**9, timezone.utc)
    assert np.array_equal(frame.image, media.quarters())
    assert len(frame.id) == 32
    assert int(frame.id, 16) >= 0


def test_the_time_of_exposure_goes_before_the_time_of_the_file(tmp_path: Path) -> None:
    block = media.exif_block(date="2020:02:03 04:05:06")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/x.jpg").write_bytes(media.with_exif(media.encode(media.noise(), ".jpg"), ".jpg", block))
    with opened(tmp_path) as source:
        assert next_frame(source).captured_at == datetime(2020, 2, 3, 4, 5, 6, tzinfo=timezone.utc)


def test_depth_is_an_option(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/x.png").write_bytes(media.encode(np.arange(64, dtype=np.uint16).reshape(8, 8), ".png"))
    with opened(tmp_path, decode=DecodeOptions(depth=DepthOptions(Depth.MIN_MAX))) as source:
        assert next_frame(source).image.max() == 255


def test_the_id_depends_on_everything_about_the_file_and_nothing_else(tmp_path: Path) -> None:
    path = put(tmp_path / "in/x.png", 1, age=100)
    status = path.stat()

    def identity(**changes: str) -> str:
        with opened(tmp_path, journal=tmp_path / f"{time.monotonic_ns()}.sqlite", **changes) as source:
            return next_frame(source).id

    first = identity()
    assert identity() == first
    assert identity(source_id="other") != first
    path.rename(tmp_path / "in/y.png")
    assert identity() != first
    path = (tmp_path / "in/y.png").rename(path)
    assert identity() == first
    path.write_bytes(picture(2).ljust(status.st_size, b"\0")[: status.st_size])
    os.utime(path, ns=(status.st_mtime_ns, status.st_mtime_ns))
    if path.stat().st_size == status.st_size:
        put(path, 1)
    os.utime(path, ns=(status.st_mtime_ns + 1, status.st_mtime_ns + 1))
    assert identity() != first


def test_a_written_file_is_delivered_when_its_writer_closes_it(tmp_path: Path) -> None:
    with opened(tmp_path, settle_seconds=30.0, rescan_seconds=30.0) as source:
        with (tmp_path / "in/x.png").open("wb") as file:
            file.write(picture(1)[:50])
            file.flush()
            assert nothing_comes(source)
            file.write(picture(1)[50:])
        assert next_frame(source).name == "x.png"


@pytest.mark.parametrize("hidden", [".x.png", "x.png.part", "x.png.tmp", "x.png~", "~x.png"])
def test_unfinished_names_are_ignored_until_renamed(tmp_path: Path, hidden: str) -> None:
    with opened(tmp_path) as source:
        path = put(tmp_path / "in" / hidden)
        assert nothing_comes(source)
        path.rename(tmp_path / "in/x.png")
        assert finish(source, 1) == ["x.png"]


def test_a_file_moved_in_from_elsewhere_is_delivered_at_once(tmp_path: Path) -> None:
    with opened(tmp_path, settle_seconds=30.0, rescan_seconds=30.0) as source:
        put(tmp_path / "x.png").rename(tmp_path / "in/x.png")
        assert finish(source, 1) == ["x.png"]


def test_a_file_that_arrives_is_delivered_once(tmp_path: Path) -> None:
    with opened(tmp_path) as source:
        put(tmp_path / "in/x.png")
        first = next_frame(source)
        assert nothing_comes(source)
        source.done(first)
        assert nothing_comes(source)


def test_a_writer_that_closes_before_it_has_finished_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "in/x.png"
    with opened(tmp_path, settle_seconds=1.0) as source:
        path.touch()
        assert source.next(0.2) is None
        path.write_bytes(picture(1)[:40])
        assert source.next(0.2) is None
        with path.open("ab") as file:
            file.write(picture(1)[40:])
        assert next_frame(source).name == "x.png"


def test_a_rewritten_file_is_a_new_frame(tmp_path: Path) -> None:
    path = put(tmp_path / "in/x.png", 1)
    with opened(tmp_path) as source:
        first = next_frame(source)
        source.done(first)
        put(path, 2)
        second = next_frame(source)
        source.done(second)
        assert second.id != first.id
        path.unlink()
        wait_until(lambda: source.next(0.05) is None)
        put(path, 2)
        assert next_frame(source).id not in (first.id, second.id)


def test_a_file_rewritten_while_it_is_worked_on_is_not_put_away(tmp_path: Path) -> None:
    path = put(tmp_path / "in/x.png", 1, age=10)
    with opened(tmp_path, on_processed=Delete()) as source:
        first = next_frame(source)
        put(path, 2)
        source.done(first)
        assert path.exists()
        second = next_frame(source)
        assert second.id != first.id
        source.done(second)
        assert not path.exists()


def test_a_file_whose_mode_changed_while_it_was_worked_on_is_put_away(tmp_path: Path) -> None:
    path = put(tmp_path / "in/x.png", 1, age=10)
    with opened(tmp_path, on_processed=Delete()) as source:
        frame = next_frame(source)
        path.chmod(0o600)
        source.done(frame)
        assert not path.exists()


def test_kept_files_stay_and_are_not_repeated_after_a_restart(tmp_path: Path) -> None:
    paths = [put(tmp_path / f"in/{n}.png", n, age=10) for n in range(3)]
    with opened(tmp_path, on_processed=Keep()) as source:
        assert finish(source, 2) == ["0.png", "1.png"]
        unfinished = next_frame(source)
    assert all(path.exists() for path in paths)
    with opened(tmp_path, on_processed=Keep()) as source:
        again = next_frame(source)
        assert (again.name, again.id) == ("2.png", unfinished.id)
        assert nothing_comes(source)


def test_files_are_deleted_afterwards(tmp_path: Path) -> None:
    path = put(tmp_path / "in/x.png")
    with opened(tmp_path, on_processed=Delete()) as source:
        frame = next_frame(source)
        assert path.exists()
        source.done(frame)
        assert not path.exists()
        source.done(frame)


def test_files_are_moved_afterwards_even_within_the_watched_folder(tmp_path: Path) -> None:
    put(tmp_path / "in/a/x.png")
    put(tmp_path / "in/quarantine/old.png")
    done = tmp_path / "in/done"
    changes = {"on_processed": MoveTo(done), "quarantine": tmp_path / "in/quarantine", "recursive": True}
    with opened(tmp_path, **changes) as source:
        assert finish(source, 1) == ["a/x.png"]
        assert (done / "a/x.png").exists()
        assert not (tmp_path / "in/a/x.png").exists()
        put(tmp_path / "in/a/x.png", 7)
        assert finish(source, 1) == ["a/x.png"]
        assert len(list((done / "a").glob("x.*.png"))) == 1
        assert nothing_comes(source)
    with opened(tmp_path, **changes) as source:
        assert nothing_comes(source)


def test_sub_folders_are_left_alone_unless_asked_for(tmp_path: Path) -> None:
    put(tmp_path / "in/sub/x.png")
    with opened(tmp_path) as source:
        put(tmp_path / "in/sub/y.png")
        assert nothing_comes(source)


def test_sub_folders_made_or_moved_in_later_are_watched(tmp_path: Path) -> None:
    put(tmp_path / "elsewhere/deep/moved.png", 1)
    with opened(tmp_path, recursive=True, rescan_seconds=30.0) as source:
        put(tmp_path / "in/new/deep/made.png", 2)
        assert finish(source, 1) == ["new/deep/made.png"]
        (tmp_path / "elsewhere").rename(tmp_path / "in/came")
        assert finish(source, 1) == ["came/deep/moved.png"]
        put(tmp_path / "in/came/deep/later.png", 3)
        assert finish(source, 1) == ["came/deep/later.png"]
        put(tmp_path / "in/.hidden/x.png", 4)
        assert nothing_comes(source)


def test_symbolic_links_are_not_followed(tmp_path: Path) -> None:
    secret = put(tmp_path / "secret/x.png", 1)
    (tmp_path / "in").mkdir()
    (tmp_path / "in/before.png").symlink_to(secret)
    (tmp_path / "in/folder").symlink_to(secret.parent)
    with opened(tmp_path, recursive=True) as source:
        (tmp_path / "in/after.png").symlink_to(secret)
        link = tmp_path / "in/.link"
        link.symlink_to(secret)
        link.rename(tmp_path / "in/renamed.png")
        assert nothing_comes(source)
        assert secret.exists()


def test_the_watched_folder_may_itself_be_a_link(tmp_path: Path) -> None:
    put(tmp_path / "real/x.png", 1)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with opened(tmp_path, folder=tmp_path / "link") as source:
        assert finish(source, 1) == ["x.png"]
        put(tmp_path / "real/y.png", 2)
        assert finish(source, 1) == ["y.png"]


def test_only_image_endings_are_read_in_either_case(tmp_path: Path) -> None:
    put(tmp_path / "in/notes.txt")
    put(tmp_path / "in/X.PNG")
    with opened(tmp_path) as source:
        assert finish(source, 1) == ["X.PNG"]
        assert nothing_comes(source)
    with opened(tmp_path, suffixes=frozenset({".txt"})) as source:
        assert finish(source, 1) == ["notes.txt"]


def test_names_that_are_no_utf8(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    path = os.fsdecode(os.fsencode(tmp_path / "in") + b"/caf\xe9.png")
    Path(path).write_bytes(picture(1))
    with opened(tmp_path, on_processed=MoveTo(tmp_path / "done")) as source:
        assert finish(source, 1) == ["caf\N{REPLACEMENT CHARACTER}.png"]
    assert [os.fsencode(path.name) for path in (tmp_path / "done").iterdir()] == [b"caf\xe9.png"]


def test_rows_of_kept_files_that_were_deleted_are_pruned(tmp_path: Path) -> None:
    for n in range(6):
        put(tmp_path / f"in/{n}.png", n, age=10)

    def rows() -> int:
        with closing(Journal(tmp_path / "journal.sqlite")) as opened_journal:
            return len(list(opened_journal.paths()))

    with opened(tmp_path) as source:
        finish(source, 6)
    assert rows() == 6
    for n in range(2):
        (tmp_path / f"in/{n}.png").unlink()
    with opened(tmp_path, rescan_seconds=30.0) as source:
        pass
    assert rows() == 4
    with opened(tmp_path) as source:
        (tmp_path / "in/2.png").unlink()
        assert nothing_comes(source)
    assert rows() == 3
    shutil.move(tmp_path / "in", tmp_path / "mounted")
    with opened(tmp_path):
        pass
    assert rows() == 3, "an empty folder may be a share that is not mounted"


def test_next_returns_in_time(tmp_path: Path) -> None:
    with opened(tmp_path) as source:
        for timeout in (0.0, 0.05, 0.3):
            begin = time.monotonic()
            assert source.next(timeout) is None
            assert timeout <= time.monotonic() - begin < timeout + PATIENCE


def test_next_with_no_timeout_still_delivers_what_is_there(tmp_path: Path) -> None:
    put(tmp_path / "in/x.png", age=10)
    with opened(tmp_path) as source:
        assert source.next(0.0) is not None


def test_closing_twice_and_asking_afterwards(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    source = FolderSource(options(tmp_path))
    source.close()
    source.close()
    with pytest.raises(EndOfSource):
        source.next(0.1)
    assert not [thread for thread in set(threading.enumerate()) - before if thread.name == "folder-rescan"]


def test_a_second_process_is_kept_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal, "_LOCK_SECONDS", 0.1)
    with opened(tmp_path), pytest.raises(SettingsError, match="in use"):
        FolderSource(options(tmp_path))


def test_refused_options(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be watched"):
        FolderSource(FolderOptions(tmp_path / "missing", tmp_path / "journal", tmp_path / "quarantine"))
    with pytest.raises(SettingsError, match="itself"):
        FolderSource(options(tmp_path, quarantine=tmp_path / "in"))
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match="cannot be made"):
        FolderSource(options(tmp_path, quarantine=tmp_path / "file/quarantine"))
    with pytest.raises(SettingsError, match="journal"):
        FolderSource(options(tmp_path, journal=tmp_path / "file/journal"))
    with pytest.raises(SettingsError, match="cannot be read"):
        FolderSource(options(tmp_path, folder=tmp_path / "file"))
    for name in ("max_bytes", "settle_seconds", "rescan_seconds", "retry_seconds"):
        with pytest.raises(SettingsError, match=name):
            options(tmp_path, **{name: 0})
