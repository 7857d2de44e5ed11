"""Have an engine answer labelled images as a device would."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sam3edge.core.errors import FrameError
from sam3edge.core.flow import DetectionOptions, segment
from sam3edge.core.polygons import TOLERANCE
from sam3edge.core.ports import Engine
from sam3edge.core.types import Frame, ModelInfo, Prompt
from sam3edge.images.files import read_frame
from sam3edge_pipeline.datasets.examples import Example
from sam3edge_pipeline.evaluation.cgf1 import SCORE
from sam3edge_pipeline.evaluation.comparison import PhraseResult, compare

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AskOptions:
    """How an engine is asked. The defaults are the device's.

    Attributes:
        threshold: detections with a greater score are published.
        floor: detections with a greater score are looked at, which average precision and calibration need; published
            ones are the same whether or not these are there.
        nms_iou: as in ``DetectionOptions``.
        tolerance: as in ``DetectionOptions``.
    """

    threshold: float = 0.5
    floor: float = 0.05
    nms_iou: float | None = 0.5
    tolerance: float = TOLERANCE

    def __post_init__(self) -> None:
        if not (0 <= self.floor <= self.threshold <= 1 and self.floor < SCORE):
            raise ValueError(
                f"expected 0 <= floor <= threshold <= 1 and a floor below {SCORE}, from where cgF1 counts, got a floor "
                f"of {self.floor} and a threshold of {self.threshold}"
            )


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What an engine made of a set of images.

    Attributes:
        model: which engine.
        results: every phrase that an image is labeled for exhaustively, image by image.
        milliseconds: what the engine took for an image and its phrases at ``AskOptions.threshold``, without decoding
            and outlining; the first image is left out, for which engines allocate and compile.
        unusable: name and reason of images that could not be read or segmented, by id; they are in no figure.
        unsupported: phrases that the model does not support, with the reason; their objects count as missed.
    """

    model: ModelInfo
    results: tuple[PhraseResult, ...]
    milliseconds: tuple[float, ...]
    unusable: Mapping[str, str] = field(default_factory=dict)
    unsupported: Mapping[str, str] = field(default_factory=dict)


def ask(
    engine: Engine,
    examples: Sequence[Example],
    options: AskOptions | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Answers:
    """Ask for every phrase that an image is labeled for exhaustively, all phrases of an image at once.

    An image is segmented twice: as a device does, which is timed, and down to ``AskOptions.floor``. The device's
    engine keeps the features of the last image, so the second time costs it little.

    Raises:
        EngineError: the model cannot run.
    """
    options = options or AskOptions()
    results: list[PhraseResult] = []
    seconds: list[float] = []
    unusable: dict[str, str] = {}
    unsupported: dict[str, str] = {}
    for example in examples:
        if not example.exhaustive:
            continue
        try:
            frame = _frame(example)
            began = clock()
            segment(engine, frame, _options(example, options.threshold, options))
            took = clock() - began
            found = segment(engine, frame, _options(example, options.floor, options))()
        except FrameError as error:
            logger.warning("image %s is left out: %s", example.image.name, error)
            unusable[example.id] = f"{example.image.name}: {error}"
            continue
        seconds.append(took)
        unsupported |= found.unsupported_prompts
        for phrase in example.exhaustive:
            results.append(compare(example, phrase, [d for d in found.detections if d.prompt.text == phrase]))
    return Answers(engine.model, tuple(results), tuple(1000 * s for s in seconds[1:]), unusable, unsupported)


def _frame(example: Example) -> Frame:
    frame = read_frame(example.image, "examples")
    if (frame.width, frame.height) != (example.width, example.height):
        raise FrameError(
            f"expected {example.width} x {example.height} pixels as labeled, got {frame.width} x {frame.height}; "
            "correct the dataset",
            frame_id=frame.id,
            name=frame.name,
        )
    return frame


def _options(example: Example, threshold: float, options: AskOptions) -> DetectionOptions:
    prompts = tuple(Prompt(phrase, threshold) for phrase in example.exhaustive)
    return DetectionOptions(prompts, tolerance=options.tolerance, nms_iou=options.nms_iou)
