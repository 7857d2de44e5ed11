"""What is left when the process dies at the worst moments."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from sam3edge.sources.folder.disposition import Delete, Keep, MoveTo, OnProcessed
from sam3edge.sources.folder.journal import Journal
from sam3edge.sources.folder.source import FolderSource
from support import killed_consumer
from support.folders import finish, next_error, next_frame, nothing_comes, opened, picture, put, report_of

FILES = 50
KILLS = 3


class Killed(BaseException):
    """Stands for a SIGKILL at one line."""


def die(*arguments: object, **named: object) -> None:
    raise Killed


def killed_while_finishing(root: Path, monkeypatch: pytest.MonkeyPatch, where: type, name: str, **changes: Any) -> None:
    """Deliver one frame and die in ``done`` where a method would be called."""
    with opened(root, **changes) as source, monkeypatch.context() as context:
        frame = next_frame(source)
        context.setattr(where, name, die)
        with pytest.raises(Killed):
            source.done(frame)


@pytest.mark.parametrize("on_processed", ["move", "delete"])
@pytest.mark.parametrize("moment", ["before", "after"])
def test_killed_between_the_journal_and_the_move(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_processed: str, moment: str
) -> None:
    changes: dict[str, Any] = {"on_processed": MoveTo(tmp_path / "done") if on_processed == "move" else Delete()}
    path = put(tmp_path / "in/x.png", 1, age=10)
    where = (FolderSource, "_move") if moment == "before" else (Journal, "forget")
    killed_while_finishing(tmp_path, monkeypatch, *where, **changes)
    assert path.exists() == (moment == "before")
    with opened(tmp_path, **changes) as source:
        assert not path.exists()
        assert (tmp_path / "done/x.png").exists() == (on_processed == "move")
        assert nothing_comes(source)
        put(path, 2)
        assert finish(source, 1) == ["x.png"]


def test_killed_between_the_journal_and_the_quarantine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "in/x.png", age=10).write_bytes(b"no image")
    with opened(tmp_path) as source, monkeypatch.context() as context:
        error = next_error(source)
        context.setattr(FolderSource, "_move", die)
        with pytest.raises(Killed):
            source.reject(error)
    with opened(tmp_path) as source:
        assert report_of(tmp_path / "quarantine/x.png")["reason"] == str(error)
        assert nothing_comes(source)


def test_killed_between_copy_and_removal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is in both places; it must not be moved twice."""
    path = put(tmp_path / "in/x.png", 1, age=10)
    killed_while_finishing(tmp_path, monkeypatch, FolderSource, "_move", on_processed=MoveTo(tmp_path / "done"))
    (tmp_path / "done/x.png").write_bytes(path.read_bytes())
    with opened(tmp_path, on_processed=MoveTo(tmp_path / "done")):
        assert not path.exists()
        assert [file.name for file in (tmp_path / "done").iterdir()] == ["x.png"]


def test_a_file_replaced_while_the_process_was_dead_is_not_put_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(tmp_path / "in/x.png", 1, age=10)
    killed_while_finishing(tmp_path, monkeypatch, FolderSource, "_move", on_processed=Delete())
    put(path, 2, age=5)
    with opened(tmp_path, on_processed=Delete()) as source:
        assert path.exists()
        assert finish(source, 1) == ["x.png"]
        assert not path.exists()


def test_the_setting_changed_while_the_process_was_dead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path / "in/x.png", 1, age=10)
    killed_while_finishing(tmp_path, monkeypatch, FolderSource, "_move", on_processed=Delete())
    for _ in range(2):
        with opened(tmp_path, on_processed=Keep()) as source:
            assert path.exists()
            assert nothing_comes(source)


def test_killed_before_done(tmp_path: Path) -> None:
    put(tmp_path / "in/x.png", 1, age=10)
    with opened(tmp_path, on_processed=Delete()) as source:
        first = next_frame(source)
    with opened(tmp_path, on_processed=Delete()) as source:
        assert next_frame(source).id == first.id


def test_a_consumer_that_is_killed_again_and_again_loses_nothing_and_repeats_nothing_done(tmp_path: Path) -> None:
    threads = []
    for seed, on_processed in enumerate(("keep", "move")):
        (tmp_path / on_processed / "in").mkdir(parents=True)
        threads.append(threading.Thread(target=_kill_repeatedly, args=(tmp_path / on_processed, on_processed, seed)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = {f"{n:03d}.png" for n in range(FILES)}
    for on_processed in ("keep", "move"):
        root = tmp_path / on_processed
        lines = [line.split() for line in (root / "log").read_text().splitlines()]
        ids = defaultdict(set)
        done = set()
        for what, name, identity in lines:
            ids[name].add(identity)
            if what == "done":
                done.add(name)
            else:
                assert name not in done, f"{name} was delivered after it was done"
        assert set(ids) == names
        assert all(len(of_name) == 1 for of_name in ids.values())
        bad = {f"{n:03d}.png" for n in range(0, FILES, 10)}
        assert {path.name for path in (root / "quarantine").glob("*.png")} == bad
        assert {path.name for path in (root / {"keep": "in", "move": "done"}[on_processed]).iterdir()} == names - bad
        with opened(root, on_processed=_afterwards(root, on_processed)) as source:
            assert nothing_comes(source)


def _afterwards(root: Path, name: str) -> OnProcessed:
    return Keep() if name == "keep" else MoveTo(root / "done")


def _kill_repeatedly(root: Path, on_processed: str, seed: int) -> None:
    feeder = threading.Thread(target=_feed, args=(root / "in", seed))
    feeder.start()
    dice = random.Random(seed)
    for _ in range(KILLS):
        deliveries = _log_length(root)
        consumer = _consume(root, on_processed)
        wanted = deliveries + dice.randrange(1, 30)
        end = time.monotonic() + 5
        while _log_length(root) < wanted and consumer.poll() is None and time.monotonic() < end:
            time.sleep(0.002)
        time.sleep(dice.uniform(0, 0.01))
        consumer.send_signal(signal.SIGKILL)
        consumer.wait()
    feeder.join()
    assert _consume(root, on_processed).wait(60) == 0


def _log_length(root: Path) -> int:
    return (root / "log").read_bytes().count(b"\n") if (root / "log").exists() else 0


def _consume(root: Path, on_processed: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, killed_consumer.__file__, str(root), on_processed],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        stderr=subprocess.DEVNULL,
    )


def _feed(folder: Path, seed: int) -> None:
    """Every tenth file is not an image; every other is written in place, the others are renamed."""
    dice = random.Random(seed)
    for number in range(FILES):
        content = b"no image %d" % number if number % 10 == 0 else picture(number)
        path = folder / f"{number:03d}.png"
        if number % 2:
            path.write_bytes(content)
        else:
            draft = folder / f".{path.name}"
            draft.write_bytes(content)
            draft.rename(path)
        time.sleep(dice.uniform(0, 0.03))
