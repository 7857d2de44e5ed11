"""What is on the medium when: by the order of the system calls, and by what is left when one of them fails."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from sam3edge import durable


class Calls(list[tuple[str, str]]):
    """What was asked of the system, with the name of the file or folder."""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    seen = Calls()
    fsync, replace, unlink, mkdir = os.fsync, os.replace, os.unlink, os.mkdir

    def spy_fsync(descriptor: int) -> None:
        seen.append(("fsync", Path(f"/proc/self/fd/{descriptor}").readlink().name))
        fsync(descriptor)

    def spy_replace(source: os.PathLike[str], target: os.PathLike[str]) -> None:
        seen.append(("replace", Path(target).name))
        replace(source, target)

    def spy_unlink(path: os.PathLike[str]) -> None:
        seen.append(("unlink", Path(path).name))
        unlink(path)

    def spy_mkdir(path: os.PathLike[str], mode: int = 0o777) -> None:
        seen.append(("mkdir", Path(path).name))
        mkdir(path, mode)

    for name, spy in (("fsync", spy_fsync), ("replace", spy_replace), ("unlink", spy_unlink), ("mkdir", spy_mkdir)):
        monkeypatch.setattr(os, name, spy)
    return seen


def test_a_file_is_on_the_medium_before_it_has_its_name_and_its_name_before_it_counts(
    tmp_path: Path, calls: Calls
) -> None:
    durable.write_file(tmp_path / "a.json", b"1")
    wanted = [("fsync", ".a.json.new"), ("replace", "a.json"), ("fsync", tmp_path.name)]
    assert [call for call in calls if call[0] != "unlink"] == wanted
    assert (tmp_path / "a.json").read_bytes() == b"1"


def test_a_file_written_piece_by_piece_is_there_when_it_is_whole(tmp_path: Path, calls: Calls) -> None:
    (tmp_path / "a.json").write_bytes(b"before")
    with durable.new_file(tmp_path / "a.json") as stream:
        stream.write(b"1")
        stream.write(b"2")
        assert (tmp_path / "a.json").read_bytes() == b"before"
    assert calls == [("fsync", ".a.json.new"), ("replace", "a.json"), ("fsync", tmp_path.name)]
    assert (tmp_path / "a.json").read_bytes() == b"12"


@pytest.mark.parametrize("error", [OSError("disk full"), ValueError("no number"), KeyboardInterrupt()])
def test_a_file_that_was_not_finished_is_gone(tmp_path: Path, error: BaseException) -> None:
    (tmp_path / "a.json").write_bytes(b"before")

    def write() -> None:
        with durable.new_file(tmp_path / "a.json") as stream:
            stream.write(b"1")
            raise error

    with pytest.raises(type(error)):
        write()
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert (tmp_path / "a.json").read_bytes() == b"before"


def test_folders_that_are_made_are_names_of_their_parents(tmp_path: Path, calls: Calls) -> None:
    durable.make_folder(tmp_path / "a" / "b")
    assert calls == [("mkdir", "a"), ("fsync", tmp_path.name), ("mkdir", "b"), ("fsync", "a")]
    durable.make_folder(tmp_path / "a" / "b")
    assert len(calls) == 4


def test_a_move_is_known_to_both_folders(tmp_path: Path, calls: Calls) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "in" / "x.jpg").write_bytes(b"x")
    calls.clear()
    durable.move_file(tmp_path / "in" / "x.jpg", tmp_path / "out" / "x.jpg")
    assert [call for call in calls if call[0] != "unlink"] == [("replace", "x.jpg"), ("fsync", "out"), ("fsync", "in")]


def test_of_two_names_of_one_file_one_is_left(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    durable.move_file(tmp_path / "a", tmp_path / "b")
    assert [p.name for p in tmp_path.iterdir()] == ["b"]


def test_on_another_disk_the_copy_and_its_name_are_there_before_the_source_goes(tmp_path: Path, calls: Calls) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "x.jpg").write_bytes(b"x")
    os.utime(tmp_path / "x.jpg", ns=(1_000_000_000, 2_000_000_000))
    calls.clear()
    with pytest.MonkeyPatch.context() as patch:
        inner = os.replace

        def across(source: os.PathLike[str], target: os.PathLike[str]) -> None:
            if Path(source).parent != Path(target).parent:
                raise OSError(errno.EXDEV, "Invalid cross-device link")
            inner(source, target)

        patch.setattr(os, "replace", across)
        durable.move_file(tmp_path / "x.jpg", tmp_path / "other" / "x.jpg")
    assert calls == [
        ("fsync", ".x.jpg.new"),
        ("replace", "x.jpg"),
        ("fsync", "other"),
        ("unlink", "x.jpg"),
        ("fsync", tmp_path.name),
    ]
    assert (tmp_path / "other" / "x.jpg").stat().st_mtime_ns == 2_000_000_000


@pytest.mark.parametrize("fails", ["open", "write", "fsync", "replace"])
def test_what_was_there_stays_when_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"old")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if fails == "write":
        monkeypatch.setattr(os, "fdopen", full)
    else:
        monkeypatch.setattr(os, fails, full)
    with pytest.raises(OSError, match="No space"):
        durable.write_file(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_secrets_are_their_owners(tmp_path: Path) -> None:
    durable.write_file(tmp_path / "a", b"x", private=True)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600


def test_remains_of_a_killed_process_are_in_nobodys_way(tmp_path: Path) -> None:
    (tmp_path / ".a.new").write_bytes(b"half")
    durable.write_file(tmp_path / "a", b"x")
    assert (tmp_path / "a").read_bytes() == b"x"


def test_a_link_that_somebody_laid_out_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    (tmp_path / ".a.new").symlink_to(victim)
    durable.write_file(tmp_path / "a", b"x")
    assert victim.read_bytes() == b"mine"


def test_shares_that_cannot_sync_folders_are_left_to_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", refuse)
    durable.sync_folder(tmp_path)
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.EIO, "Input/output error")))
    with pytest.raises(OSError, match="Input"):
        durable.sync_folder(tmp_path)


def test_a_tree_is_flushed_with_every_folder(tmp_path: Path, calls: Calls) -> None:
    (tmp_path / "golden").mkdir()
    (tmp_path / "golden" / "image.png").write_bytes(b"x")
    (tmp_path / "manifest.json").write_bytes(b"{}")
    calls.clear()
    durable.sync_tree(tmp_path)
    assert sorted(calls[:-1]) == [("fsync", "golden"), ("fsync", "image.png"), ("fsync", "manifest.json")]
    assert calls[-1] == ("fsync", tmp_path.name)
