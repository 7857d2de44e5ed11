"""The folder of hard examples: whole, bounded, and never in the flow's way."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import cv2
import jsonschema
import numpy as np
import pytest

from sam3edge.cli.schemas import detections_schema
from sam3edge.core.fallback.detector import HardExample
from sam3edge.core.fallback.policy import Disagreement, Escalation
from sam3edge.core.flow import DetectionOptions, detect
from sam3edge.core.types import Origin, Prompt
from sam3edge.engines.fake import FakeEngine
from sam3edge.hard_examples.folder import ANSWERS, FRAME, WAITING, HardExamples
from support.samples import frame, red_square

RED = (Prompt("red"),)


def example(number: int = 0) -> HardExample:
    one = frame(red_square())
    one = replace(one, id=f"{number:032x}", captured_at=one.captured_at + timedelta(minutes=number))
    device = detect(FakeEngine(), one, DetectionOptions(RED))
    cloud = replace(device, detections=(), origin=Origin("cloud", "uncertain", "red scored 0.50"))
    return HardExample(one, RED, device, cloud, Escalation("uncertain", "red scored 0.50"), Disagreement(1, 0))


@pytest.fixture
def open_folder(tmp_path: Path) -> Iterator[Callable[[int], HardExamples]]:
    opened: list[HardExamples] = []

    def make(max_bytes: int) -> HardExamples:
        opened.append(HardExamples(tmp_path / "examples", "line-7", max_bytes))
        opened[-1].start()
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def names(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "examples").iterdir())


def test_an_example_is_the_frame_both_answers_and_the_reason(
    open_folder: Callable[[int], HardExamples], tmp_path: Path
) -> None:
    folder = open_folder(1 << 20)
    folder.offer(example(7))
    folder.close()
    [name] = names(tmp_path)
    assert name == f"20260102T031105678901-{7:032x}"
    root = tmp_path / "examples" / name
    picture = cv2.imread(str(root / FRAME))
    assert picture is not None
    assert float(np.abs(picture[..., ::-1].astype(int) - red_square()).mean()) < 3
    answers = json.loads((root / ANSWERS).read_text())
    assert (answers["reason"], answers["detail"]) == ("uncertain", "red scored 0.50")
    assert answers["disagreement"] == {"device": 1, "cloud": 0}
    assert [len(answers[side]["features"]) for side in ("device", "cloud")] == [1, 0]
    assert answers["cloud"]["origin"]["by"] == "cloud"
    for side in ("device", "cloud"):
        jsonschema.Draft202012Validator(detections_schema()).validate(answers[side])
    size = sum(path.stat().st_size for path in root.iterdir())
    assert (folder.counts().kept, folder.counts().kept_bytes, folder.counts().stored) == (1, size, 1)


def wait_until_written(folder: HardExamples, stored: int) -> None:
    deadline = threading.Event()
    for _ in range(2000):
        if folder.counts().stored + folder.counts().let_go >= stored:
            return
        deadline.wait(0.01)
    raise AssertionError(folder.counts())


def test_the_oldest_leave_when_it_is_full_and_are_counted(
    open_folder: Callable[[int], HardExamples], tmp_path: Path
) -> None:
    probe = open_folder(1 << 20)
    probe.offer(example(0))
    probe.close()
    room = int(3.5 * probe.counts().kept_bytes)
    folder = open_folder(room)
    for number in range(1, 7):
        folder.offer(example(number))
        wait_until_written(folder, number)
    assert [name[-1] for name in names(tmp_path)] == ["4", "5", "6"]
    counts = folder.counts()
    assert (counts.kept, counts.stored, counts.evicted, counts.let_go) == (3, 6, 4, 0)
    assert counts.kept_bytes <= room


def test_a_folder_that_is_too_full_already_is_cut_at_the_start(
    open_folder: Callable[[int], HardExamples], tmp_path: Path
) -> None:
    folder = open_folder(1 << 20)
    for number in range(3):
        folder.offer(example(number))
        wait_until_written(folder, number + 1)
    size = folder.counts().kept_bytes
    folder.close()
    (tmp_path / "examples" / ".draft").mkdir()
    assert open_folder(size // 2).counts().kept == 1
    assert [name[-1] for name in names(tmp_path)] == ["2"]


def test_what_was_taken_out_makes_room(open_folder: Callable[[int], HardExamples], tmp_path: Path) -> None:
    folder = open_folder(1 << 20)
    folder.offer(example(1))
    wait_until_written(folder, 1)
    [name] = names(tmp_path)
    (tmp_path / "examples" / name).rename(tmp_path / "taken")
    folder.offer(example(2))
    wait_until_written(folder, 2)
    assert (folder.counts().kept, folder.counts().evicted) == (1, 0)


def test_a_writer_that_is_behind_lets_go_and_holds_nobody_up(
    open_folder: Callable[[int], HardExamples], monkeypatch: pytest.MonkeyPatch
) -> None:
    free, busy = threading.Event(), threading.Event()
    write = HardExamples._store

    def stuck(self: HardExamples, one: HardExample) -> None:
        busy.set()
        assert free.wait(60)
        write(self, one)

    monkeypatch.setattr(HardExamples, "_store", stuck)
    folder = open_folder(1 << 20)
    folder.offer(example(0))
    assert busy.wait(60)
    for number in range(1, 10):
        folder.offer(example(number))
    assert folder.counts().let_go == 9 - WAITING
    free.set()
    folder.close()
    assert folder.counts().stored == 1 + WAITING


def test_what_fits_into_no_folder_and_what_no_disk_takes_is_let_go(
    open_folder: Callable[[int], HardExamples], tmp_path: Path
) -> None:
    small = open_folder(100)
    small.offer(example())
    small.close()
    assert (small.counts().let_go, small.counts().stored) == (1, 0)
    (tmp_path / "file").write_text("no folder")
    nowhere = HardExamples(tmp_path / "file" / "examples", "line-7", 1 << 20)
    nowhere.start()
    nowhere.offer(example())
    nowhere.close()
    assert nowhere.counts().let_go == 1
