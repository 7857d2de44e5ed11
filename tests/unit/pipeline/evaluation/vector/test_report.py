"""The command, its page and its document."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from sklearn.metrics import classification_report
from typer.testing import CliRunner

from sam3edge_pipeline.evaluation.vector.__main__ import app
from sam3edge_pipeline.evaluation.vector.evaluation import MapInputs
from support.map_scenes import CONFUSION, HEIGHT, TRUTH, WIDTH, scene_inputs, write_raster, write_truth
from support.vector_files import names_in


@pytest.fixture
def scene(tmp_path: Path) -> MapInputs:
    return scene_inputs(tmp_path)


def run(scene: MapInputs, *options: str) -> Result:
    folder = scene.raster.parent
    paths = [scene.raster, scene.detections.path, scene.truth.path]
    return CliRunner().invoke(app, [*map(str, paths), "--out", str(folder / "report"), *options])


FIELDS = ("--attribute", "CROP", "--class", "F16=field", "--class", "R=road")


def document_of(scene: MapInputs) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((scene.raster.parent / "report/report.json").read_text())
    return read


class Page(HTMLParser):
    """Texts and pictures of a page, and whether its elements are closed."""

    VOID = frozenset({"meta", "img", "br", "link", "input"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.pictures: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.pictures.append(str(dict(attrs)["src"]))
        if tag not in self.VOID and tag not in ("p", "html"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("p", "html"):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def words(self) -> str:
        """All texts, single-spaced."""
        return " ".join(" ".join(self.texts).split())


def page_of(scene: MapInputs) -> Page:
    return Page((scene.raster.parent / "report/index.html").read_text())


def test_the_command_writes_a_page_and_a_document(scene: MapInputs) -> None:
    done = run(scene, *FIELDS, "--truth-date", "2026-10-01", "--raster-date", "2026-10-02")
    assert done.exit_code == 0, done.output
    assert names_in(scene.raster.parent / "report") == ["index.html", "report.json"]
    document = document_of(scene)
    assert document["pixels"]["confusion"] == CONFUSION
    assert document["objects"]["all"] == pytest.approx(
        {"found": 2, "missed": 1, "invented": 2, "precision": 0.5, "recall": 2 / 3, "f1": 4 / 7}
    )
    assert document["warnings"] == []
    assert document["truth"]["date"] == {"first": "2026-10-01", "last": "2026-10-01"}
    assert document["options"] == {"iou": 0.5, "median_blur": 1, "max_days": 90}
    assert document["raster"]["pixels"] == WIDTH * HEIGHT
    truth = np.repeat([0, 0, 1, 1, 2, 2], [6600, 200, 100, 700, 240, 160])
    found = np.repeat([0, 1, 0, 1, 0, 2], [6600, 200, 100, 700, 240, 160])
    printed = classification_report(truth, found, target_names=["background", "field", "road"])
    assert printed in done.output
    assert printed in (Path(__file__).parents[5] / "docs/evaluation-on-maps.md").read_text()
    assert "objects at IoU 0.5: 2 found, 1 missed, 2 invented, F1 0.57" in done.output


def test_the_page_shows_figures_dates_and_maps(scene: MapInputs) -> None:
    run(scene, *FIELDS, "--truth-date", "2026", "--raster-date", "2026-10-02", "--median-blur", "3")
    page = page_of(scene)
    assert page.open == []
    assert "The truth is of 2026-01-01 to 2026-12-31 , the raster of 2026-10-02" in page.words
    assert "up to 274 days apart, more than 90" in page.words
    assert "median filter of 3 x 3 pixels over the detected classes" in page.words
    assert "North is up" in page.words
    assert "F16 is field, R is road" in page.words
    assert all(word in page.words for word in ("missed", "invented", "another class", "detected and there"))
    document = document_of(scene)
    close_ups = len(page.pictures) - 4
    assert close_ups > 0
    assert close_ups % 4 == 0
    assert all(picture.startswith("data:image/png;base64,") for picture in page.pictures)
    assert str(document["pixels"]["confusion"][0][0]) in page.words


def test_names_from_outside_do_not_become_markup(scene: MapInputs) -> None:
    write_truth(scene.truth.path, {"<b>F16</b>": TRUTH["F16"]})
    done = run(scene, "--attribute", "CROP", "--class", "*=<script>alert(1)</script>")
    assert done.exit_code == 0, done.output
    text = (scene.raster.parent / "report/index.html").read_text()
    assert "<script>" not in text
    assert "&lt;script&gt;" in text


def test_dates_that_are_not_known_are_said(scene: MapInputs) -> None:
    done = run(scene, *FIELDS)
    assert "when the raster was taken is not known; say it by --raster-date" in done.output
    assert "when the truth was drawn is not known" in done.output
    assert "The truth is of an unknown date" in page_of(scene).words


def test_nothing_detected_has_a_page_too(scene: MapInputs) -> None:
    done = run(scene, *FIELDS, "--threshold", "1")
    assert done.exit_code == 0, done.output
    assert "F1 0.00" in done.output
    assert "4 detections have a score that is not above 1" in page_of(scene).words


def test_a_raster_without_any_data_has_a_page_too(scene: MapInputs) -> None:
    write_raster(scene.raster, nodata=np.ones((HEIGHT, WIDTH), bool))
    done = run(scene, *FIELDS)
    assert done.exit_code == 0, done.output
    assert "no pixels" in done.output
    assert page_of(scene).open == []


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ((), "say by --attribute what areas are"),
        ((*FIELDS, "--median-blur", "4"), "expected an odd number of pixels as --median-blur, got 4"),
        ((*FIELDS, "--truth-date", "2015", "--date-attribute", "X"), "--truth-date or --date-attribute, got both"),
        ((*FIELDS, "--truth-date", "soon"), "expected a date such as 2017-06-01"),
        ((*FIELDS, "--layer", "nothing"), "no layer 'nothing'"),
        (("--attribute", "KIND"), "has no attribute 'KIND'"),
        (("--attribute", "CROP", "--class", "X=field"), "nothing of truth.gpkg can be evaluated by"),
        ((*FIELDS, "--detections-attribute", "nothing"), "found.gpkg has no attribute 'nothing'"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(scene: MapInputs, options: tuple[str, ...], reason: str) -> None:
    done = run(scene, *options)
    assert done.exit_code == 2
    assert reason in done.output
    assert not (scene.raster.parent / "report").exists()


def test_a_folder_that_cannot_be_written_is_told(scene: MapInputs) -> None:
    (scene.raster.parent / "report/report.json").mkdir(parents=True)
    done = run(scene, *FIELDS)
    assert done.exit_code == 2
    assert "report cannot be written" in done.output


def test_an_output_that_is_no_folder_is_refused_before_anything(scene: MapInputs) -> None:
    (scene.raster.parent / "report").write_text("in the way")
    scene.raster.unlink()
    ended = run(scene, *FIELDS)
    assert ended.exit_code == 2
    assert "expected a folder as --out" in " ".join(ended.output.split())
