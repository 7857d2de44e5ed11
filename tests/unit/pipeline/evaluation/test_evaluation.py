"""From an engine and labelled images to figures, a document and a page."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from sam3edge.core.errors import EngineError
from sam3edge.core.types import EngineOutput, Frame, Prompt
from sam3edge.engines.fake import FakeEngine
from sam3edge_pipeline.datasets.examples import Example, Split
from sam3edge_pipeline.evaluation.answers import AskOptions, ask
from sam3edge_pipeline.evaluation.cases import worst_cases
from sam3edge_pipeline.evaluation.document import DatasetIdentity, to_document
from sam3edge_pipeline.evaluation.evaluation import Evaluation, evaluate
from sam3edge_pipeline.evaluation.judging import digest_of
from sam3edge_pipeline.evaluation.report import retained_of, write_report
from sam3edge_pipeline.evaluation.retained import read_baseline
from support.labeled import example, labeled, result, write_squares

RED, GREEN = (255, 0, 0), (0, 255, 0)
PALE_RED = (255, 80, 80)
"""``FakeEngine`` gives it a score of about 0.69."""

A, B, C = (10.0, 10.0, 40.0, 40.0), (60.0, 10.0, 90.0, 40.0), (60.0, 50.0, 90.0, 70.0)
DATASET = DatasetIdentity("squares", "sha256:dd", "test")


@pytest.fixture
def images(tmp_path: Path) -> list[Example]:
    """Two red squares that are found and one that is missed, since it is green, a pale one invented, an empty image."""
    both = write_squares(tmp_path / "both.png", {A: RED, B: RED, C: GREEN})
    pale = write_squares(tmp_path / "pale.png", {A: PALE_RED})
    empty = write_squares(tmp_path / "empty.png", {})
    return [
        example("both", [labeled(A, "red"), labeled(B, "red"), labeled(C, "red")], ("red", "blue"), image=both),
        example("pale", [], ("red",), image=pale),
        example("empty", [], ("red", "green"), image=empty),
    ]


class Remembering(FakeEngine):
    """Remembers what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, tuple[Prompt, ...]]] = []

    def segment(self, frame: Frame, prompts: Sequence[Prompt]) -> EngineOutput:
        self.asked.append((frame.name, tuple(prompts)))
        return super().segment(frame, prompts)


def test_only_phrases_that_an_image_is_labeled_for_exhaustively_are_asked(images: list[Example]) -> None:
    engine = Remembering()
    unlabeled = replace(images[0], exhaustive=())
    answers = ask(engine, [*images, unlabeled])
    asked = {(name, prompt.text) for name, prompts in engine.asked for prompt in prompts}
    assert asked == {("both.png", p) for p in ("red", "blue")} | {("pale.png", "red")} | {
        ("empty.png", "red"),
        ("empty.png", "green"),
    }
    assert [(r.example.image.name, r.phrase) for r in answers.results] == [
        ("both.png", "red"),
        ("both.png", "blue"),
        ("pale.png", "red"),
        ("empty.png", "red"),
        ("empty.png", "green"),
    ]


def test_the_engine_is_timed_as_a_device_asks_it_and_the_first_image_is_left_out(images: list[Example]) -> None:
    engine, now = Remembering(), iter([0.0, 9.0, 10.0, 10.25, 20.0, 20.5])
    answers = ask(engine, images, AskOptions(threshold=0.6, floor=0.1), clock=lambda: next(now))
    assert answers.milliseconds == pytest.approx((250.0, 500.0))
    assert [{p.threshold for p in prompts} for _, prompts in engine.asked] == [{0.6}, {0.1}] * 3


def test_an_image_that_cannot_be_used_costs_nothing_but_itself(images: list[Example], tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"not an image")
    bad = [
        example("broken", [], ("red",), image=broken),
        example("gone", [], ("red",), image=tmp_path / "gone.png"),
        replace(images[0], id="0" * 64, image=write_squares(tmp_path / "small.png", {}, (20, 20))),
    ]
    answers = ask(FakeEngine(), [*bad, *images])
    assert list(answers.unusable) == [one.id for one in bad]
    assert [text.split(":")[0] for text in answers.unusable.values()] == ["broken.png", "gone.png", "small.png"]
    assert "100 x 80" in answers.unusable["0" * 64]
    assert len(answers.results) == 5


def test_unusable_images_of_both_splits_are_in_the_report(images: list[Example], tmp_path: Path) -> None:
    gone = example("gone", [], ("red",), image=tmp_path / "gone.png")
    lost = example("lost", [], ("red",), "validation", tmp_path / "lost.png")
    found = evaluate(FakeEngine(), [gone, *images], [lost])
    document = write_report(found, DATASET, tmp_path / "report")
    assert set(document["unusable"]) == {gone.id, lost.id}
    assert "lost.png" in (tmp_path / "report" / "index.html").read_text()


