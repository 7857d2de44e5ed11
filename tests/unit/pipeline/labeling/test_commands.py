"""The commands of datasets and labeling, from uploaded examples and label files to dataset versions."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sam3edge_pipeline.datasets.__main__ import app as datasets
from sam3edge_pipeline.datasets.formats.annotations import FormatError, ImageAnnotations
from sam3edge_pipeline.datasets.formats.coco import coco_of
from sam3edge_pipeline.datasets.store import open_dataset
from sam3edge_pipeline.labeling.__main__ import app as labeling
from sam3edge_pipeline.labeling.review.decisions import Action
from sam3edge_pipeline.labeling.review.queue import ReviewQueue
from sam3edge_pipeline.labeling.uploads import uploads_in
from support.labeled_images import HEIGHT, WIDTH, at, square, write_image
from support.reviews import queue, uploaded


def upload(folder: Path, name: str = "f1", scale: float = 1) -> Path:
    target = folder / "hard-examples" / "thing-1" / "2026" / "01" / "02" / name
    target.mkdir(parents=True)
    example, jpeg = uploaded(scale)
    (target / "frame.jpg").write_bytes(jpeg)
    (target / "example.json").write_bytes(example)
    return target


def arguments(folder: Path, version: str, *more: str) -> list[str]:
    return [
        *("import", str(folder / "labels.json"), "--format", "coco", "--images", str(folder / "images")),
        *("--out", str(folder / version), "--name", "line", "--version", version, *more),
    ]


def test_import_show_and_split(tmp_path: Path) -> None:
    for number in range(4):
        write_image(tmp_path / "images" / f"s{number}" / f"{number}.png", 10 + 70 * number)
    labeled = [ImageAnnotations(f"s{n}/{n}.png", WIDTH, HEIGHT, (square(10 + 70 * n),)) for n in range(4)]
    (tmp_path / "labels.json").write_bytes(coco_of(labeled))
    runner = CliRunner()
    made = runner.invoke(datasets, arguments(tmp_path, "1", "--shares", "0.5", "0.25", "0.25", "--distance", "0"))
    assert made.exit_code == 0, made.output
    assert open_dataset(tmp_path / "1").manifest.examples == {"train": 2, "validation": 1, "test": 1}  # type: ignore[union-attr]
    shown = runner.invoke(datasets, ["show", str(tmp_path / "1")])
    assert "red: 4 objects, absent from 0 images" in shown.output
    early = runner.invoke(datasets, ["show", str(tmp_path / "1"), "--as-of", "2001-01-01"])
    assert "objects" not in early.output
    again = ["split", str(tmp_path / "1"), "--out", str(tmp_path / "2"), "--version", "2", "--shares", "0", "0", "1"]
    assert runner.invoke(datasets, again).exit_code == 0
    opened = open_dataset(tmp_path / "2")
    assert opened.manifest is not None
    assert opened.manifest.examples == {"train": 0, "validation": 0, "test": 4}
    assert opened.manifest.parent is not None


def test_what_is_wrong_is_said_with_status_2(tmp_path: Path) -> None:
    write_image(tmp_path / "images" / "0.png")
    (tmp_path / "labels.json").write_text("{")
    runner = CliRunner()
    for wrong in (
        arguments(tmp_path, "1"),
        arguments(tmp_path, "1", "--pre-labels", "--exhaustive", "red"),
        ["show", str(tmp_path / "none")],
    ):
        assert runner.invoke(datasets, wrong).exit_code == 2
    assert (
        runner.invoke(labeling, ["store", str(tmp_path), "--out", "x", "--name", "a", "--version", "1"]).exit_code == 2
    )


def test_uploads_are_proposed_reviewed_and_stored(tmp_path: Path) -> None:
    upload(tmp_path / "bucket")
    half = tmp_path / "bucket" / "hard-examples" / "thing-1" / "2026" / "01" / "02" / "f2"
    half.mkdir()
    (half / "frame.jpg").write_bytes(b"still being copied")
    runner = CliRunner()
    proposed = runner.invoke(
        labeling,
        ["propose", str(tmp_path / "bucket"), "--queue", str(tmp_path / "q"), "--job", "may", "--phrase", "Hole"],
    )
    assert proposed.exit_code == 0, proposed.output
    reviewed = ReviewQueue(tmp_path / "q" / "may")
    [image] = reviewed.ids
    assert reviewed.item(image).phrases == ("hole", "red", "dent")
    assert reviewed.item(image).record.group == "thing-1/folder/20260102T03"
    actions = [
        Action("accept_all", "ann", at(9)),
        *(Action("absent", "ann", at(9), phrase=p) for p in ("hole", "dent")),
    ]
    for revision, action in enumerate([*actions, Action("done", "ann", at(9))]):
        reviewed.act(image, action, revision)
    stored = [*("store", str(tmp_path / "q" / "may"), "--out", str(tmp_path / "v")), "--name", "line", "--version", "1"]
    assert runner.invoke(labeling, stored).exit_code == 0
    [example] = open_dataset(tmp_path / "v").examples
    assert [one.phrase for one in example.objects] == ["red"]
    assert set(example.absent) == {"hole", "dent"}


def test_addresses_of_uploads_are_those_of_the_bucket(tmp_path: Path) -> None:
    target = upload(tmp_path)
    [one] = uploads_in(tmp_path, pytest.fail, "s3://bucket/")
    assert target.name == "f1"
    assert one.image.address == "s3://bucket/hard-examples/thing-1/2026/01/02/f1/frame.jpg"


def test_damaged_uploads_cost_the_others_nothing(tmp_path: Path) -> None:
    without_frame, cut_short = upload(tmp_path, "a"), upload(tmp_path, "b")
    upload(tmp_path, "c")
    (without_frame / "frame.jpg").unlink()
    (cut_short / "example.json").write_text("{")
    damaged: list[FormatError] = []
    [one] = uploads_in(tmp_path, damaged.append)
    assert one.example.record.origin.endswith("/c")
    assert [re.search("/([ab])/", str(error))[1] for error in damaged] == ["a", "b"]  # type: ignore[index]


def test_the_review_prints_its_address_serves_and_ends_when_told(tmp_path: Path) -> None:
    queue(tmp_path)
    command = [
        sys.executable,
        "-m",
        "sam3edge_pipeline.labeling",
        "review",
        str(tmp_path / "queue"),
        "--reviewer",
        "ann",
    ]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        try:
            assert process.stderr is not None
            found = re.search(r"http://127\.0\.0\.1:(\d+)(/\S+/)", process.stderr.readline())
            assert found is not None
            connection = http.client.HTTPConnection("127.0.0.1", int(found[1]), timeout=30)
            connection.request("GET", found[2] + "next")
            assert json.loads(connection.getresponse().read())["progress"] == {"done": 0, "total": 1}
            connection.close()
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
