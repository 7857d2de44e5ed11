"""Uploaded examples and engines propose objects, in pixels of the image that is reviewed."""

from __future__ import annotations

from typing import Any

import pytest

from sam3edge.engines.fake import FakeEngine
from sam3edge_pipeline.datasets.formats.annotations import FormatError
from sam3edge_pipeline.labeling.prelabels import propose, read_hard_example
from support.reviews import uploaded
from support.samples import frame, red_square


def test_coordinates_become_pixels_of_the_smaller_image() -> None:
    example, jpeg = uploaded(scale=0.5)
    read = read_hard_example(example, jpeg, "hard-examples/t/2026/01/02/f", "t")
    assert (read.record.width, read.record.height) == (160, 120)
    assert read.record.perceptual_hash == 0x00FF00FF00FF00FF
    assert read.record.group == "t/folder/20260102T03"
    assert read.phrases == ("red", "dent")
    [one] = read.proposals
    assert one.phrase == "red"
    assert one.outline.bounds == (50, 40, 80, 70)
    assert read.note == "uncertain: 0.41"


def test_the_bigger_models_detections_are_preferred() -> None:
    read = read_hard_example(*uploaded(scale=1, cloud=True), "somewhere")
    assert [one.outline.bounds for one in read.proposals] == [(0, 0, 10, 10)]


@pytest.mark.parametrize(
    ("changed", "place"),
    [
        ({"format": 2}, "format"),
        ({"perceptual_hash": "xyz"}, "perceptual_hash"),
        ({"image": {"width": 160, "height": 120, "sha256": "0" * 64}}, "image.sha256"),
        ({"frame": {}}, "frame.width"),
        (
            {"device": {"features": [{"properties": {"imageGeometry": {}, "prompt": "a", "score": 0.1}}]}},
            "device.features.0",
        ),
        ({"reason": {"kind": "other"}}, "reason.kind"),
    ],
)
def test_damage_is_refused_with_its_place(changed: dict[str, Any], place: str) -> None:
    with pytest.raises(FormatError, match=rf"where/example\.json: {place}"):
        read_hard_example(*uploaded(**changed), "where")


def test_an_engine_proposes_the_best_first() -> None:
    found = propose(FakeEngine(), frame(red_square()), ["red", "green"], 0.3)
    assert [(one.phrase, one.outline.bounds) for one in found] == [("red", pytest.approx((100, 80, 160, 140), abs=1))]
