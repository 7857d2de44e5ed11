"""What outlives a kill, and who owns it."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from sam3edge.core.errors import SettingsError, SubscriptionError
from sam3edge.subscriber.journal import DiskJournal
from sam3edge.subscriber.reassembly import key_of
from support.device_messages import PARTS, WHOLE, of_frame


def test_what_was_added_and_not_settled_is_there_at_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "state" / "journal.db"
    journal = DiskJournal(path)
    frames = [of_frame(PARTS[0], "a"), of_frame(PARTS[1], "a"), of_frame(WHOLE, "b"), of_frame(PARTS[0], "c")]
    journal.add(frames)
    journal.settle(finished=[key_of(frames[2])], dropped=[key_of(frames[3])])
    journal.close()
    again = DiskJournal(path)
    assert again.open() == frames[:2]
    assert again.finished() == [key_of(frames[2])]
    again.settle(finished=[key_of(frames[0])], dropped=[])
    assert again.open() == []
    assert again.finished() == [key_of(frames[2]), key_of(frames[0])]
    again.close()


def test_what_is_known_as_finished_is_bounded_and_a_repetition_changes_nothing(tmp_path: Path) -> None:
    journal = DiskJournal(tmp_path / "journal.db", remembered=3)
    for number in (0, 1, 2, 3, 4, 4, 4):
        journal.settle(finished=[f"key-{number}"], dropped=[])
    assert journal.finished() == ["key-2", "key-3", "key-4"]
    journal.close()


def test_it_has_one_owner(tmp_path: Path) -> None:
    journal = DiskJournal(tmp_path / "journal.db")
    with pytest.raises(SettingsError, match="another listener"):
        DiskJournal(tmp_path / "journal.db")
    journal.close()
    DiskJournal(tmp_path / "journal.db").close()


def test_another_file_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    text = tmp_path / "journal.db"
    text.write_text("notes of mine, not a database, and longer than a header of one would be ................")
    with pytest.raises(SettingsError, match="cannot be used"):
        DiskJournal(text)
    assert text.read_text().startswith("notes of mine")
    later = tmp_path / "later.db"
    DiskJournal(later).close()
    with closing(sqlite3.connect(later)) as database:
        database.execute("PRAGMA user_version = 7")
    before = later.read_bytes()
    with pytest.raises(SettingsError, match="expected version 1, got 7"):
        DiskJournal(later)
    assert later.read_bytes() == before
    other = tmp_path / "other.db"
    DiskJournal(other).close()
    with closing(sqlite3.connect(other)) as database:
        database.execute("DROP TABLE finished")
    with pytest.raises(SettingsError, match="tables finished and open"):
        DiskJournal(other)
    with pytest.raises(SettingsError, match="cannot be used"):
        DiskJournal(text / "journal.db")


def test_a_failure_changes_nothing_and_is_told(tmp_path: Path) -> None:
    journal = DiskJournal(tmp_path / "journal.db")
    journal.add([of_frame(WHOLE, "a")])
    journal._db.execute("PRAGMA max_page_count = 1")  # as on a full disk
    with pytest.raises(SubscriptionError, match="full"):
        journal.add([of_frame(WHOLE, str(number)) for number in range(100)])
    assert len(journal.open()) == 1
    journal.close()


@pytest.mark.parametrize("version", [0, 1, 7])
@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
def test_a_database_of_others_stays_as_it_is(tmp_path: Path, version: int, mode: str) -> None:
    path = tmp_path / "journal.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA journal_mode = {mode}")
        database.execute(f"PRAGMA user_version = {version}")
        database.execute("CREATE TABLE precious (a)")
        database.execute("CREATE TABLE finished (seq, key)")
        database.commit()
        before = {one.name: one.read_bytes() for one in tmp_path.iterdir()}
        with pytest.raises(SettingsError, match="expected a journal"):
            DiskJournal(path)
        assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == before


def test_a_journal_whose_process_was_killed_is_known_again(tmp_path: Path) -> None:
    """Whatever of it is still in the log that is written ahead."""
    path = tmp_path / "a" / "journal.db"
    journal = DiskJournal(path)
    journal.add([of_frame(WHOLE, "a")])
    shutil.copytree(path.parent, tmp_path / "b")
    journal.close()
    again = DiskJournal(tmp_path / "b" / "journal.db")
    assert len(again.open()) == 1
    again.close()
    (tmp_path / "empty.db").touch()
    DiskJournal(tmp_path / "empty.db").close()
