"""Segmentation with ONNX Runtime: TensorRT, CUDA or the CPU.

Per frame the vision graph runs once, the decoder graph once with all prompts in one batch (as far as memory allows, see
``OnnxOptions``), and the mask graph once for the prompts and queries that were admitted, or not at all. Between the
graphs everything stays on the accelerator; what leaves it are scores, boxes and the masks of admitted queries.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sam3edge.core.errors import EngineError
from sam3edge.core.postprocess import admit, confidence_of, to_instances
from sam3edge.core.types import Confidence, EngineOutput, Frame, Instance, ModelFiles, ModelInfo, Prompt
from sam3edge.engines.exemplars import boxes_of, outside
from sam3edge.engines.interactive import InteractiveEngine
from sam3edge.engines.ort import ort
from sam3edge.engines.runtime import PROVIDERS, Graphs, Observer, OnnxOptions, Value
from sam3edge.engines.text_features import TextFeatureCache, TextFeatures
from sam3edge.engines.vision import Features, Vision

__all__ = ["PROVIDERS", "OnnxEngine", "OnnxOptions"]

logger = logging.getLogger(__name__)

_ANSWER = ("scores", "boxes", "presence")
_ANSWER_EXPLAINED = (*_ANSWER, "logits")


@dataclass(frozen=True, slots=True, eq=False)
class _Question:
    """What the decoder is asked of one image, N prompts at once.

    Attributes:
        text: float32 [N, L, C].
        mask: bool [N, L].
        geometry: [J, 1, C].
        geometry_index: int64 [N], which of the J each prompt carries.
    """

    text: Value
    mask: Value
    geometry: Value
    geometry_index: npt.NDArray[np.int64]


class OnnxEngine:
    """A bundle, loaded.

    Args:
        observe: is told what every run of a graph gave; of the decoder logits, too.

    Raises:
        EngineError: a graph does not load, or none of the providers is there.
    """

    def __init__(self, files: ModelFiles, options: OnnxOptions | None = None, observe: Observer | None = None) -> None:
        self._options = options or OnnxOptions()
        self._graphs = Graphs(files, self._options, ("vision", "decoder", "masks"), observe)
        self._outputs = _ANSWER if observe is None else _ANSWER_EXPLAINED
        self._vision = Vision(self._graphs)
        self._phrases = TextFeatureCache(files.root, self._graphs.session)
        self._takes_exemplars = self._graphs.holds("exemplars")
        model = self._graphs.model
        logger.info("model %s %s (%s) runs on %s", model.name, model.version, model.precision, model.provider)

    @property
    def model(self) -> ModelInfo:
        """Which model answers, and on what."""
        return self._graphs.model

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The phrases that the bundle was exported for."""
        return self._phrases.vocabulary

    @property
    def reads_any(self) -> bool:
        """Whether it can answer other phrases, too."""
        return self._phrases.reads_any

    def segment(self, frame: Frame, prompts: Sequence[Prompt]) -> EngineOutput:
        """Find every instance of every prompt in one frame; see ``Engine``."""
        text, unsupported_prompts = self._phrases.look_up(tuple(dict.fromkeys(p.text for p in prompts)))
        refused = {p: reason for p in prompts if (reason := self._refusal(p, frame))}
        unsupported_prompts = {**unsupported_prompts, **{p.text: reason for p, reason in refused.items()}}
        asked = tuple(p for p in prompts if p.text in text.row and p not in refused)
        if not asked:
            return EngineOutput((), {}, unsupported_prompts)
        clock = _Clock()
        instances: list[Instance] = []
        confidence: dict[Prompt, Confidence] = {}
        most = self._options.prompts_per_run
        try:
            features = self._vision.encode(frame)
            clock.lap("vision")
            for some in (asked[i : i + most] for i in range(0, len(asked), most)):
                found, sure = self._answer(some, text, features, frame, clock)
                instances += found
                confidence |= sure
        except EngineError:
            raise
        except Exception as error:  # ONNX Runtime's exceptions share no base but this one
            raise EngineError(f"{self.model.provider} failed on frame {frame.id}: {error}") from error
        return EngineOutput(tuple(instances), clock.laps, unsupported_prompts, confidence)

    def interactive_segmenter(self) -> InteractiveEngine:
        """What answers clicks, on the features of this engine; it must not be used after this engine was closed.

        Raises:
            EngineError: the bundle has no graphs for it, or they do not load.
        """
        return InteractiveEngine(self._graphs, self._vision)

    def close(self) -> None:
        """Let the graphs go."""
        self._vision.forget()
        self._graphs.close()

    def _answer(
        self, asked: Sequence[Prompt], text: TextFeatures, features: Features, frame: Frame, clock: _Clock
    ) -> tuple[list[Instance], dict[Prompt, Confidence]]:
        """The instances of prompts that share a run, and how sure the model is of its answer to each."""
        rows = [text.row[p.text] for p in asked]
        question = _Question(text.features[rows], text.mask[rows], features["geometry"], np.zeros(len(rows), np.int64))
        if any(p.exemplars for p in asked):
            question = self._show(features, asked, frame, question)
            clock.lap("exemplars")
        decoded = self._decode(features, question)
        scores, boxes = decoded["scores"].numpy(), decoded["boxes"].numpy()
        clock.lap("decoder")
        admitted = admit(scores, asked, self._options.max_instances)
        masks = self._outline(features, decoded, question, admitted)
        clock.lap("masks")
        sure = confidence_of(scores, decoded["presence"].numpy(), asked)
        return to_instances(asked, admitted, scores, boxes, masks, frame.width, frame.height), sure

    def _refusal(self, prompt: Prompt, frame: Frame) -> str:
        """Why a prompt's exemplars cannot be used; empty when they can."""
        if not prompt.exemplars:
            return ""
        if not self._takes_exemplars:
            return "this bundle takes no exemplars: it has no exemplars.onnx; export it again, or ask by text alone"
        beyond = outside(prompt.exemplars, frame)
        if beyond:
            return f"the exemplar {beyond[0].box} covers nothing of the frame of {frame.width} x {frame.height} pixels"
        return ""

    def _show(self, features: Features, asked: Sequence[Prompt], frame: Frame, question: _Question) -> _Question:
        """The question with exemplars beside the text. Prompts without any come out as they went in."""
        self._graphs.load("exemplars")
        boxes, labels = boxes_of(asked, frame)
        inputs: dict[str, Value] = {
            "coarse": features["coarse"],
            "image_index": np.zeros(len(asked), np.int64),
            "boxes": boxes,
            "labels": labels,
            "text": question.text,
            "text_mask": question.mask,
        }
        shown = self._graphs.run("exemplars", inputs, ("prompt_text", "prompt_mask", "prompt_geometry"))
        own = np.arange(len(asked), dtype=np.int64)
        return _Question(shown["prompt_text"], shown["prompt_mask"], shown["prompt_geometry"], own)

    def _decode(self, features: Features, question: _Question) -> dict[str, ort.OrtValue]:
        inputs: dict[str, Value] = {
            "coarse": features["coarse"],
            "geometry": question.geometry,
            "geometry_index": question.geometry_index,
            "image_index": np.zeros_like(question.geometry_index),
            "text": question.text,
            "text_mask": question.mask,
        }
        return self._graphs.run("decoder", inputs, ("queries", "encoded", "prompt"), self._outputs)

    def _outline(
        self,
        features: Features,
        decoded: Mapping[str, ort.OrtValue],
        question: _Question,
        admitted: Sequence[tuple[int, npt.NDArray[np.int64]]],
    ) -> npt.NDArray[np.float32]:
        """Mask logits float32 [T, h, w] of the admitted queries, in their order."""
        if not admitted:
            return np.zeros((0, 0, 0), np.float32)
        widest = max(len(queries) for _, queries in admitted)
        query_index = np.zeros((len(admitted), widest), np.int64)
        keep = []
        for i, (_, queries) in enumerate(admitted):
            query_index[i, : len(queries)] = queries
            keep += [i * widest + k for k in range(len(queries))]
        inputs: dict[str, Value] = {
            "fine": features["fine"],
            "medium": features["medium"],
            **{name: decoded[name] for name in ("encoded", "prompt", "queries")},
            "text_mask": question.mask,
            "image_index": np.zeros(len(admitted), np.int64),
            "pair_index": np.array([row for row, _ in admitted], np.int64),
            "query_index": query_index,
            "keep": np.array(keep, np.int64),
        }
        # half precision crosses as it is and is widened here
        masks = self._graphs.run("masks", inputs, (), ("masks",))["masks"].numpy()
        return np.asarray(masks, np.float32)


class _Clock:
    """Milliseconds by stage."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._since = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.laps[stage] = self.laps.get(stage, 0.0) + (now - self._since) * 1000
        self._since = now
