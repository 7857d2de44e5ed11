from __future__ import annotations

import errno
import os
import random
import sqlite3
from contextlib import suppress
from pathlib import Path

import pytest

from sam3edge.sources.folder.disposition import Keep, MoveTo, Quarantine
from sam3edge.sources.folder.journal import Journal, Settled
from sam3edge.sources.folder.listing import Stamp
from support.folders import report_of

FIRST, SECOND = "1" * 32, "2" * 32


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_keeping_does_nothing(tmp_path: Path) -> None:
    path = put(tmp_path / "x.png", "1")
    Keep().file(path, "x.png", FIRST)
    assert path.exists()


def test_other_files_of_the_same_name_are_not_replaced(tmp_path: Path) -> None:
    names = ["x.png", "x.11111111.png", f"x.{FIRST}.png", f"x.{FIRST}-2.png"]
    for number, name in enumerate(names):
        MoveTo(tmp_path / "done").file(put(tmp_path / "in/x.png", str(number)), "x.png", FIRST)
        assert (tmp_path / "done" / name).read_text() == str(number)
    assert not (tmp_path / "in/x.png").exists()


def test_a_copy_left_by_an_interrupted_move_is_taken_for_the_file(tmp_path: Path) -> None:
    put(tmp_path / "done/x.png", "1")
    MoveTo(tmp_path / "done").file(put(tmp_path / "in/x.png", "1"), "x.png", FIRST)
    assert [path.name for path in (tmp_path / "done").iterdir()] == ["x.png"]


def test_neither_a_link_nor_a_folder_is_replaced(tmp_path: Path) -> None:
    elsewhere = put(tmp_path / "elsewhere", "1")
    (tmp_path / "done/y.png").mkdir(parents=True)
    (tmp_path / "done/x.png").symlink_to(elsewhere)
    for name in ("x", "y"):
        MoveTo(tmp_path / "done").file(put(tmp_path / f"in/{name}.png", "1"), f"{name}.png", FIRST)
        assert (tmp_path / f"done/{name}.11111111.png").read_text() == "1"
    assert (tmp_path / "done/x.png").is_symlink()


def test_long_names_are_cut(tmp_path: Path) -> None:
    quarantine = Quarantine(tmp_path / "quarantine")
    name = "\N{SNOWMAN}" * 80 + "end.png"
    for number, identity in enumerate((FIRST, SECOND)):
        quarantine.file(put(tmp_path / "in" / name, str(number)), name, identity, {"reason": "bad"})
    stored = sorted(path for path in (tmp_path / "quarantine").iterdir() if path.suffix == ".png")
    assert len(stored) == 2
    assert {report_of(path)["stored_as"] == path.name for path in stored} == {True}


def test_moving_to_another_file_system_and_dying_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replace = Path.replace

    def other_file_system(self: Path, target: Path) -> Path:
        if self.parent == target.parent:
            return replace(self, target)
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(Path, "replace", other_file_system)
    path = put(tmp_path / "in/x.png", "1")
    os.utime(path, ns=(10**18, 10**18))
    with monkeypatch.context() as context:
        context.setattr(Path, "unlink", lambda self: (_ for _ in ()).throw(OSError(errno.EACCES, "Permission denied")))
        with pytest.raises(PermissionError):
            MoveTo(tmp_path / "done").file(path, "x.png", FIRST)
    MoveTo(tmp_path / "done").file(path, "x.png", FIRST)
    assert not path.exists()
    moved = tmp_path / "done/x.png"
    assert (moved.read_text(), moved.stat().st_mtime_ns) == ("1", 10**18)
    assert [file.name for file in (tmp_path / "done").iterdir()] == ["x.png"]


def test_a_journal_of_another_version_is_set_aside(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A component that is rolled back must start; consumers drop what it repeats."""
    connection = sqlite3.connect(tmp_path / "journal")
    connection.execute("CREATE TABLE settled (path BLOB)")
    connection.execute("PRAGMA user_version = 99")
    connection.commit()
    connection.close()
    journal = Journal(tmp_path / "journal")
    journal.settle(Settled("a.png", Stamp(1, 2), "id"), filed=True)
    journal.close()
    assert (tmp_path / "journal.damaged").exists()
    assert "version 99" in caplog.text


@pytest.mark.parametrize("seed", range(40))
def test_flipped_bits_of_the_journal_never_end_the_source(tmp_path: Path, seed: int) -> None:
    journal = Journal(tmp_path / "journal")
    for n in range(30):
        journal.settle(Settled(f"{n}.png", Stamp(n, n), f"id-{n}", "bad" if n % 3 else None), filed=n % 2 == 0)
    journal.close()
    content, dice = bytearray((tmp_path / "journal").read_bytes()), random.Random(seed)
    for _ in range(dice.choice((1, 1, 5, 40))):
        content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    (tmp_path / "journal").write_bytes(content)
    again = Journal(tmp_path / "journal")
    again.unfiled()
    list(again.paths())
    for n in range(30):
        again.knows(f"{n}.png", Stamp(n, n))
        again.knows_id(f"{n}.png", f"id-{n}")
    again.settle(Settled("new.png", Stamp(1, 2), "new"), filed=True)
    assert again.knows("new.png", Stamp(1, 2))
    again.forget(["3.png"])
    again.close()


@pytest.mark.parametrize(
    "change", ["frame_id = CAST(x'ff' AS TEXT)", "reason = x'00'", "mtime_ns = 'x'", "size = NULL"]
)
def test_a_damaged_row_costs_itself(tmp_path: Path, change: str) -> None:
    journal = Journal(tmp_path / "journal")
    for n in range(3):
        journal.settle(Settled(f"{n}.png", Stamp(n, n), f"id-{n}"), filed=False)
    journal._connection.execute("PRAGMA ignore_check_constraints = ON")
    with suppress(sqlite3.IntegrityError):
        journal._connection.execute(f"UPDATE settled SET {change} WHERE path = x'312e706e67'")
    assert {"0.png", "2.png"} <= {settled.path for settled in journal.unfiled()}
    journal.close()