def test_without_any_usable_image_there_are_no_figures(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"gone\.png"):
        evaluate(FakeEngine(), [example("gone", [], ("red",), image=tmp_path / "gone.png")])


def test_an_engine_that_cannot_run_ends_it(images: list[Example]) -> None:
    with pytest.raises(EngineError):
        evaluate(FakeEngine(fail=EngineError("no memory")), images)


def test_phrases_that_the_model_does_not_support_are_named_and_missed(tmp_path: Path) -> None:
    image = write_squares(tmp_path / "a.png", {A: RED})
    found = evaluate(FakeEngine(), [example("a", [labeled(A, "car")], ("car",), image=image)])
    assert set(found.answers.unsupported) == {"car"}
    assert (found.at_50.missed, found.cgf1.cgf1) == (1, 0.0)


def test_the_figures_of_an_engine_that_sees_colours(images: list[Example]) -> None:
    found = evaluate(FakeEngine(), images)
    assert (found.at_50.found, found.at_50.missed, found.at_50.invented) == (2, 1, 1)
    assert (found.false_alarms.absent, found.false_alarms.alarms) == (4, 1)
    # image level: TP 1, FP 1, TN 3, FN 0: 3 / sqrt(2 * 1 * 4 * 3)
    assert found.cgf1.il_mcc == pytest.approx(3 / 24**0.5, abs=1e-6)
    # scores of 1 find two of three objects before 0.69 finds nothing: 67 of 101 recalls
    assert found.mask_ap.by_phrase["red"].at_50 == pytest.approx(67 / 101)
    assert found.polygons.worst is not None
    assert found.polygons.worst > 0.9
    assert found.latency(50) is not None


def test_thresholds_come_from_the_validation_split(images: list[Example], tmp_path: Path) -> None:
    before = [
        example("v", [labeled(A, "red")], ("red",), "validation", write_squares(tmp_path / "v.png", {A: RED})),
        example("w", [], ("red",), "validation", write_squares(tmp_path / "w.png", {A: PALE_RED})),
    ]
    found = evaluate(FakeEngine(), images, before)
    red = found.phrases["red"]
    assert red.calibration is not None
    assert 0.69 < red.calibration.threshold < 1
    assert (red.calibration.f1, red.calibration.images) == (1.0, 2)
    assert (red.at_50.invented, red.calibrated_at_50) == (1, replace(red.at_50, invented=0))
    assert red.calibrated_false_alarms is not None
    assert red.calibrated_false_alarms.alarms == 0
    assert found.phrases["green"].calibration is None
    assert found.calibrated_at_50 == replace(found.at_50, invented=0)
    assert (found.validation_images, found.images) == (2, 3)


@pytest.mark.parametrize("split", ["test", "train"])
def test_thresholds_are_not_chosen_on_other_splits(images: list[Example], split: Split) -> None:
    with pytest.raises(ValueError, match="validation split"):
        evaluate(FakeEngine(), images, [replace(images[0], split=split, group="other")])


def test_a_group_must_not_be_in_both_splits(images: list[Example]) -> None:
    with pytest.raises(ValueError, match="one split only"):
        evaluate(FakeEngine(), images, [replace(images[0], split="validation")])


def test_examples_of_several_splits_or_of_none_are_not_judged_by(images: list[Example]) -> None:
    with pytest.raises(ValueError, match="one split"):
        evaluate(FakeEngine(), [images[0], replace(images[1], split="train")])
    with pytest.raises(ValueError, match="no split"):
        evaluate(FakeEngine(), [])
    with pytest.raises(ValueError, match="exhaustively"):
        evaluate(FakeEngine(), [replace(images[0], exhaustive=())])


@pytest.mark.parametrize(("threshold", "floor"), [(0.3, 0.4), (0.9, 0.6), (1.1, 0.1), (0.5, -0.1)])
def test_options_that_would_leave_figures_wrong_are_refused(threshold: float, floor: float) -> None:
    with pytest.raises(ValueError, match="floor"):
        AskOptions(threshold, floor)


def test_the_worst_cases_come_first_and_are_bounded() -> None:
    small, large = (0.0, 0.0, 10.0, 10.0), (0.0, 0.0, 40.0, 40.0)
    results = [
        result("a", [small], {B: 0.6}),
        result("b", [large], {B: 0.9}),
        result("c", [A], {(10.0, 10.0, 40.0, 28.0): 0.9}),
        result("d", [A], {(10.0, 10.0, 40.0, 34.0): 0.9}),
        result("e", [A], {A: 0.9}),
        result("f", [A], {A: 0.9, C: 0.3}),
    ]
    cases = [(case.kind, case.result.example.image.name) for case in worst_cases(results, 0.5, 2)]
    assert cases == [
        ("missed", "b.png"),
        ("missed", "a.png"),
        ("invented", "b.png"),
        ("invented", "a.png"),
        ("badly outlined", "c.png"),
        ("badly outlined", "d.png"),
    ]
    assert [case.kind for case in worst_cases(results, 0.5, 1)] == ["missed", "invented", "badly outlined"]


