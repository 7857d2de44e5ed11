"""Every format that is read and written, without a server."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from typing import Any

import cv2
import jsonschema
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis.extra import numpy as arrays

from sam3edge.cli.schemas import detections_schema
from sam3edge.core.types import Box, EngineOutput, Exemplar, Instance, MaskPrediction, PointPrompt, Prompt
from sam3edge_serving.endpoint.formats import azure, coco, geojson, roboflow
from sam3edge_serving.endpoint.formats.masks import box_of, full_mask, to_png, to_rle
from sam3edge_serving.endpoint.formats.queries import (
    Address,
    DetectionQuery,
    DetectionResult,
    VisualQuery,
    VisualResult,
    image_of,
    prompts_of,
    require_supported,
)
from sam3edge_serving.endpoint.formats.requests import read_line, read_request, split_lines
from sam3edge_serving.endpoint.formats.roboflow import VISUAL_PATH
from sam3edge_serving.http.errors import BadRequest, TooLarge, Unanswerable
from support.rle import decode_rle
from support.samples import MODEL, frame

RED, GREEN = Prompt("red"), Prompt("green")
IMAGE = base64.b64encode(b"image").decode()


def logits(inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    return np.where(inside, 4.0, -4.0).astype(np.float32)


def square(x: int, y: int, side: int, width: int = 320, height: int = 240) -> npt.NDArray[np.bool_]:
    inside = np.zeros((height, width), bool)
    inside[y : y + side, x : x + side] = True
    return inside


def found(
    *instances: tuple[Prompt, npt.NDArray[np.bool_]], query: tuple[Prompt, ...] = (RED, GREEN)
) -> DetectionResult:
    box: Box = (0, 0, 1, 1)
    made = tuple(Instance(prompt, 0.87654, box, logits(inside)) for prompt, inside in instances)
    return DetectionResult(frame(name="street.png"), MODEL, query, EngineOutput(made, {"vision": 1.5}, {}))


# -- images ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [IMAGE, f" {IMAGE[:4]}\n{IMAGE[4:]} ", f"data:image/png;base64,{IMAGE}", f"DATA:;charset=x;base64,{IMAGE}"],
)
def test_images_in_base64(text: str) -> None:
    assert image_of(text) == b"image"


@pytest.mark.parametrize("text", ["https://a.example.org/b.png", "HTTP://a", "s3://bucket/key", "file:///etc/passwd"])
def test_addresses_are_told_from_base64(text: str) -> None:
    assert image_of(text) == Address(text)


@pytest.mark.parametrize("text", ["no base64!", "abc", "data:image/png,abc", "ü"])
def test_neither_is_refused(text: str) -> None:
    with pytest.raises(BadRequest, match="expected base64, or a data URL"):
        image_of(text)


# -- phrases --------------------------------------------------------------------------------------------------------


def test_phrases_are_cleaned_and_asked_once() -> None:
    assert prompts_of([" red  car", "ship", "red car"], 0.3, 3) == (Prompt("red car", 0.3), Prompt("ship", 0.3))


@pytest.mark.parametrize("phrase", ["", "  ", "x" * 257, "a\0b", "\x1b[2J"])
def test_what_is_no_phrase(phrase: str) -> None:
    with pytest.raises(BadRequest, match="printable"):
        prompts_of([phrase], 0.5, 3)


def test_too_many_phrases() -> None:
    with pytest.raises(TooLarge, match="at most 2"):
        prompts_of("abc", 0.5, 2)


def test_an_answer_must_answer_something() -> None:
    some = DetectionResult(frame(), MODEL, (RED, GREEN), EngineOutput((), {}, {"green": "unknown"}))
    assert require_supported(some) is some
    with pytest.raises(Unanswerable, match="'green' cannot be answered: unknown"):
        require_supported(DetectionResult(frame(), MODEL, (GREEN,), EngineOutput((), {}, {"green": "unknown"})))


# -- bodies of JSON -------------------------------------------------------------------------------------------------


def body(**members: Any) -> bytes:
    return json.dumps(members).encode()


def test_which_json_request_it_is() -> None:
    assert isinstance(read_request(body(image=IMAGE)), geojson.PhraseRequest)
    listed = read_request(body(image={"type": "base64", "value": IMAGE}, prompts=[{"type": "text", "text": "x"}], k=1))
    assert isinstance(listed, roboflow.RoboflowRequest)
    table = read_request(body(input_data={"columns": ["image"], "index": [0], "data": [[IMAGE]]}, params={}))
    assert isinstance(table, azure.AzureRequest)


@pytest.mark.parametrize(
    ("raw", "param", "says"),
    [
        (b"", None, "JSON"),
        (b"{", None, "JSON"),
        (b"\xff\xfe", None, "JSON"),
        (b"[]", None, "the body"),
        (b"null", None, "the body"),
        (b"[" * 100_000, None, "JSON"),
        (b"{}", "image", "required"),
        (body(image=3), "image", "image"),
        (body(image=""), "image", "at least 1"),
        (body(image=IMAGE, threshold=2), "threshold", "less than or equal"),
        (b'{"image":"aaaa","threshold":NaN}', "threshold", "finite"),
        (body(image=IMAGE, text_promt="x"), "text_promt", "not permitted"),
        (body(image=IMAGE, prompts=[]), "prompts", "at least 1"),
        (body(image=IMAGE, prompts=[{"type": "magic"}]), "prompts.0.type", "text"),
        (body(input_data={"columns": [], "data": []}), "input_data.data", "at least 1"),
    ],
)
def test_bodies_that_say_nothing(raw: bytes, param: str | None, says: str) -> None:
    with pytest.raises(BadRequest, match=says) as refused:
        read_request(raw)
    assert (refused.value.param or "").startswith(param or "")
    assert bool(refused.value.param) == bool(param)


@pytest.mark.parametrize(
    ("raw", "path", "param"),
    [
        (body(image=7, text_prompt="car"), "", "image"),
        (body(image={"type": "base64"}), "", "image.value"),
        (body(image=IMAGE, text_prompt={"a": 1}), "", "text_prompt"),
        (body(image=IMAGE, text_prompt=["car", 7]), "", "text_prompt.1"),
        (body(image=IMAGE, prompts=[{"boxes": [{"x": 1}]}]), "", "prompts.0.boxes.0.y"),
        (body(image=IMAGE, prompts=[{"box_labels": ["x"]}]), "", "prompts.0.box_labels.0"),
        (body(image=IMAGE, prompts=3), VISUAL_PATH, "prompts"),
        (body(image=IMAGE, prompts=[{"points": [{"x": 1}]}]), VISUAL_PATH, "prompts.0.points.0.y"),
        (body(columns=["image"], data=[]), "", "input_data.data"),
        (b"[1, 2]", "", None),
        (b'{"image": %s}' % (b"9" * 5000), "", None),
        (b'{"image": "a", "threshold": NaN}', "", "threshold"),
        (b"{", "", None),
    ],
)
def test_a_fault_is_named_by_the_members_of_the_request_alone(raw: bytes, path: str, param: str | None) -> None:
    """Not by the names of our types, which stand for alternatives."""
    with pytest.raises(BadRequest) as refused:
        read_request(raw, path)
    assert refused.value.param == param


def test_a_phrase_request_with_what_stands_for_what_it_leaves_out() -> None:
    request = read_line(body(image=IMAGE, text_prompt=["car", "ship"], threshold=0, image_id="x"))
    query = request.query(("default",), 0.6, 5)
    assert (query.image, query.name, query.prompts) == (b"image", "x", (Prompt("car", 0.0), Prompt("ship", 0.0)))
    assert read_line(body(image=IMAGE)).query(("a", "b"), 0.6, 5).prompts == (Prompt("a", 0.6), Prompt("b", 0.6))


def test_lines() -> None:
    assert split_lines(b'{"a":1}\r\n\n {"b":2}', 2) == [b'{"a":1}\r', b' {"b":2}']
    with pytest.raises(BadRequest):
        split_lines(b" \n\n", 2)
    with pytest.raises(TooLarge):
        split_lines(b"1\n2\n3", 2)


# -- answers --------------------------------------------------------------------------------------------------------


OPTIONS = geojson.GeoJsonOptions("here", "sam3", "")


def test_geojson_is_the_devices_message() -> None:
    answer = json.loads(geojson.write(found((RED, square(100, 80, 60)), (GREEN, square(0, 0, 10))), OPTIONS))
    jsonschema.validate(answer, detections_schema())
    assert answer["device"] == "here"
    assert answer["frame"]["name"] == "street.png"
    assert [f["properties"]["featureClasses"][0]["iri"] for f in answer["features"]] == ["red", "green"]
    assert answer["features"][0]["properties"]["imageBBox"] == [100, 80, 160, 140]
    assert answer["features"][0]["geometry"] is None
    assert answer["features"][0]["properties"]["modelMetadata"] == {
        "modelName": "sam3",
        "ontologyName": "red",
        "ontologyVersion": answer["model"]["version"],
    }
    assert answer["model"]["name"] != "sam3"


def test_the_version_of_the_ontology_is_the_operators() -> None:
    options = replace(OPTIONS, model_name="mine", ontology_version="2026-11")
    answer = json.loads(geojson.write(found((RED, square(100, 80, 60))), options))
    metadata = answer["features"][0]["properties"]["modelMetadata"]
    assert (metadata["modelName"], metadata["ontologyVersion"]) == ("mine", "2026-11")


def test_for_readers_that_know_polygons_only_an_object_in_parts_is_a_feature_for_each() -> None:
    both = square(100, 80, 60) | square(200, 80, 30)
    detected = found((RED, both), (GREEN, square(0, 0, 10)))
    [whole, other] = json.loads(geojson.write(detected, OPTIONS))["features"]
    assert whole["properties"]["imageGeometry"]["type"] == "MultiPolygon"
    answer = json.loads(geojson.write(detected, replace(OPTIONS, polygons_only=True)))
    jsonschema.validate(answer, detections_schema())
    *parts, single = answer["features"]
    assert [p["properties"]["imageGeometry"]["type"] for p in parts] == ["Polygon", "Polygon"]
    assert sorted(p["properties"]["imageBBox"] for p in parts) == [[100, 80, 160, 140], [200, 80, 230, 110]]
    assert [p["properties"]["object"] for p in parts] == [0, 0]
    assert sum(p["properties"]["area"] for p in parts) == pytest.approx(whole["properties"]["area"], abs=0.2)
    assert len({feature["id"] for feature in answer["features"]}) == 3
    assert single == other | {"id": single["id"]}


def test_the_same_phrase_in_other_letters_is_asked_once() -> None:
    request = read_line(body(image=IMAGE, text_prompt=["Car", "CAR", "ship", " car "]))
    assert request.query((), 0.6, 5).prompts == (Prompt("Car", 0.6), Prompt("ship", 0.6))


def test_an_answer_larger_than_sagemaker_hands_through(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geojson, "MAX_RESPONSE_BYTES", 2500)
    many = [(RED, square(x, 0, 5)) for x in range(0, 200, 10)]
    with pytest.raises(TooLarge, match="2500 bytes"):
        geojson.write(found(*many), OPTIONS)


@given(arrays.arrays(bool, arrays.array_shapes(min_dims=2, max_dims=2, max_side=40)))
def test_run_lengths_come_back(mask: npt.NDArray[np.bool_]) -> None:
    np.testing.assert_array_equal(decode_rle(to_rle(mask)), mask)


def test_run_lengths_are_cocos() -> None:
    """By hand, after ``rleToString`` of cocoapi ``common/maskApi.c``: 2 3 1 down the columns, and 40 60."""
    assert to_rle(np.array([[0, 1, 1], [0, 1, 0]], bool)) == {"size": [2, 3], "counts": "231"}
    assert to_rle(np.arange(100)[:, None] >= 40) == {"size": [100, 1], "counts": "X1l1"}


def test_coco_answers() -> None:
    whole = square(100, 80, 60)
    answer = json.loads(coco.write(found((GREEN, whole), (RED, square(0, 0, 0))), "here"))
    assert answer["images"] == [{"id": 1, "file_name": "street.png", "width": 320, "height": 240}]
    assert answer["categories"] == [{"id": 1, "name": "red"}, {"id": 2, "name": "green"}]
    [annotation] = answer["annotations"]  # an empty mask is not an annotation
    assert annotation["category_id"] == 2
    assert annotation["bbox"] == [100, 80, 60, 60]
    assert annotation["area"] == 3600
    np.testing.assert_array_equal(decode_rle(annotation["segmentation"]), whole)


def test_masks_are_brought_to_the_size_of_the_frame() -> None:
    small = np.full((4, 4), -1, np.float32)
    small[:2, :2] = 1
    mask = full_mask(small, 320, 240)
    assert mask.shape == (240, 320)
    assert box_of(mask) == (0, 0, 160, 120)
    decoded = cv2.imdecode(np.frombuffer(base64.b64decode(to_png(mask)), np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(decoded, mask * np.uint8(255))


# -- prompt lists ---------------------------------------------------------------------------------------------------


def listed(*prompts: dict[str, Any], **members: Any) -> roboflow.RoboflowRequest:
    return roboflow.RoboflowRequest.model_validate({"image": IMAGE, "prompts": list(prompts), **members})


def test_prompt_lists_ask_by_phrase_and_by_example() -> None:
    request = listed(
        {"type": "text", "text": "car"},
        {"type": "visual", "boxes": [{"x": 1, "y": 2, "width": 10, "height": 20}], "box_labels": [1]},
        {"text": "car", "output_prob_thresh": 0.9, "boxes": [{"x0": 1, "y0": 2, "x1": 3, "y1": 4}], "box_labels": [0]},
        output_prob_thresh=0.2,
    )
    assert request.query(5).prompts == (
        Prompt("car", 0.2),
        Prompt("visual", 0.2, exemplars=(Exemplar((1, 2, 11, 22)),)),
        Prompt("car", 0.9, exemplars=(Exemplar((1, 2, 3, 4), positive=False),)),
    )


@pytest.mark.parametrize(
    ("prompt", "says"),
    [
        ({}, "neither text nor boxes"),
        ({"text": "a", "boxes": [{"x": 0, "y": 0, "width": 1, "height": 1}], "box_labels": []}, "one for each"),
        ({"boxes": [{"x0": 5, "y0": 0, "x1": 1, "y1": 1}]}, "without area"),
    ],
)
def test_prompt_lists_that_say_nothing(prompt: dict[str, Any], says: str) -> None:
    with pytest.raises(BadRequest, match=says):
        listed(prompt).query(5)


@pytest.mark.parametrize("form", ["polygon", "rle"])
def test_every_listed_prompt_is_answered_repetitions_and_all(form: str) -> None:
    request = listed({"text": "red"}, {"text": "zebra"}, {"text": "red"}, format=form)
    seen = found((RED, square(100, 80, 60)), query=request.query(5).prompts)
    seen = DetectionResult(
        seen.frame, MODEL, seen.prompts, EngineOutput(seen.output.instances, {}, {"zebra": "unknown"})
    )
    answer = json.loads(roboflow.write(request, seen))
    results = answer["prompt_results"]
    assert [r["prompt_index"] for r in results] == [0, 1, 2]
    assert [len(r["predictions"]) for r in results] == [1, 0, 1]
    assert [r.get("error") for r in results] == [None, "unknown", None]
    assert results[1]["echo"] == {"prompt_index": 1, "type": "text", "text": "zebra", "num_boxes": 0}
    [prediction] = results[0]["predictions"]
    assert (prediction["confidence"], prediction["format"]) == (0.8765, form)
    if form == "rle":
        np.testing.assert_array_equal(decode_rle(prediction["masks"]), square(100, 80, 60))
    else:
        [polygon] = prediction["masks"]
        assert np.ptp(np.array(polygon), axis=0).tolist() == [60, 60]


# -- Azure's table --------------------------------------------------------------------------------------------------


def table(columns: list[str], *rows: list[Any]) -> azure.AzureRequest:
    return azure.AzureRequest.model_validate({"input_data": {"columns": columns, "index": None, "data": list(rows)}})


COLUMNS = ["image", "input_points", "input_boxes", "input_labels", "multimask_output"]


def one(points: Any = "", boxes: Any = "", labels: Any = "", multimask: Any = False) -> VisualQuery:
    [question] = table(COLUMNS, [IMAGE, points, boxes, labels, multimask]).queries(0.5, 4, 4)
    assert isinstance(question, VisualQuery)
    return question


def test_azures_own_example() -> None:
    """From the model card: one box in a string of JSON."""
    [clicks] = one("", "[[650, 900, 1000, 1250]]").prompts
    assert (clicks.box, clicks.points, clicks.multimask_output) == ((650, 900, 1000, 1250), (), False)


@pytest.mark.parametrize(
    ("points", "labels", "expected"),
    [
        ("[[280,320], [300,350]]", "", [[PointPrompt(280, 320)], [PointPrompt(300, 350)]]),
        ("[[[280,320], [300,350]]]", "[[1,0]]", [[PointPrompt(280, 320), PointPrompt(300, 350, positive=False)]]),
        ([[280, 320]], [1], [[PointPrompt(280, 320)]]),
        ("[280, 320]", "0", None),
        ("[280, 320]", "[0]", [[PointPrompt(280, 320, positive=False)]]),
        ("[[1,2],[3,4]]", "[1,0]", [[PointPrompt(1, 2)], [PointPrompt(3, 4, positive=False)]]),
    ],
)
def test_points_nested_in_each_way(points: Any, labels: Any, expected: list[list[PointPrompt]] | None) -> None:
    if expected is None:
        [refused] = table(COLUMNS, [IMAGE, points, "", labels, False]).queries(0.5, 4, 4)
        assert isinstance(refused, BadRequest)
    else:
        assert [list(clicks.points) for clicks in one(points, labels=labels).prompts] == expected


def test_points_and_boxes_belong_together() -> None:
    first, second = one("[[[1,2]],[[3,4]]]", "[[0,0,5,5],[1,1,6,6]]", multimask=True).prompts
    assert (first.box, first.points, first.multimask_output) == ((0, 0, 5, 5), (PointPrompt(1, 2),), True)
    assert second.box == (1, 1, 6, 6)


def test_phrases_in_the_table() -> None:
    request = table(["image", "text_prompt"], [IMAGE, "car"], [IMAGE, '["car", "ship"]'], [IMAGE, ["road"]])
    query = request.queries(0.3, 4, 4)
    assert [q.prompts for q in query if isinstance(q, DetectionQuery)] == [
        (Prompt("car", 0.3),),
        (Prompt("car", 0.3), Prompt("ship", 0.3)),
        (Prompt("road", 0.3),),
    ]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        (["", "[[1,2]]", "", "", False], "image must be"),
        ([5, "[[1,2]]", "", "", False], "image must be"),
        (["no base64!", "[[1,2]]", "", "", False], "base64"),
        ([IMAGE, "[[1,2", "", "", False], "data.1"),
        ([IMAGE, "[[1,2,3]]", "", "", False], "data.1"),
        ([IMAGE, '"far"', "", "", False], "input_points"),
        ([IMAGE, "[[1,NaN]]", "", "", False], "data.1"),
        ([IMAGE, "", "[[0,0,1e300,5]]", "", False], "data.1"),
        ([IMAGE, "", "[[0,0,5]]", "", False], "data.1"),
        ([IMAGE, "[[1,2]]", "", "[[1,1]]", False], "one label for each"),
        ([IMAGE, "[[1,2]]", "", "[[7]]", False], "1 for a point on"),
        ([IMAGE, "[[[1,2]],[[3,4]]]", "[[0,0,5,5]]", "", False], "points for 2 objects and boxes for 1"),
        ([IMAGE, "[[[1,2]],[]]", "", "", False], "without points"),
        ([IMAGE, "[[1,2]]", "", "", "yes"], "true or false"),
        ([IMAGE, "[[1,2]]", "", ""], "4 values for 5 columns"),
    ],
)
def test_rows_that_say_nothing_are_named_and_leave_the_others_alone(row: list[Any], says: str) -> None:
    good = [IMAGE, "[[1,2]]", "", "", False]
    first, second, third = table(COLUMNS, good, row, good).queries(0.5, 4, 4)
    assert isinstance(first, VisualQuery)
    assert isinstance(third, VisualQuery)
    assert isinstance(second, BadRequest)
    assert re.search(says, str(second))
    assert second.param == "input_data.data.1"
    refused = azure.refused_row(1, second)
    assert refused["response"] == {"predictions": []}
    assert refused["error"]["message"].count("input_data.data.1") == 1


@pytest.mark.parametrize("empty", ["", None, "[]"])
def test_a_row_without_prompts_asks_for_everything(empty: Any) -> None:
    [query] = table(COLUMNS, [IMAGE, empty, empty, empty, empty if empty != "[]" else True]).queries(0.5, 4, 4)
    assert isinstance(query, VisualQuery)
    assert query.prompts == ()


def test_several_masks_are_the_default() -> None:
    [query] = table(["image", "input_points"], [IMAGE, "[[1,2]]"]).queries(0.5, 4, 4)
    assert isinstance(query, VisualQuery)
    assert query.prompts[0].multimask_output


def test_background_and_padding_among_the_labels() -> None:
    [prompt] = one("[[[1,2],[3,4],[5,6]]]", labels="[[1,-1,-10]]").prompts
    assert prompt.points == (PointPrompt(1, 2), PointPrompt(3, 4, positive=False))
    [padded] = table(COLUMNS, [IMAGE, "[[[1,2]]]", "", "[[-10]]", True]).queries(0.5, 4, 4)
    assert isinstance(padded, BadRequest)
    [boxed] = one("[[[1,2]]]", "[[0,0,5,5]]", labels="[[-10]]").prompts
    assert (boxed.points, boxed.box) == ((), (0, 0, 5, 5))


def test_a_bare_table_as_mlflow_sends_it() -> None:
    body = {"columns": ["image", "input_points"], "index": [0], "data": [[IMAGE, "[[1,2]]"]]}
    request = read_request(json.dumps(body).encode())
    assert isinstance(request, azure.AzureRequest)
    assert len(request.queries(0.5, 4, 4)) == 1


def test_columns_must_be_azures() -> None:
    for columns in (["input_points"], ["image", "mask"], ["image", "image"]):
        with pytest.raises(BadRequest, match=r"input_data\.columns"):
            table(columns, [IMAGE] * len(columns)).queries(0.5, 4, 4)


@pytest.mark.parametrize(("points", "rows"), [([[1, 2]] * 5, 1), ([[1, 2]], 5)])
def test_more_than_the_table_may_hold(points: list[list[int]], rows: int) -> None:
    many = table(["image", "input_points"], *[[IMAGE, points]] * rows)
    if rows > 1:
        with pytest.raises(TooLarge, match="at most 4"):
            many.queries(0.5, 4, 4)
    else:
        [refused] = many.queries(0.5, 4, 4)
        assert isinstance(refused, TooLarge)
        assert "at most 4" in str(refused)


def test_phrases_or_clicks() -> None:
    [refused] = table(["image", "input_points", "text_prompt"], [IMAGE, "[[1,2]]", "car"]).queries(0.5, 4, 4)
    assert "not both" in str(refused)


def test_azure_answers() -> None:
    masks = np.stack([logits(square(10, 10, 5)), logits(square(20, 20, 5))])
    rows = [
        azure.row_of(VisualResult(frame(), (MaskPrediction(masks, np.array([0.9, 0.25], np.float32), 0.99),))),
        azure.row_of(found((GREEN, square(100, 80, 60)))),
    ]
    first, second = json.loads(azure.write(rows))
    per_mask = first["response"]["predictions"][0]["masks_per_prediction"]
    assert [mask["iou_score"] for mask in per_mask] == [0.9, 0.25]
    decoded = cv2.imdecode(
        np.frombuffer(base64.b64decode(per_mask[1]["encoded_binary_mask"]), np.uint8), cv2.IMREAD_UNCHANGED
    )
    np.testing.assert_array_equal(decoded > 0, square(20, 20, 5))
    assert [len(p["masks_per_prediction"]) for p in second["response"]["predictions"]] == [0, 1]


def test_azure_shows_a_clicked_mask_without_its_small_holes() -> None:
    mask = logits(square(100, 80, 60))
    mask[100:104, 120:124] = -3
    prediction = MaskPrediction(mask[None], np.array([0.9], np.float32), 0.99)
    row = azure.row_of(VisualResult(frame(), (prediction,)))
    encoded = row["response"]["predictions"][0]["masks_per_prediction"][0]["encoded_binary_mask"]
    shown = cv2.imdecode(np.frombuffer(base64.b64decode(encoded), np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(shown > 0, square(100, 80, 60))
    assert (prediction.masks[0, 100:104, 120:124] == -3).all()  # what is handed on to be refined
