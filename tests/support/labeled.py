"""Labelled images and what was found in them, for tests of the evaluation. Boxes are x0, y0, x1, y1 in whole pixels, so
that overlaps can be worked out by hand."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import shapely

from sam3edge.core.types import Box, Detection, Prompt
from sam3edge_pipeline.datasets.examples import Example, LabeledObject, Split
from sam3edge_pipeline.evaluation.comparison import PhraseResult, compare

TAKEN_AT = datetime(2026, 1, 2, tzinfo=timezone.utc)


def example(
    name: str,
    objects: Sequence[LabeledObject] = (),
    exhaustive: Sequence[str] = ("car",),
    split: Split = "test",
    image: Path | None = None,
    size: tuple[int, int] = (100, 80),
    group: str = "",
) -> Example:
    """An example with an id of its own."""
    identity = hashlib.sha256(name.encode()).hexdigest()
    path = image or Path(f"{name}.png")
    return Example(identity, path, *size, group or name, TAKEN_AT, tuple(objects), tuple(exhaustive), split)


def labeled(box: Box, phrase: str = "car", ignored: bool = False) -> LabeledObject:
    """An object that fills a box."""
    return LabeledObject(phrase, shapely.box(*box), ignored)


def detected(box: Box, score: float, phrase: str = "car") -> Detection:
    """A detection that fills a box."""
    outline = shapely.box(*box)
    return Detection(Prompt(phrase), score, box, outline.area, outline)


def result(
    name: str,
    truth: Sequence[Box] = (),
    found: Mapping[Box, float] | Sequence[tuple[Box, float]] = (),
    ignored: Sequence[Box] = (),
    phrase: str = "car",
) -> PhraseResult:
    """One phrase in one image: boxes that are there, and boxes that were found, with their scores."""
    objects = [labeled(box, phrase) for box in truth] + [labeled(box, phrase, ignored=True) for box in ignored]
    pairs = found.items() if isinstance(found, Mapping) else found
    return compare(example(name, objects, (phrase,)), phrase, [detected(box, score, phrase) for box, score in pairs])


def write_squares(path: Path, squares: Mapping[Box, tuple[int, int, int]], size: tuple[int, int] = (100, 80)) -> Path:
    """A PNG with filled boxes of RGB colours on grey, as ``FakeEngine`` sees them."""
    image: npt.NDArray[np.uint8] = np.full((size[1], size[0], 3), 90, np.uint8)
    for (x0, y0, x1, y1), color in squares.items():
        image[int(y0) : int(y1), int(x0) : int(x1)] = color
    cv2.imwrite(str(path), image[..., ::-1])
    return path
