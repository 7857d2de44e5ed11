"""The command, with the demo bundle and a few of its held-out scenes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from sam3edge.images.files import read_frame
from sam3edge_pipeline.evaluation import report
from sam3edge_pipeline.evaluation.judging import read_dataset
from sam3edge_pipeline.synthetic import PHRASES, draw_scene
from sam3edge_pipeline.synthetic.examples import TEST_SEEDS, VALIDATION_SEEDS, write_examples


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["report", *map(str, arguments)])
    try:
        report.main()
    except SystemExit as left:
        return int(left.code or 0)
    return 0


def test_it_judges_a_bundle_by_itself_and_then_by_its_own_report(
    demo_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    common = ("--bundle", demo_bundle, "--dataset", "synthetic", "--images", 3)
    assert run(monkeypatch, *common, "--out", tmp_path / "first") == 0
    first = json.loads((tmp_path / "first" / "report.json").read_text())
    assert (first["dataset"]["split"], first["dataset"]["images"], first["dataset"]["validation_images"]) == (
        "test", 3, 3,
    )  # fmt: skip
    assert first["model"]["name"] == "sam3edge-demo"
    assert set(first["phrases"]) == set(PHRASES)
    assert first["figures"]["mask_f1_50"]["value"] > 0.3
    assert "cgf1" in capsys.readouterr().out
    (tmp_path / "phrases.txt").write_text("Car\ntree, car\n")
    again = ("--baseline", tmp_path / "first" / "report.json", "--retained", tmp_path / "phrases.txt")
    assert run(monkeypatch, *common, "--out", tmp_path / "second", *again) == 0
    retained = json.loads((tmp_path / "second" / "report.json").read_text())["retained"]
    assert list(retained["phrases"]) == ["car", "tree"]
    assert retained["differs"] == []
    assert all(change["mask_f1_50_change"] in (0, None) for change in retained["phrases"].values())


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("--dataset", "nowhere"), "is this the folder of a dataset version"),
        (("--dataset", "synthetic", "--split", "train"), "got train"),
        (("--dataset", "synthetic", "--baseline", "missing.json"), "missing.json"),
        (("--dataset", "synthetic", "--retained", "phrases.txt"), "--retained needs --baseline"),
        (("--dataset", "synthetic", "--images", "0"), "at least 1"),
        (("--dataset", "synthetic", "--threshold", "2"), "threshold"),
    ],
)
def test_what_cannot_be_done_is_said(
    demo_bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    complaint: str,
) -> None:
    assert run(monkeypatch, "--bundle", demo_bundle, "--out", tmp_path / "out", *arguments) != 0
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_scenes_become_examples_of_which_all_is_known(tmp_path: Path) -> None:
    seed = TEST_SEEDS[1]
    [one] = write_examples([seed], tmp_path, "test")
    scene, frame = draw_scene(seed), read_frame(one.image)
    assert np.array_equal(frame.image, scene.image)
    assert frame.digest == f"sha256:{one.id}"
    assert (one.width, one.height) == (frame.width, frame.height)
    assert one.exhaustive == PHRASES
    assert [(o.phrase, round(o.outline.area)) for o in one.objects] == [
        (i.phrase, pytest.approx(i.mask.sum(), rel=0.05)) for i in scene.instances
    ]


def test_the_validation_split_of_the_scenes_is_apart_from_the_test_split(tmp_path: Path) -> None:
    assert not set(VALIDATION_SEEDS) & set(TEST_SEEDS)
    judging = read_dataset("synthetic", "validation", 1, tmp_path)
    assert [one.split for one in judging.examples] == ["validation"]
    assert judging.validation == ()
