"""Label files of each format: what is read from them, and how damaged ones are refused."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as coco_mask
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from shapely.geometry import MultiPolygon, Polygon

from sam3edge.core.messages.detections import encode
from sam3edge.core.types import Prompt
from sam3edge_pipeline.datasets.examples import LabeledObject
from sam3edge_pipeline.datasets.formats import FORMATS, Format, read_annotations
from sam3edge_pipeline.datasets.formats.annotations import FormatError, ImageAnnotations
from sam3edge_pipeline.datasets.formats.coco import coco_of
from sam3edge_pipeline.datasets.formats.geojson import geojson_of
from sam3edge_pipeline.datasets.formats.outlines import from_mask
from support.samples import answer, detection

BOX = shapely.box(10, 20, 30, 50)


def written(folder: Path, content: Any) -> Path:
    path = folder / "labels.any"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def coco(**changed: Any) -> dict[str, Any]:
    annotation = {"image_id": 7, "category_id": 2, "segmentation": [[10, 20, 30, 20, 30, 50, 10, 50]]}
    document = {
        "images": [
            {"id": 7, "file_name": "a/b.png", "width": 100, "height": 80},
            {"id": 8, "file_name": "c.png", "width": 5, "height": 5},
        ],
        "categories": [{"id": 1, "name": "Dent"}, {"id": 2, "name": "Red  Car"}],
        "annotations": [{**annotation, **changed}],
    }
    return document


def same(one: Polygon | MultiPolygon, other: Polygon | MultiPolygon) -> bool:
    return bool(one.equals(other)) and one.is_valid


class TestCoco:
    def test_polygons_and_images_without_objects(self, tmp_path: Path) -> None:
        read = read_annotations(written(tmp_path, coco()), "coco")
        assert read.categories == ("dent", "red car")
        assert read.used == ("red car",)
        first, second = read.images
        assert (first.image, first.width, first.height) == ("a/b.png", 100, 80)
        [one] = first.objects
        assert one.phrase == "red car"
        assert same(one.outline, BOX)
        assert not one.ignored
        assert second.objects == ()

    @pytest.mark.parametrize("as_text", [True, False])
    def test_run_lengths(self, tmp_path: Path, as_text: bool) -> None:
        mask = np.zeros((80, 100), np.uint8)
        mask[20:50, 10:30] = 1
        mask[30:40, 15:20] = 0
        counts: Any
        if as_text:
            counts = coco_mask.encode(np.asfortranarray(mask))["counts"].decode()
        else:
            flat = mask.reshape(-1, order="F")
            edges = np.flatnonzero(np.diff(flat, prepend=0)).tolist()
            counts = np.diff([0, *edges, flat.size]).tolist()
        path = written(tmp_path, coco(segmentation={"size": [80, 100], "counts": counts}, iscrowd=1))
        [one] = read_annotations(path, "coco").images[0].objects
        assert same(one.outline, BOX.difference(shapely.box(15, 30, 20, 40)))  # type: ignore[arg-type]
        assert one.ignored

    @pytest.mark.parametrize(
        ("changed", "place"),
        [
            ({"segmentation": [[1, 2, 3, 4]]}, "annotations.0.segmentation.0"),
            ({"segmentation": []}, "annotations.0.segmentation"),
            ({"segmentation": [[1, 1, 2, 2, 3, 3]]}, "annotations.0.segmentation"),
            ({"segmentation": [[200, 1, 210, 1, 210, 9]]}, "annotations.0.segmentation"),
            ({"segmentation": [[1e300, 1, 210, 1, 210, 9]]}, "annotations.0.segmentation"),
            ({"segmentation": {"size": [80, 100], "counts": [5, 8001]}}, "annotations.0.segmentation.counts"),
            ({"segmentation": {"size": [80, 100], "counts": [-1, 8001]}}, "annotations.0.segmentation.counts"),
            ({"segmentation": {"size": [80, 100], "counts": "\u00e9"}}, "annotations.0.segmentation.counts"),
            ({"segmentation": {"size": [80, 100], "counts": "PPPPPPPPPPPPPPP"}}, "annotations.0.segmentation.counts"),
            ({"segmentation": {"size": [99999, 99999], "counts": [1]}}, "annotations.0.segmentation.size"),
            ({"image_id": 99}, "annotations.0.image_id"),
            ({"category_id": 99}, "annotations.0.category_id"),
            ({"category_id": "x"}, "annotations.0.category_id"),
        ],
    )
    def test_damage_is_refused_with_its_place(self, tmp_path: Path, changed: dict[str, Any], place: str) -> None:
        path = written(tmp_path, coco(**changed))
        with pytest.raises(FormatError, match=f"labels.any: {place.replace('.', '[.]')}"):
            read_annotations(path, "coco")

    @given(st.data())
    def test_masks_survive_reading_their_own_outlines(self, data: st.DataObject) -> None:
        height, width = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
        bits = data.draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width))
        mask = np.array(bits).reshape(height, width)
        outline = from_mask(mask, 3, 2)
        ys, xs = np.mgrid[0:height, 0:width]
        inside = shapely.contains_xy(outline, xs + 3.5, ys + 2.5)
        assert (inside == mask).all()
        assert outline.area == mask.sum()

    def test_written_files_are_read_back(self, tmp_path: Path) -> None:
        ring = shapely.box(40, 40, 70, 70).difference(shapely.box(50, 50, 60, 60))
        two = MultiPolygon([shapely.box(1, 1, 5, 5), shapely.box(10, 10, 20, 20)])
        objects = (
            LabeledObject("ring", shapely.orient_polygons(ring)),
            LabeledObject("pair", shapely.orient_polygons(two)),
            LabeledObject("crowd", shapely.box(80, 10, 90, 20), ignored=True),
        )
        path = written(tmp_path, coco_of([ImageAnnotations("a.png", 100, 80, objects)]).decode())
        [image] = read_annotations(path, "coco").images
        for one, other in zip(image.objects, objects, strict=True):
            assert (one.phrase, one.ignored) == (other.phrase, other.ignored)
            assert same(one.outline, other.outline)


class TestGeojson:
    def test_our_own_detections_message(self, tmp_path: Path) -> None:
        found = (detection(BOX, Prompt("scratch")), detection(shapely.box(100, 100, 120, 130), Prompt("dent")))
        prompts = (Prompt("scratch"), Prompt("dent"), Prompt("hole"))
        [message] = encode(answer(found, prompts), "topic", 1 << 20, 0)
        [image] = (read := read_annotations(written(tmp_path, message.payload.decode()), "geojson")).images
        assert (image.image, image.width, image.height) == ("a.png", 320, 240)
        assert [one.phrase for one in image.objects] == ["scratch", "dent"]
        assert same(image.objects[0].outline, BOX)
        assert read.categories == ("scratch", "dent", "hole")

    def test_parts_of_one_frame_are_put_together(self, tmp_path: Path) -> None:
        found = tuple(detection(shapely.box(x, 0, x + 9, 9)) for x in range(0, 300, 10))
        messages = encode(answer(found), "topic", 7000, 0)
        assert len(messages) > 1
        lines = b"\n".join(message.payload for message in messages).decode()
        [image] = read_annotations(written(tmp_path, lines), "geojson").images
        assert [one.outline.bounds[0] for one in image.objects] == list(range(0, 300, 10))

    def test_what_is_known_by_its_hull_is_ignored(self, tmp_path: Path) -> None:
        document = json.loads(geojson_of(ImageAnnotations("a", 99, 99, (LabeledObject("dent", BOX),))))
        document["features"][0]["properties"]["geometry_quality"] = "hull"
        [image] = read_annotations(written(tmp_path, document), "geojson").images
        assert image.objects[0].ignored

    @pytest.mark.parametrize(
        ("member", "value"),
        [
            ("imageGeometry", None),
            ("imageGeometry", {"type": "Point", "coordinates": [1, 2]}),
            ("imageGeometry", {"type": "Polygon", "coordinates": [[1, 2], 3]}),
            ("imageGeometry", {"type": "Polygon", "coordinates": "x"}),
            ("imageGeometry", {"type": "Polygon", "coordinates": [[["a", "b"], ["c", "d"], [1, 1], [2, 2]]]}),
            ("imageGeometry", {"type": "MultiPolygon", "coordinates": [[[[1, 2], [3, 4]]]]}),
            ("prompt", "x" * 300),
        ],
    )
    def test_damage_is_refused_with_its_place(self, tmp_path: Path, member: str, value: Any) -> None:
        document = json.loads(geojson_of(ImageAnnotations("a", 99, 99, (LabeledObject("dent", BOX),))))
        document["features"][0]["properties"][member] = value
        with pytest.raises(FormatError, match=r"labels.any: features.0.properties"):
            read_annotations(written(tmp_path, document), "geojson")

    def test_written_files_are_read_back(self, tmp_path: Path) -> None:
        image = ImageAnnotations(
            "a.png", 99, 99, (LabeledObject("dent", shapely.orient_polygons(BOX), True),), digest="ab"
        )
        assert read_annotations(written(tmp_path, geojson_of(image).decode()), "geojson").images == (image,)


def ground_truth(**changed: Any) -> dict[str, Any]:
    box = {"class_id": 1, "left": 10, "top": 20, "width": 20, "height": 30, **changed}
    return {
        "source-ref": "s3://bucket/images/a.png",
        "defects": {"image_size": [{"width": 100, "height": 80, "depth": 3}], "annotations": [box]},
        "defects-metadata": {
            "objects": [{"confidence": 0.9}],
            "class-map": {"0": "dent", "1": "scratch"},
            "type": "groundtruth/object-detection",
            "human-annotated": "yes",
            "creation-date": "2026-05-01T10:00:00.123456",
            "job-name": "labeling-job/tags-1",
        },
    }


class TestGroundTruth:
    def test_boxes_become_rectangles(self, tmp_path: Path) -> None:
        [image] = (read := read_annotations(written(tmp_path, ground_truth()), "ground-truth")).images
        assert image.image == "s3://bucket/images/a.png"
        assert image.objects[0].phrase == "scratch"
        assert same(image.objects[0].outline, BOX)
        assert image.labeled_at == datetime(2026, 5, 1, 10, 0, 0, 123456, timezone.utc)
        assert image.job == "tags-1"
        assert read.categories == ("dent", "scratch")
        assert read.used == ("scratch",)

    def test_images_that_the_job_failed_on_have_no_labels(self, tmp_path: Path) -> None:
        failed = {"source-ref": "s3://b/k", "defects-metadata": {"failure-reason": "ClientError: no such key"}}
        path = written(tmp_path, json.dumps(ground_truth()) + "\n" + json.dumps(failed))
        assert [one.image for one in read_annotations(path, "ground-truth").images] == ["s3://bucket/images/a.png"]

    @pytest.mark.parametrize(
        ("line", "place"),
        [
            ({**ground_truth(), "defects-metadata": None}, "line 2.*defects-metadata"),
            (ground_truth(class_id=9), "line 2: defects.annotations.0.class_id"),
            (ground_truth(width=-1), "line 2: defects.annotations.0.width"),
            (ground_truth(left=500), "line 2: defects.annotations.0"),
            ({"source-ref": "s3://b/k"}, "line 2: expected one label attribute"),
            ({"x": 1}, "line 2: expected the member source-ref"),
            ({**ground_truth(), "defects": {"image_size": [], "annotations": []}}, "line 2: defects.image_size"),
            ([1], "line 2"),
        ],
    )
    def test_damage_is_refused_with_its_place(self, tmp_path: Path, line: Any, place: str) -> None:
        path = written(tmp_path, json.dumps({**ground_truth(), "source-ref": "s3://b/other"}) + "\n" + json.dumps(line))
        with pytest.raises(FormatError, match=place):
            read_annotations(path, "ground-truth")


CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version>
<meta><task><labels><label><name>Scratch</name></label><label><name>dent</name></label></labels></task></meta>
<image id="0" name="a/b.png" width="100" height="80">
 {}
</image>
<image id="1" name="c.png" width="10" height="10"></image>
</annotations>"""


