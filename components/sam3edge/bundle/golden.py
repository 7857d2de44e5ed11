"""The golden run: before a bundle is activated it must find in its own small image what it found when it was built."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat

from sam3edge.bundle.document import read_document
from sam3edge.core.errors import BundleError, FrameError
from sam3edge.core.matching import box_iou, pair_in_order
from sam3edge.core.polygons import to_detections
from sam3edge.core.ports import Engine
from sam3edge.core.types import Detection, Frame, Prompt
from sam3edge.images.decoding import DecodeOptions
from sam3edge.images.files import read_frame

IMAGE = "golden/image.png"
EMPTY = "golden/empty.png"
EXPECTED = "golden/expected.json"

MAX_PIXELS = 4_000_000
"""Of the golden image, which travels with every bundle and is decoded at each activation."""

MAX_EXPECTED_BYTES = 4 << 20

SCORE_SLACK = 0.05
BOX_OVERLAP = 0.9
AREA_SLACK = 0.1
"""Another provider or precision may move scores by 0.05, boxes to an IoU of 0.9 and areas by a tenth, not more."""


class GoldenInstance(BaseModel):
    """One object that must be found; box in pixels of the image."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    prompt: str = Field(max_length=1000)
    score: Annotated[FiniteFloat, Field(ge=0, le=1)]
    box: tuple[FiniteFloat, FiniteFloat, FiniteFloat, FiniteFloat]
    area: Annotated[FiniteFloat, Field(gt=0)]


class Golden(BaseModel):
    """Prompts asked and everything that must be found, no more and no less; at least one object, for a model that finds
    nothing anywhere must not pass. Where ``empty`` is true, nothing may be found in the second image: an engine that
    was compiled wrongly finds things there."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    prompts: list[Annotated[str, Field(max_length=1000)]] = Field(min_length=1, max_length=100)
    threshold: Annotated[FiniteFloat, Field(ge=0, lt=1)]
    instances: list[GoldenInstance] = Field(min_length=1, max_length=10_000)
    empty: bool = False


def run_golden(root: Path, engine: Engine) -> float:
    """Run the bundle's golden images: all prompts together, one alone, and all of them where there is nothing.

    Returns:
        Milliseconds that the engine took for the first of these.

    Raises:
        BundleError: it finds something else than it must.
        EngineError: it does not run.
    """
    golden = _read(root)
    frame = golden_frame(root)
    prompts = [Prompt(text, golden.threshold) for text in golden.prompts]
    output = engine.segment(frame, prompts)
    if output.unsupported_prompts:
        phrase, reason = next(iter(output.unsupported_prompts.items()))
        raise BundleError(f"golden run: the phrase {phrase!r} is not answered: {reason}")
    _compare(golden.instances, to_detections(output, frame, engine.model).detections)
    alone = golden.instances[0].prompt
    found = engine.segment(frame, [Prompt(alone, golden.threshold)])
    expected = [instance for instance in golden.instances if instance.prompt == alone]
    _compare(expected, to_detections(found, frame, engine.model).detections)
    if golden.empty:
        empty = golden_frame(root, EMPTY)
        _compare((), to_detections(engine.segment(empty, prompts), empty, engine.model).detections)
    return sum(output.timing.values())


def golden_frame(root: Path, name: str = IMAGE) -> Frame:
    """A golden image of the bundle."""
    try:
        return read_frame(root / name, "bundle", DecodeOptions(max_pixels=MAX_PIXELS))
    except FrameError as error:
        raise BundleError(f"{name} of {root.name} cannot be used: {error}") from error


def _read(root: Path) -> Golden:
    try:
        return read_document(root, EXPECTED, Golden, "a golden result", MAX_EXPECTED_BYTES)
    except OSError as error:
        raise BundleError(f"{EXPECTED} of {root.name} cannot be read: {error.strerror}") from error


def _compare(expected: Sequence[GoldenInstance], found: Sequence[Detection]) -> None:
    """Pair what must be found, in its order, with what is found of the same prompt, by the overlap of their boxes."""
    overlaps = box_iou([wanted.box for wanted in expected], [d.box for d in found])
    same_prompt = [[wanted.prompt == d.prompt.text for d in found] for wanted in expected]
    pairs = dict(pair_in_order(overlaps * np.reshape(same_prompt, overlaps.shape), BOX_OVERLAP))
    for number, wanted in enumerate(expected):
        if number not in pairs:
            raise BundleError(f"golden run: a {wanted.prompt!r} at {wanted.box} must be found and is not")
        match = found[pairs[number]]
        if not abs(match.score - wanted.score) <= SCORE_SLACK:  # NaN is no score
            raise BundleError(
                f"golden run: the {wanted.prompt!r} at {wanted.box} must score {wanted.score:.3f}, it scores "
                f"{match.score:.3f}"
            )
        if not abs(match.area - wanted.area) <= AREA_SLACK * wanted.area:
            raise BundleError(
                f"golden run: the {wanted.prompt!r} at {wanted.box} must cover {wanted.area:.0f} pixels, it covers "
                f"{match.area:.0f}"
            )
    for number, extra in enumerate(found):
        if number not in pairs.values():
            raise BundleError(f"golden run: a {extra.prompt.text!r} at {extra.box} is found and must not be")
