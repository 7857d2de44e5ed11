"""The folder of hard examples: whole, bounded, within quotas, and never in the flow's way."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import cv2
import jsonschema
import numpy as np
import pytest

from sam3edge.cli.schemas import detections_schema
from sam3edge.core.fallback.detector import HardExample
from sam3edge.core.fallback.policy import Disagreement, Escalation
from sam3edge.core.flow import DetectionOptions, detect
from sam3edge.core.types import Frame, Origin, Prompt
from sam3edge.engines.fake import FakeEngine
from sam3edge.hard_examples.example import (
    DRAFT,
    EXAMPLE,
    FRAME,
    GONE,
    Candidate,
    DamagedExample,
    examples_in,
    prompts_digest,
    read_example,
    remove,
)
from sam3edge.hard_examples.folder import WAITING, HardExamples
from sam3edge.hard_examples.perceptual_hash import dhash, to_hex
from sam3edge.hard_examples.quotas import QuotaLimits, Quotas
from sam3edge.hard_examples.selection import Choice, Kind
from support.samples import frame

RED = (Prompt("red", label="a red thing"),)
NOW = 1_767_323_045.0


def unlike(number: int) -> Frame:
    """Frames that do not resemble each other, one a minute."""
    blocks = np.random.default_rng(number).integers(0, 255, (8, 9, 3), dtype=np.uint8)
    image = np.asarray(cv2.resize(blocks, (320, 240), interpolation=cv2.INTER_NEAREST), np.uint8)
    cv2.rectangle(image, (100, 80), (159, 139), (255, 0, 0), -1)
    one = frame(image)
    return replace(one, id=f"{number:032x}", captured_at=one.captured_at + timedelta(minutes=number))


def candidate(number: int = 0, kind: Kind = "uncertain", image: np.ndarray | None = None) -> Candidate:
    one = unlike(number) if image is None else replace(unlike(number), image=image)
    return Candidate(one, RED, Choice(kind, "red scored 0.55"), detect(FakeEngine(), one, DetectionOptions(RED)))


def disagreement(number: int = 0) -> HardExample:
    one = candidate(number)
    cloud = replace(one.device, detections=(), origin=Origin("cloud", "uncertain", "red scored 0.50"))
    only = Disagreement(len(one.device.detections), 0)
    return HardExample(one.frame, RED, one.device, cloud, Escalation("uncertain", "red scored 0.50"), only)


class Opener:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.now = NOW
        self.opened: list[HardExamples] = []

    def __call__(
        self, max_bytes: int = 1 << 24, per_hour: int = 1000, bytes_per_day: int = 1 << 30, where: str = "examples"
    ) -> HardExamples:
        limits = QuotaLimits(per_hour, bytes_per_day, max_bytes)
        quotas = Quotas(limits, self.root / "quotas", lambda: self.now)
        self.opened.append(HardExamples(self.root / where, "line-7", max_bytes, quotas))
        self.opened[-1].start()
        return self.opened[-1]

    def fill(self, folder: HardExamples, *candidates: Candidate) -> None:
        """One after the other, so that the writer is never behind."""
        for one in candidates:
            counts = folder.counts()
            done = counts.stored + counts.let_go + counts.repeated + counts.over_quota
            folder.keep(one)
            wait_until(lambda done=done: sum_of(folder) > done)

    def names(self) -> list[str]:
        return [path.name for path in examples_in(self.root / "examples")]


def sum_of(folder: HardExamples) -> int:
    counts = folder.counts()
    return counts.stored + counts.let_go + counts.repeated + counts.over_quota


def wait_until(condition: Callable[[], object]) -> None:
    for _ in range(15_000):
        if condition():
            return
        time.sleep(0.002)
    raise AssertionError("waited 30 s")


@pytest.fixture
def opener(tmp_path: Path) -> Iterator[Opener]:
    one = Opener(tmp_path)
    yield one
    for folder in one.opened:
        folder.close()


def only_document(opener: Opener) -> tuple[Path, dict[str, Any]]:
    [name] = opener.names()
    root = opener.root / "examples" / name
    return root, json.loads((root / EXAMPLE).read_bytes())


def test_an_example_is_the_frame_and_everything_that_labeling_needs(opener: Opener) -> None:
    folder = opener()
    one = candidate(7)
    folder.keep(one)
    folder.close()
    root, document = only_document(opener)
    assert root.name == f"20260102T031105678901-{7:032x}"
    jpeg = (root / FRAME).read_bytes()
    picture = cv2.imread(str(root / FRAME))
    assert picture is not None
    assert float(np.abs(picture[..., ::-1].astype(int) - one.frame.image).mean()) < 6
    assert document["format"] == 1
    assert document["frame"] == {
        "id": f"{7:032x}",
        "source": "folder",
        "name": "a.png",
        "captured_at": "2026-01-02T03:11:05.678+00:00",
        "width": 320,
        "height": 240,
        "digest": one.frame.digest,
    }
    assert document["image"] == {"width": 320, "height": 240, "sha256": hashlib.sha256(jpeg).hexdigest()}
    assert document["reason"] == {"kind": "uncertain", "detail": "red scored 0.55"}
    assert document["model"] == {
        "name": "colors",
        "version": "1.0.0",
        "digest": "sha256:" + "0" * 64,
        "precision": "fp32",
        "provider": "fake",
    }
    assert document["prompts"] == [{"text": "red", "threshold": 0.5, "label": "a red thing"}]
    assert document["prompts_digest"] == prompts_digest(document["prompts"])
    assert document["perceptual_hash"] == to_hex(dhash(one.frame.image))
    assert document["cloud"] is None
    jsonschema.Draft202012Validator(detections_schema()).validate(document["device"])
    assert len(document["device"]["features"]) == len(one.device.detections) > 0
    size = sum(path.stat().st_size for path in root.iterdir())
    assert (folder.counts().kept, folder.counts().kept_bytes, folder.counts().stored) == (1, size, 1)


def test_coordinates_are_those_of_the_frame_when_the_picture_has_fewer_pixels(opener: Opener) -> None:
    folder = opener()
    one = candidate(1)
    folder.keep(replace(one, frame=replace(one.frame, size=(640, 480))))
    folder.close()
    _, document = only_document(opener)
    assert (document["frame"]["width"], document["image"]["width"]) == (640, 320)


def test_a_disagreement_has_both_messages(opener: Opener) -> None:
    folder = opener()
    example = disagreement()
    folder.offer(example)
    folder.close()
    _, document = only_document(opener)
    assert document["reason"]["kind"] == "disagreement"
    assert "only the device has" in document["reason"]["detail"]
    assert [len(document[side]["features"]) for side in ("device", "cloud")] == [len(example.device.detections), 0]
    assert document["cloud"]["origin"]["by"] == "cloud"
    for side in ("device", "cloud"):
        jsonschema.Draft202012Validator(detections_schema()).validate(document[side])


def test_the_oldest_leave_when_it_is_full_and_are_counted(opener: Opener) -> None:
    probe = opener()
    opener.fill(probe, candidate(0))
    room = int(3.5 * probe.counts().kept_bytes)
    probe.close()
    folder = opener(max_bytes=room)
    opener.fill(folder, *map(candidate, range(1, 7)))
    assert [name[-1] for name in opener.names()] == ["4", "5", "6"]
    counts = folder.counts()
    assert (counts.kept, counts.stored, counts.evicted, counts.let_go) == (3, 6, 4, 0)
    assert counts.kept_bytes <= room


def test_what_a_killed_process_left_is_cleared_away_and_a_folder_that_is_too_full_is_cut(opener: Opener) -> None:
    folder = opener()
    opener.fill(folder, *map(candidate, range(3)))
    size = folder.counts().kept_bytes
    folder.close()
    for left in (DRAFT, f"{GONE}20260102T031105678901-1"):
        (opener.root / "examples" / left).mkdir()
    assert opener(max_bytes=size // 2).counts().kept == 1
    assert [path.name[-1] for path in (opener.root / "examples").iterdir()] == ["2"]


def test_what_was_taken_out_makes_room(opener: Opener) -> None:
    folder = opener()
    opener.fill(folder, candidate(1))
    remove(opener.root / "examples" / opener.names()[0])
    assert list((opener.root / "examples").iterdir()) == []
    opener.fill(folder, candidate(2))
    assert (folder.counts().kept, folder.counts().evicted) == (1, 0)


def test_what_looks_like_one_before_is_not_kept_again_not_even_after_a_restart(opener: Opener) -> None:
    first = candidate(1)
    noisy = np.clip(first.frame.image.astype(int) + np.random.default_rng(0).integers(-3, 4, (240, 320, 3)), 0, 255)
    again = candidate(2, image=noisy.astype(np.uint8))
    folder = opener()
    opener.fill(folder, first, again)
    assert (folder.counts().stored, folder.counts().repeated) == (1, 1)
    folder.close()
    restarted = opener()
    opener.fill(restarted, again, candidate(3))
    assert (restarted.counts().stored, restarted.counts().repeated) == (1, 1)


def test_the_same_frame_is_written_once(opener: Opener) -> None:
    folder = opener()
    opener.fill(folder, candidate(1))
    folder.keep(candidate(1))
    folder.close()
    assert sum_of(folder) == folder.counts().stored == 1


def test_quotas_hold_over_a_restart_and_random_ones_have_their_own(opener: Opener) -> None:
    folder = opener(per_hour=4)
    opener.fill(folder, *map(candidate, range(5)))
    assert (folder.counts().stored, folder.counts().over_quota) == (3, 2)
    folder.close()
    restarted = opener(per_hour=4)
    opener.fill(restarted, candidate(5), candidate(6, "random"), candidate(7, "random"))
    assert (restarted.counts().stored, restarted.counts().over_quota) == (1, 2)
    opener.now += 3600
    opener.fill(restarted, candidate(8), candidate(9, "random"))
    assert restarted.counts().stored == 3


def test_a_days_bytes_are_bounded(opener: Opener) -> None:
    probe = opener()
    opener.fill(probe, candidate(0))
    size = probe.counts().kept_bytes
    probe.close()
    opener.now += 86_400
    folder = opener(bytes_per_day=int(2.5 * size))
    opener.fill(folder, *map(candidate, range(1, 5)))
    assert folder.counts().stored < 4
    assert folder.counts().kept_bytes - size <= 2.5 * size
    assert folder.counts().over_quota == 4 - folder.counts().stored


def test_a_writer_that_is_behind_lets_go_and_holds_nobody_up(opener: Opener, monkeypatch: pytest.MonkeyPatch) -> None:
    free, busy = threading.Event(), threading.Event()
    write = HardExamples._store

    def stuck(self: HardExamples, one: Candidate) -> None:
        busy.set()
        assert free.wait(60)
        write(self, one)

    monkeypatch.setattr(HardExamples, "_store", stuck)
    folder = opener()
    folder.keep(candidate(0))
    assert busy.wait(60)
    for number in range(1, 10):
        folder.keep(candidate(number))
    assert folder.counts().let_go == 9 - WAITING
    free.set()
    folder.close()
    assert folder.counts().stored == 1 + WAITING


def test_what_fits_into_no_folder_and_what_no_disk_takes_is_let_go(opener: Opener) -> None:
    small = opener(max_bytes=100)
    opener.fill(small, candidate())
    assert (small.counts().let_go, small.counts().stored) == (1, 0)
    (opener.root / "file").write_text("no folder")
    nowhere = opener(where="file/examples")
    opener.fill(nowhere, candidate())
    assert nowhere.counts().let_go == 1


def test_what_cannot_be_counted_is_not_kept(opener: Opener) -> None:
    (opener.root / "quotas").write_text("no folder")
    folder = opener()
    opener.fill(folder, candidate())
    assert (folder.counts().let_go, folder.counts().stored) == (1, 0)


def test_others_have_no_access(opener: Opener) -> None:
    folder = opener()
    opener.fill(folder, candidate())
    for path in (opener.root / "examples", *examples_in(opener.root / "examples")):
        assert path.stat().st_mode & 0o777 == 0o770


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"format": 2, "frame": {"id": "a", "captured_at": "2026-01-02T03:11:05+00:00"}, "image": {"sha256": "%s"}}'
        % (b"0" * 64),
        b'{"format": 1, "frame": {"id": "../a", "captured_at": "2026-01-02T03:11:05+00:00"}, "image": {"sha256": "%s"}}'
        % (b"0" * 64),
        b'{"format": 1, "frame": {"id": "a", "captured_at": "yesterday"}, "image": {"sha256": "%s"}}' % (b"0" * 64),
        b'{"format": 1, "frame": {"id": "a", "captured_at": "2026-01-02T03:11:05+00:00"}, "image": {"sha256": "x"}}',
    ],
)
def test_what_is_no_example_is_not_read_as_one(tmp_path: Path, document: bytes) -> None:
    (tmp_path / EXAMPLE).write_bytes(document)
    with pytest.raises(DamagedExample):
        read_example(tmp_path)


def test_a_key_is_by_day_of_capture_in_utc(tmp_path: Path) -> None:
    sha256 = "0" * 64
    (tmp_path / EXAMPLE).write_text(
        json.dumps(
            {
                "format": 1,
                "frame": {"id": "abc", "captured_at": "2026-01-02T00:30:00+02:00"},
                "image": {"sha256": sha256},
            }
        )
    )
    assert read_example(tmp_path).key("hard-examples", "line-7") == "hard-examples/line-7/2026/01/01/abc/"


KILLED = """
import sys
from pathlib import Path
from unit.hard_examples.test_folder import Opener, candidate
folder = (opener := Opener(Path(sys.argv[1])))(max_bytes=100_000)
number = int(sys.argv[2])
while True:
    opener.fill(folder, candidate(number))
    number += 1
    print(number, flush=True)
"""


@pytest.mark.long
def test_killed_at_any_moment_it_holds_whole_examples_only(tmp_path: Path) -> None:
    paths = [entry for entry in sys.path if entry]
    for attempt in range(4):
        process = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path), str(100 * attempt)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        )
        assert process.stdout is not None
        with process:
            for _ in range(3 + attempt):
                assert process.stdout.readline()
            process.send_signal(signal.SIGKILL)
        found = examples_in(tmp_path / "examples")
        assert found
        for path in found:
            example = read_example(path)
            assert hashlib.sha256((path / FRAME).read_bytes()).hexdigest() == example.image_sha256
