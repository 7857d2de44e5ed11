"""Answers in COCO's instance format with compressed run lengths (https://cocodataset.org/#format-results)."""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict

from sam3edge.core.messages.envelope import to_json
from sam3edge.vector.coco import CocoCategory, CocoImage
from sam3edge.vector.run_lengths import Rle
from sam3edge_serving.endpoint.formats.masks import box_of, full_mask, to_rle
from sam3edge_serving.endpoint.formats.queries import DetectionResult

MEDIA_TYPE = "application/vnd.coco.rle+json"


class CocoInfo(TypedDict):
    """Who answered: the endpoint, the model with its version, and its digest."""

    contributor: str
    description: str
    version: str


class CocoAnnotation(TypedDict):
    """One found object; ``bbox`` is x, y, width and height, ``area`` counts pixels."""

    id: int
    image_id: int
    category_id: int
    segmentation: Rle
    bbox: tuple[int, int, int, int]
    area: int
    iscrowd: Literal[0]
    score: float


class CocoResponse(TypedDict):
    """COCO's instances; and why which prompt could not be answered."""

    info: CocoInfo
    images: list[CocoImage]
    categories: list[CocoCategory]
    annotations: list[CocoAnnotation]
    unsupported_prompts: dict[str, str]


def write(found: DetectionResult, endpoint: str) -> bytes:
    """One image, its annotations, and the prompts as categories, counted from 1 in the order asked."""
    frame, model = found.frame, found.model
    category = {prompt: number for number, prompt in enumerate(found.prompts, 1)}
    annotations: list[CocoAnnotation] = []
    for instance in found.output.instances:
        mask = full_mask(instance.mask, frame.width, frame.height)
        area = int(mask.sum())
        if area:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": 1,
                    "category_id": category[instance.prompt],
                    "segmentation": to_rle(mask),
                    "bbox": box_of(mask),
                    "area": area,
                    "iscrowd": 0,
                    "score": round(instance.score, 4),
                }
            )
    answer: CocoResponse = {
        "info": {"contributor": endpoint, "description": f"{model.name} {model.version}", "version": model.digest},
        "images": [{"id": 1, "file_name": frame.name, "width": frame.width, "height": frame.height}],
        "categories": [{"id": number, "name": prompt.name} for prompt, number in category.items()],
        "annotations": annotations,
        "unsupported_prompts": dict(found.output.unsupported_prompts),
    }
    return to_json(answer)