def test_the_document_has_these_keys(images: list[Example]) -> None:
    document = to_document(evaluate(FakeEngine(), images), DATASET, "2026-01-02T00:00:00+00:00")
    assert list(document) == [
        "format", "date", "model", "dataset", "options", "figures", "cgf1_positive_micro_f1_by_iou", "phrases",
        "calibration", "retained", "unsupported", "unusable",
    ]  # fmt: skip
    assert list(document["figures"]) == [
        "cgf1", "positive_micro_f1", "il_mcc", "mask_ap", "mask_ap_50", "mask_ap_75", "box_ap", "box_ap_50",
        "box_ap_75", "mask_f1_50", "mask_precision_50", "mask_recall_50", "mask_f1_75", "mask_precision_75",
        "mask_recall_75", "false_alarms", "polygon_iou_mean", "polygon_iou_worst", "ece", "calibrated_mask_f1_50",
        "calibrated_false_alarms", "latency_median_ms", "latency_p95_ms",
    ]  # fmt: skip
    assert document["figures"]["mask_f1_50"] == {"value": pytest.approx(2 / 3, abs=1e-6), "n": 3, "of": "objects"}
    assert document["figures"]["calibrated_mask_f1_50"]["value"] is None
    assert document["dataset"] == {
        "name": "squares", "digest": "sha256:dd", "split": "test", "images": 3, "pairs": 5, "objects": 3,
        "validation_images": 0,
    }  # fmt: skip
    assert json.loads(json.dumps(document, allow_nan=False)) == document


def test_a_report_is_two_files_and_the_page_needs_nothing_else(images: list[Example], tmp_path: Path) -> None:
    document = write_report(evaluate(FakeEngine(), images), DATASET, tmp_path / "out" / "report")
    assert sorted(path.name for path in (tmp_path / "out" / "report").iterdir()) == ["index.html", "report.json"]
    assert json.loads((tmp_path / "out" / "report" / "report.json").read_text()) == document
    page = (tmp_path / "out" / "report" / "index.html").read_text()
    assert not re.search(r'(?:src|href)="(?!data:)', page)
    assert page.count("data:image/jpeg;base64,") == 2  # the missed green square and the invented pale one
    assert "colors 1.0.0" in page
    assert "0.667" in page


def test_names_of_images_and_phrases_are_text_on_the_page(tmp_path: Path) -> None:
    image = write_squares(tmp_path / "<b>.png", {A: RED})
    phrase = "<script>"
    found = evaluate(FakeEngine(), [example("a", [labeled(A, phrase)], (phrase,), image=image)])
    write_report(found, DATASET, tmp_path / "report")
    page = (tmp_path / "report" / "index.html").read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "<b>.png" not in page


def test_a_report_is_the_baseline_of_the_next(images: list[Example], tmp_path: Path) -> None:
    first: Evaluation = evaluate(FakeEngine(), images)
    write_report(first, DATASET, tmp_path / "first")
    worse = [replace(images[0], objects=(*images[0].objects, labeled((0.0, 0.0, 9.0, 9.0), "red"))), *images[1:]]
    second = evaluate(FakeEngine(version="2.0.0"), worse)
    retained = retained_of(second, DATASET, read_baseline(tmp_path / "first" / "report.json"), ["red", "unicorn"])
    # 2 found, 2 missed, 1 invented: 4 / 7, before 2 / 3
    assert retained.changes[0].f1_change == pytest.approx(4 / 7 - 2 / 3, abs=1e-6)
    assert retained.changes[0].false_alarms_change == 0
    assert retained.unmeasured == ("unicorn",)
    document = write_report(second, DATASET, tmp_path / "second", retained)
    assert document["retained"]["worst_phrase"] == "red"
    assert document["retained"]["phrases"]["red"]["mask_f1_50_change"] < 0
    assert "What the model knew before" in (tmp_path / "second" / "index.html").read_text()


def test_the_digest_of_a_dataset_is_of_all_that_figures_depend_on(images: list[Example]) -> None:
    digest = digest_of(images)
    assert digest_of(images[::-1]) == digest
    first = images[0]
    changed = [
        replace(first, id="0" * 64),
        replace(first, split="train"),
        replace(first, exhaustive=("red",)),
        replace(first, objects=first.objects[1:]),
        replace(first, objects=(replace(first.objects[0], ignored=True), *first.objects[1:])),
        replace(first, objects=(labeled((10.0, 10.0, 40.0, 41.0), "red"), *first.objects[1:])),
    ]
    assert len({digest, *(digest_of([one, *images[1:]]) for one in changed)}) == 7