class TestCvat:
    @pytest.mark.parametrize(
        "shape",
        [
            '<polygon label="scratch" points="10,20;30,20;30,50;10,50"><attribute name="x">1</attribute></polygon>',
            '<box label="scratch" xtl="10" ytl="20" xbr="30" ybr="50" occluded="0"/>',
            '<box label="scratch" xtl="5" ytl="25" xbr="35" ybr="45" rotation="90"/>',
            f'<mask label="scratch" left="5" top="20" width="25" height="30" rle="{", ".join(["5, 20"] * 30)}"/>',
        ],
    )
    def test_shapes(self, tmp_path: Path, shape: str) -> None:
        read = read_annotations(written(tmp_path, CVAT.format(shape)), "cvat")
        first, second = read.images
        [one] = first.objects
        assert one.phrase == "scratch"
        assert one.outline.symmetric_difference(BOX).area < 1e-6
        assert (first.image, first.width, second.image, second.objects) == ("a/b.png", 100, "c.png", ())
        assert read.categories == ("scratch", "dent")

    @pytest.mark.parametrize(
        ("shape", "why"),
        [
            ('<polyline label="dent" points="1,1;2,2"/>', "line 5: expected polygons, boxes or masks, got <polyline>"),
            ('<polygon label="dent" points="1,1;2,2"/>', "line 5: expected three points"),
            ('<polygon label="dent" points="1,1;nan,2;3,4"/>', "line 5: expected coordinates"),
            ('<polygon label="dent"/>', "line 5: expected three points"),
            ('<box label="dent" xtl="1" ytl="1" xbr="x" ybr="9"/>', "line 5: expected a number in the attribute xbr"),
            ('<box label="" xtl="1" ytl="1" xbr="2" ybr="9"/>', "line 5: expected a name"),
            ('<box label="dent" xtl="1" ytl="1" xbr="nan" ybr="9"/>', "line 5"),
            ('<mask label="dent" left="1" top="1" width="99999" height="99999" rle="1"/>', "line 5"),
            ('<mask label="dent" left="1" top="1" width="2" height="2" rle="1,9"/>', "line 5: expected run lengths"),
            ("<box", "line 6"),
        ],
    )
    def test_damage_is_refused_with_its_line(self, tmp_path: Path, shape: str, why: str) -> None:
        with pytest.raises(FormatError, match=why):
            read_annotations(written(tmp_path, CVAT.format(shape)), "cvat")

    @pytest.mark.parametrize("entity", ['<!ENTITY a "aaaa">', '<!ENTITY a SYSTEM "file:///etc/hostname">'])
    def test_a_document_type_is_refused_before_its_entities_exist(self, tmp_path: Path, entity: str) -> None:
        text = f"<?xml version='1.0'?><!DOCTYPE annotations [{entity}]><annotations>&a;</annotations>"
        with pytest.raises(FormatError, match="line 1: expected no document type"):
            read_annotations(written(tmp_path, text), "cvat")

    def test_videos_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(FormatError, match="export as CVAT for images"):
            read_annotations(written(tmp_path, '<annotations><track id="0"/></annotations>'), "cvat")


