"""Average precision is COCO's: the evaluator's own figures from COCO's own files, and one worked out by hand."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import numpy as np
import pycocotools.mask as coco_mask
import pytest
import shapely
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from sam3edge.core.types import Box, Detection, Prompt
from sam3edge_pipeline.datasets.examples import LabeledObject
from sam3edge_pipeline.evaluation.coco import average_precision
from sam3edge_pipeline.evaluation.comparison import compare
from support.labeled import example, result

A, B, C = (0.0, 0.0, 20.0, 20.0), (30.0, 0.0, 50.0, 20.0), (60.0, 0.0, 80.0, 20.0)
A_MOST: Box = (0.0, 0.0, 20.0, 15.0)


def test_by_hand() -> None:
    # two objects; by falling score right, wrong, right: precision 1 up to recall 0.5 (51 of the 101 points), then 2/3
    one = result("one", [A, B], {A: 0.9, C: 0.8, B: 0.7})
    for shape in ("segm", "bbox"):
        total = average_precision([one], shape).total  # type: ignore[arg-type]
        assert total.mean == pytest.approx((51 + 50 * 2 / 3) / 101, abs=1e-9)
        assert total.at_50 == total.at_75 == pytest.approx(total.mean, abs=1e-12)


def test_an_overlap_of_075_is_right_at_six_of_ten_overlaps() -> None:
    total = average_precision([result("one", [A], {A_MOST: 0.9})], "segm").total
    assert total.mean == pytest.approx(0.6)
    assert (total.at_50, total.at_75) == pytest.approx((1.0, 1.0))


def test_what_lies_in_an_ignored_object_is_neither_right_nor_wrong() -> None:
    inside: Box = (62.0, 2.0, 66.0, 6.0)
    assert average_precision([result("one", [A], {inside: 0.9, A: 0.8})], "segm").total.mean == pytest.approx(0.5)
    within = result("one", [A], {inside: 0.9, A: 0.8}, ignored=[C])
    assert average_precision([within], "segm").total.mean == pytest.approx(1.0)


def test_masks_and_boxes_are_compared_apart() -> None:
    triangle = shapely.Polygon([(0, 0), (20, 0), (0, 20)])
    labeled = example("one", [LabeledObject("car", shapely.box(*A))])
    found = compare(labeled, "car", [Detection(Prompt("car"), 0.9, A, triangle.area, triangle)])
    assert average_precision([found], "bbox").total.mean == pytest.approx(1.0)
    assert average_precision([found], "segm").total.at_75 == pytest.approx(0.0)


def test_phrases_count_alike_and_those_without_an_object_do_not_count() -> None:
    results = [
        result("one", [A, B], {A: 0.9, B: 0.9}),
        result("one", [C], {}, phrase="ship"),
        result("one", [], {A: 0.9}, phrase="tree"),
    ]
    figures = average_precision(results, "segm")
    assert {phrase: one.mean for phrase, one in figures.by_phrase.items()} == {"car": 1.0, "ship": 0.0, "tree": None}
    assert figures.total.mean == pytest.approx(0.5)


def test_nothing_asked_gives_nothing() -> None:
    assert average_precision([], "segm").total.mean is None


@pytest.mark.parametrize("shape", ["segm", "bbox"])
def test_it_is_what_the_evaluator_says_of_files(tmp_path: Path, shape: str) -> None:
    """Random boxes, through COCO's files and ``summarize``, with masks that are drawn without our rasterizer."""
    rng = np.random.default_rng(4)
    results, truth, found = [], [], []
    for image in range(1, 9):
        for number, phrase in enumerate(("car", "ship", "tree"), 1):
            true = [_random_box(rng) for _ in range(rng.integers(0, 4))]
            shaken = [_shaken(box, rng) for box in true if rng.random() < 0.8]
            ours = [(box, round(float(rng.uniform(0.1, 1)), 3)) for box in [*shaken, _random_box(rng)]]
            crowd = [_random_box(rng)] if rng.random() < 0.3 else []
            results.append(result(f"image-{image}", true, ours, crowd, phrase))
            here = {"image_id": image, "category_id": number}
            for box, ignored in [(b, 0) for b in true] + [(b, 1) for b in crowd]:
                truth.append({**here, "id": len(truth) + 1, "iscrowd": ignored, **_annotation(box)})
            found += [{**here, "score": score, **_annotation(box)} for box, score in ours]
    images = [{"id": i, "width": 100, "height": 80} for i in range(1, 9)]
    categories = [{"id": i, "name": n} for i, n in enumerate(("car", "ship", "tree"), 1)]
    (tmp_path / "truth.json").write_text(json.dumps({"images": images, "categories": categories, "annotations": truth}))
    (tmp_path / "found.json").write_text(json.dumps(found))
    with contextlib.redirect_stdout(io.StringIO()):
        reference = COCO(str(tmp_path / "truth.json"))
        evaluation = COCOeval(reference, reference.loadRes(str(tmp_path / "found.json")), shape)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    total = average_precision(results, shape).total  # type: ignore[arg-type]
    assert 0.2 < evaluation.stats[1] < 1
    assert (total.mean, total.at_50, total.at_75) == pytest.approx(tuple(evaluation.stats[:3]), abs=1e-12)


def _random_box(rng: np.random.Generator) -> Box:
    x, y = rng.integers(0, 70), rng.integers(0, 50)
    return float(x), float(y), float(x + rng.integers(8, 30)), float(y + rng.integers(8, 30))


def _shaken(box: Box, rng: np.random.Generator) -> Box:
    x0, y0, x1, y1 = (v + float(rng.integers(-2, 3)) for v in box)
    return max(0.0, x0), max(0.0, y0), min(100.0, x1), min(80.0, y1)


def _annotation(box: Box) -> dict[str, object]:
    x0, y0, x1, y1 = (int(v) for v in box)
    mask = np.zeros((80, 100), np.uint8, order="F")
    mask[y0:y1, x0:x1] = 1
    encoded = coco_mask.encode(mask)
    segmentation = {"size": encoded["size"], "counts": encoded["counts"].decode()}
    return {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0), "segmentation": segmentation}
