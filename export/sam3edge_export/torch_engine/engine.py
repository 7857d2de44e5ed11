"""Segmentation with torch.

For some frames at once: one run of the vision graph, one of the decoder for all their prompts, one synchronisation that
brings scores and boxes to the host (5 KB a prompt), and one run of the mask graph for what was admitted, or none.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timezone

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from transformers.models.sam3.modeling_sam3 import Sam3Model

from sam3edge.core.errors import EngineError
from sam3edge.core.postprocess import admit, scores_of, to_instances
from sam3edge.core.types import EngineOutput, Exemplar, Frame, Instance, ModelInfo, Prompt
from sam3edge.engines.exemplars import PADDING, boxes_of, outside
from sam3edge_export.sam3.graphs import VisionFeatures
from sam3edge_export.torch_engine.compiled_code import kept_compiled
from sam3edge_export.torch_engine.options import REFERENCE, Identity, TorchOptions
from sam3edge_export.torch_engine.precision import mixed_precision
from sam3edge_export.torch_engine.preprocess import normalise, to_square
from sam3edge_export.torch_engine.stages import DecoderInputs, EagerRunner, Runner, SelectedQueries, Stages
from sam3edge_export.torch_engine.static import CudaGraphs, Repeat, StaticRunner, sizes_up_to
from sam3edge_export.torch_engine.text_features import PhraseFeatures, TextEncoder
from sam3edge_export.torch_engine.transfer import Clock, link_to

logger = logging.getLogger(__name__)

Admitted = list[tuple[int, npt.NDArray[np.int64]]]
Pair = tuple[int, Prompt]
"""Which of the frames, and what is asked of it."""

Observe = Callable[[str, Mapping[str, npt.NDArray[np.float32]]], None]
"""Gets the name of a stage and what it gave."""


class TorchEngine:
    """A SAM 3, loaded; keeps to ``Engine``. Used by one thread at a time, as every engine.

    Args:
        model: with weights in float32. The engine takes it over and changes it: a model that is needed elsewhere has to
            be loaded twice.
        tokenizer: pads with zeros and truncates to the text encoder's context length.
        identity: how the model is called in the answers.
        observe: is told what the stages ``vision`` (``fine``, ``medium``, ``coarse``, ``geometry``) and ``decoder``
            (``logits``, ``presence``, ``scores``, ``boxes``) give in every run, as float32.

    Raises:
        EngineError: the model does not fit the options or the device.
    """

    def __init__(
        self,
        model: Sam3Model,
        tokenizer: Tokenizer,
        identity: Identity,
        options: TorchOptions | None = None,
        observe: Observe | None = None,
    ) -> None:
        self._observe = observe
        self._options = options or REFERENCE
        device = torch.device(self._options.device)
        self._link = link_to(device)
        self._model = ModelInfo(
            identity.name, identity.version, identity.digest, self._options.precision, f"torch:{device}"
        )
        with self._running("loading the model"):
            stages = Stages(model, self._options)
            self._side = stages.side
            self._runner: Runner | None = self._make_runner(
                stages, int(model.config.text_config.max_position_embeddings)
            )
        self._phrases = PhraseFeatures(TextEncoder(model, tokenizer), self._options.max_phrases)
        logger.info("model %s %s (%s) runs on %s", identity.name, identity.version, self._options.precision, device)

    @property
    def model(self) -> ModelInfo:
        """Which model answers, and on what."""
        return self._model

    def segment(self, frame: Frame, prompts: Sequence[Prompt]) -> EngineOutput:
        """Find every instance of every prompt in one frame; see ``Engine``."""
        return self.segment_many([frame], [prompts])[0]

    def segment_many(self, frames: Sequence[Frame], prompts_of_each: Sequence[Sequence[Prompt]]) -> list[EngineOutput]:
        """Find in every frame what is asked of it, with as few runs as ``max_images`` and ``max_pairs`` allow.

        Args:
            frames: of any sizes.
            prompts_of_each: for each frame; may be empty.

        Returns:
            One answer a frame. Their timing is that of the run they came of, not a share of it.

        Raises:
            EngineError: the model cannot run.
        """
        if len(frames) != len(prompts_of_each):
            raise ValueError(f"expected prompts for each of {len(frames)} frames, got {len(prompts_of_each)} lists")
        refused = [self._refusals(frame, prompts) for frame, prompts in zip(frames, prompts_of_each, strict=True)]
        answers = [EngineOutput((), {}, {p.text: reason for p, reason in no.items()}) for no in refused]
        possible = [[p for p in prompts if p not in no] for prompts, no in zip(prompts_of_each, refused, strict=True)]
        asked = [i for i, prompts in enumerate(possible) if prompts]
        for start in range(0, len(asked), self._options.max_images):
            some = asked[start : start + self._options.max_images]
            with self._running(f"segmenting frame {', '.join(frames[i].id for i in some)}"):
                found = self._segment([frames[i] for i in some], [possible[i] for i in some])
            for i, answer in zip(some, found, strict=True):
                answers[i] = replace(answer, unsupported_prompts=answers[i].unsupported_prompts)
        return answers

    def warm_up(self, images: Sequence[int] | None = None, pairs: Sequence[int] | None = None) -> None:
        """Compile and record what runs of this many images and (image, prompt) pairs need, so that no request waits.

        Args:
            images: numbers of images; by default every size up to ``max_images``.
            pairs: numbers of pairs; by default every size up to ``max_pairs``.
        """
        images = sizes_up_to(self._options.max_images) if images is None else images
        pairs = sizes_up_to(self._options.max_pairs) if pairs is None else pairs
        with kept_compiled(self._options.compiled, torch.device(self._options.device)):
            self._run_all(images, pairs)

    def _run_all(self, images: Sequence[int], pairs: Sequence[int]) -> None:
        black = _black(self._side)
        by_text = Prompt("object", -1.0)
        by_example = replace(by_text, exemplars=(Exemplar((0.0, 0.0, float(self._side), float(self._side))),))
        for count in images:
            self.segment_many([black] * count, [[by_text]] * count)
        for count in pairs:
            self.segment(black, [by_text] * count)
            self.segment(black, [by_example] * count)

    def close(self) -> None:
        """Let the model go. Idempotent."""
        self._runner = None
        self._phrases.clear()
        if torch.device(self._options.device).type == "cuda":
            torch.cuda.empty_cache()

    def _make_runner(self, stages: Stages, length: int) -> Runner:
        if self._options.launching == "eager":
            return EagerRunner(stages)
        recorder = CudaGraphs() if self._options.launching == "cuda-graphs" else Repeat()
        o = self._options
        return StaticRunner(stages, recorder, length, o.max_images, o.max_pairs, o.max_exemplars)

    def _segment(self, frames: Sequence[Frame], prompts_of_each: Sequence[Sequence[Prompt]]) -> list[EngineOutput]:
        if self._runner is None:
            raise EngineError("this engine was closed; make another one")
        clock = self._link.clock()
        images = [self._link.upload(frame.image) for frame in frames]
        clock.lap("upload")
        pixels = normalise(torch.stack([to_square(image, self._side) for image in images]))
        clock.lap("preprocess")
        features = self._runner.encode(pixels)
        if self._observe is not None:
            self._observe("vision", {name: self._link.download(t.float()) for name, t in features._asdict().items()})
        clock.lap("vision")
        pairs = [(i, prompt) for i, prompts in enumerate(prompts_of_each) for prompt in prompts]
        found: list[list[Instance]] = [[] for _ in frames]
        for start in range(0, len(pairs), self._options.max_pairs):
            some = pairs[start : start + self._options.max_pairs]
            for i, instances in self._segment_pairs(self._runner, features, frames, some, clock):
                found[i] += instances
        timing = clock.read()
        return [EngineOutput(tuple(instances), timing) for instances in found]

    def _segment_pairs(
        self, runner: Runner, features: VisionFeatures, frames: Sequence[Frame], pairs: Sequence[Pair], clock: Clock
    ) -> Iterator[tuple[int, list[Instance]]]:
        """Instances of each frame that ``pairs`` ask about."""
        prompts = [prompt for _, prompt in pairs]
        owner = np.array([i for i, _ in pairs], np.int64)
        decoded = runner.decode(features, self._decoder_inputs(frames, pairs, owner))
        packed = self._link.download(decoded.packed)  # the one synchronisation before the masks
        clock.lap("decoder")
        boxes, logits, presence = packed[..., :4], packed[..., 4], packed[:, :1, 5]
        scores = scores_of(logits, presence)
        if self._observe is not None:
            self._observe("decoder", {"logits": logits, "presence": presence, "scores": scores, "boxes": boxes})
        admitted = admit(scores, prompts, self._options.max_instances)
        masks = np.zeros((0, 0, 0), np.float32)
        if admitted:
            found = runner.predict_masks(features, decoded, self._select(admitted, owner))
            clock.lap("masks")
            masks = self._link.download(found)
        clock.lap("masks" if not admitted else "download")
        start = 0
        for i in dict.fromkeys(owner.tolist()):
            mine = [(row, queries) for row, queries in admitted if owner[row] == i]
            stop = start + sum(len(queries) for _, queries in mine)
            yield i, to_instances(prompts, mine, scores, boxes, masks[start:stop], frames[i].width, frames[i].height)
            start = stop

    def _decoder_inputs(
        self, frames: Sequence[Frame], pairs: Sequence[Pair], owner: npt.NDArray[np.int64]
    ) -> DecoderInputs:
        text, text_mask = self._phrases.look_up([prompt.text for _, prompt in pairs])
        index = self._link.upload(owner)
        most = max(len(prompt.exemplars) for _, prompt in pairs)
        if not most:
            return DecoderInputs(index, text, text_mask, None)
        boxes = np.full((len(pairs), most, 4), 0.5, np.float32)
        labels = np.full((len(pairs), most), PADDING, np.int64)
        for row, (i, prompt) in enumerate(pairs):
            own, kinds = boxes_of([prompt], frames[i])
            boxes[row, : own.shape[1]], labels[row, : own.shape[1]] = own[0], kinds[0]
        return DecoderInputs(index, text, text_mask, (self._link.upload(boxes), self._link.upload(labels)))

    def _refusals(self, frame: Frame, prompts: Sequence[Prompt]) -> dict[Prompt, str]:
        """Prompts whose exemplars cannot be used, and why."""
        refused = {}
        most = self._options.max_exemplars
        for prompt in prompts:
            beyond = outside(prompt.exemplars, frame)
            if beyond:
                size = f"{frame.width} x {frame.height} pixels"
                refused[prompt] = f"the exemplar {beyond[0].box} covers nothing of the frame of {size}"
            elif len(prompt.exemplars) > most and self._options.launching != "eager":
                refused[prompt] = f"it has {len(prompt.exemplars)} exemplars, and this engine takes at most {most}"
        return refused

    def _select(self, admitted: Admitted, owner: npt.NDArray[np.int64]) -> SelectedQueries:
        rows = np.array([row for row, _ in admitted], np.int64)
        widest = max(len(queries) for _, queries in admitted)
        query_index = np.zeros((len(admitted), widest), np.int64)
        there = np.zeros((len(admitted), widest), bool)
        for i, (_, queries) in enumerate(admitted):
            query_index[i, : len(queries)] = queries
            there[i, : len(queries)] = True
        keep = np.flatnonzero(there).astype(np.int64)
        return SelectedQueries(*(self._link.upload(index) for index in (owner[rows], rows, query_index, keep)))

    @contextlib.contextmanager
    def _running(self, what: str) -> Iterator[None]:
        """On the device, without gradients, and with torch's errors as ours."""
        try:
            device = torch.device(self._options.device)
            with self._link.active(), torch.no_grad(), mixed_precision(device, self._options.dtype):
                yield
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            raise EngineError(
                f"{self._model.provider} has no memory left for {what}: lower max_images (now "
                f"{self._options.max_images}) or max_pairs (now {self._options.max_pairs}), or take a larger device; "
                f"{error}"
            ) from error
        except RuntimeError as error:
            raise EngineError(f"{self._model.provider} failed when {what}: {error}") from error


def _black(side: int) -> Frame:
    """A frame to warm up with."""
    image = np.zeros((side, side, 3), np.uint8)
    return Frame("warm-up", "engine", "warm-up", image, datetime.now(timezone.utc), "sha256:" + "0" * 64)