def label_studio(result: dict[str, Any], **task: Any) -> list[dict[str, Any]]:
    region = {"original_width": 200, "original_height": 50, **result}
    annotation = {"result": [region], "updated_at": "2026-05-01T10:00:00Z", "completed_by": {"email": "a@b.c"}}
    return [{"id": 1, "data": {"image": "/data/upload/1/abcd1234-a%20b.png"}, "annotations": [annotation], **task}]


RECTANGLE = {
    "type": "rectanglelabels",
    "value": {"x": 5, "y": 40, "width": 10, "height": 60, "rotation": 0, "rectanglelabels": ["Dent"]},
}


class TestLabelStudio:
    @pytest.mark.parametrize(
        "result",
        [
            RECTANGLE,
            {
                "type": "polygonlabels",
                "value": {"points": [[5, 40], [15, 40], [15, 100], [5, 100]], "polygonlabels": ["dent"]},
            },
        ],
    )
    def test_percent_become_pixels(self, tmp_path: Path, result: dict[str, Any]) -> None:
        [image] = read_annotations(written(tmp_path, label_studio(result)), "label-studio").images
        assert (image.image, image.width, image.height) == ("/data/upload/1/abcd1234-a b.png", 200, 50)
        assert image.objects[0].phrase == "dent"
        assert same(image.objects[0].outline, BOX)
        assert image.labeler == "a@b.c"
        assert image.labeled_at == datetime(2026, 5, 1, 10, tzinfo=timezone.utc)

    def test_a_rotated_rectangle_turns_clockwise_about_its_corner(self, tmp_path: Path) -> None:
        value = {"x": 15, "y": 40, "width": 15, "height": 40, "rotation": 90, "rectanglelabels": ["dent"]}
        result = {"type": "rectanglelabels", "value": value}
        [image] = read_annotations(written(tmp_path, label_studio(result)), "label-studio").images
        assert image.objects[0].outline.symmetric_difference(BOX).area < 1e-6

    def test_the_latest_annotation_that_was_not_canceled_counts(self, tmp_path: Path) -> None:
        [task] = label_studio(RECTANGLE)
        old = {"result": [], "updated_at": "2026-04-01T10:00:00Z"}
        canceled = {"result": [], "updated_at": "2026-06-01T10:00:00Z", "was_cancelled": True}
        task["annotations"] = [canceled, *task["annotations"], old]
        unlabeled = {"id": 2, "data": {"image": "b.png"}, "annotations": []}
        [image] = read_annotations(written(tmp_path, [task, unlabeled]), "label-studio").images
        assert len(image.objects) == 1

    @pytest.mark.parametrize(
        ("result", "place"),
        [
            ({"type": "brushlabels", "value": {}}, "0.annotations.0.result.0.type"),
            ({**RECTANGLE, "original_width": None}, "0.annotations.0.result.0"),
            ({**RECTANGLE, "value": {"x": "a", "rectanglelabels": ["a"]}}, "0.annotations.0.result.0.value.x"),
            ({**RECTANGLE, "value": {"rectanglelabels": []}}, "0.annotations.0.result.0.value.rectanglelabels"),
            ({**RECTANGLE, "value": {"rectanglelabels": ["a"]}}, "0.annotations.0.result.0"),
            (
                {"type": "polygonlabels", "value": {"points": [], "polygonlabels": ["a"]}},
                "0.annotations.0.result.0.value",
            ),
        ],
    )
    def test_damage_is_refused_with_its_place(self, tmp_path: Path, result: dict[str, Any], place: str) -> None:
        with pytest.raises(FormatError, match=f"labels.any: {place}"):
            read_annotations(written(tmp_path, label_studio(result)), "label-studio")


@pytest.mark.parametrize("written_as", FORMATS)
@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe\x00", b"[" * 100_000, b'{"a":' * 100_000, b"<a>" * 1000, b"null"]
)
def test_garbage_is_refused_by_every_format(tmp_path: Path, written_as: Format, content: bytes) -> None:
    path = tmp_path / "labels.any"
    path.write_bytes(content)
    if content == b"" and written_as == "ground-truth":
        assert read_annotations(path, written_as).images == ()
        return
    with pytest.raises(FormatError, match=r"labels.any"):
        read_annotations(path, written_as)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="cannot be read"):
        read_annotations(tmp_path / "none", "coco")
    with pytest.raises(FormatError, match="expected a file"):
        read_annotations(tmp_path, "coco")
