"""Azure's clicks and Roboflow's boxes around examples, over HTTP, with a bundle that has the graphs for them. Its
weights are random: what counts is whose answer comes back, at which size, and how good it says it is."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from sam3edge.bundle.manifest import read_manifest
from sam3edge.bundle.verify import model_files
from sam3edge.core.postprocess import fill_holes
from sam3edge.core.types import PointPrompt, VisualPrompt
from sam3edge.engines.onnx import OnnxEngine, OnnxOptions
from sam3edge.images.files import read_frame
from sam3edge_serving.endpoint.formats.masks import full_mask
from support.endpoint_server import Server, error, launch
from support.rle import decode_rle
from support.small_release import small_release

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(600),  # the first to come exports the bundle
    pytest.mark.xdist_group("clicks"),
]

SCENE = Path(__file__).parents[3] / "assets" / "scenes" / "scene-05.jpg"
COLUMNS = ["image", "input_points", "input_boxes", "input_labels", "multimask_output"]


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_release(tmp_path_factory)


@pytest.fixture(scope="module")
def server(released: Path) -> Iterator[Server]:
    started = launch(released, SAM3EDGE_THREADS="1")
    try:
        started.wait_until_ready()
        yield started
    finally:
        assert started.stop() == 0


def mask_of(answer: dict[str, Any]) -> npt.NDArray[np.bool_]:
    png = np.frombuffer(base64.b64decode(answer["encoded_binary_mask"]), np.uint8)
    return np.asarray(cv2.imdecode(png, cv2.IMREAD_UNCHANGED)) > 0


def test_azures_points_and_boxes_are_answered_with_the_masks_of_the_bundle(server: Server, released: Path) -> None:
    image = base64.b64encode(SCENE.read_bytes()).decode()
    rows = [
        [image, "[[[50, 60], [90, 40]]]", "", "[[1, 0]]", True],
        [image, "", "[[10, 20, 200, 180], [30, 40, 90, 90]]", "", False],
    ]
    response = server.post_json({"input_data": {"columns": COLUMNS, "index": [0, 1], "data": rows}, "params": {}})
    assert response.status == 200, response.data[:500]
    first, second = ([p["masks_per_prediction"] for p in row["response"]["predictions"]] for row in response.json())
    assert [len(masks) for masks in first] == [3]
    assert [len(masks) for masks in second] == [1, 1]
    frame = read_frame(SCENE)
    engine = OnnxEngine(model_files(released, read_manifest(released)), OnnxOptions(("CPUExecutionProvider",)))
    [points] = engine.interactive_segmenter().predict(
        frame, [VisualPrompt((PointPrompt(50, 60), PointPrompt(90, 40, False)), None, None, True)]
    )
    boxes = engine.interactive_segmenter().predict(
        frame, [VisualPrompt((), (10, 20, 200, 180)), VisualPrompt((), (30, 40, 90, 90))]
    )
    expected = [*zip(points.masks, points.iou_predictions, strict=True)]
    expected += [(outline.masks[0], outline.iou_predictions[0]) for outline in boxes]
    answers = [*first[0], *(answer for masks in second for answer in masks)]
    for answer, (mask, iou) in zip(answers, expected, strict=True):
        assert answer["iou_score"] == pytest.approx(float(iou), abs=2e-3)
        same = mask_of(answer) == full_mask(fill_holes(mask), frame.width, frame.height)
        assert same.shape == (frame.height, frame.width)
        assert same.mean() > 0.995


def test_a_listed_prompt_may_show_boxes(server: Server) -> None:
    boxes = [{"x": 10, "y": 20, "width": 100, "height": 80}, {"x0": 150, "y0": 20, "x1": 220, "y1": 90}]
    request = {
        "image": {"type": "base64", "value": base64.b64encode(SCENE.read_bytes()).decode()},
        "output_prob_thresh": 0.0,
        "prompts": [
            {"type": "visual", "boxes": boxes, "box_labels": [1, 0]},
            {"type": "text", "text": "some", "boxes": boxes, "box_labels": [1, 0]},
            {"type": "text", "text": "some"},
        ],
    }
    shown, both, text = server.post_json(request).json()["prompt_results"]
    assert [r["echo"]["num_boxes"] for r in (shown, both, text)] == [2, 2, 0]
    scores = [[p["confidence"] for p in r["predictions"]] for r in (shown, both, text)]
    assert all(scores)
    assert scores[0] != scores[1] != scores[2]


def test_roboflows_points_and_boxes_are_answered_with_the_best_mask_of_each(server: Server, released: Path) -> None:
    """Its boxes are given by their centre."""
    asked = {
        "image": {"type": "base64", "value": base64.b64encode(SCENE.read_bytes()).decode()},
        "prompts": {
            "prompts": [
                {"points": [{"x": 50, "y": 60, "positive": True}, {"x": 90, "y": 40, "positive": False}]},
                {"box": {"x": 105, "y": 100, "width": 190, "height": 160}},
            ]
        },
        "format": "rle",
    }
    response = server.post_json(asked, path="/sam3/visual_segment?api_key=anything")
    assert response.status == 200, response.data[:500]
    answer = response.json()
    frame = read_frame(SCENE)
    engine = OnnxEngine(model_files(released, read_manifest(released)), OnnxOptions(("CPUExecutionProvider",)))
    expected = engine.interactive_segmenter().predict(
        frame,
        [
            VisualPrompt((PointPrompt(50, 60), PointPrompt(90, 40, False)), None, None, True),
            VisualPrompt((), (10, 20, 200, 180), None, True),
        ],
    )
    assert [result["predictions"] for result in answer["prompt_results"]] == [[one] for one in answer["predictions"]]
    for one, prediction in zip(answer["predictions"], expected, strict=True):
        assert one["confidence"] == pytest.approx(float(prediction.iou_predictions.max()), abs=2e-3)
        mask = full_mask(fill_holes(prediction.best), frame.width, frame.height)
        assert (decode_rle(one["masks"]) == mask).mean() > 0.995
    flat = {**asked, "prompts": asked["prompts"]["prompts"], "format": "polygon"}  # type: ignore[index]
    for one, outlined in zip(
        answer["predictions"], server.post_json(flat, path="/sam3/visual_segment").json()["predictions"], strict=True
    ):
        assert outlined["confidence"] == one["confidence"]
        assert all(len(point) == 2 for polygon in outlined["masks"] for point in polygon)


@pytest.mark.parametrize("prompts", [[{}], [{"box": {"x": 1, "y": 1, "width": 0, "height": 2}}], "car"])
def test_an_object_that_nobody_points_at(server: Server, prompts: Any) -> None:
    image = base64.b64encode(SCENE.read_bytes()).decode()
    response = server.post_json({"image": image, "prompts": prompts}, path="/sam3/visual_segment")
    assert error(response, 400)["message"]
