"""The stages at a few fixed sizes, on memory that stays where it is: what a CUDA graph needs.

Every stage writes into one set of buffers, so the stages' graphs are independent of each other: five sizes of each of
the four are twenty graphs, not 5 * 5 * 5 * 5, and they share the memory of their intermediates.

Sizes are powers of two. A prompt of padding costs as much as a prompt (0.42 TFLOP at full size, about 0.7 ms on an
H200), so 3 prompts asked cost what 4 do; against that a size of its own for every number would make start-up four times
as long, at ten seconds of compilation each. What pads holds results of earlier runs, and nothing reads it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

import torch
from torch import Tensor

from sam3edge_export.sam3.exemplars import PADDING, Exemplified
from sam3edge_export.sam3.graphs import VisionFeatures
from sam3edge_export.torch_engine.compiling import compiling
from sam3edge_export.torch_engine.stages import DecoderInputs, DecoderOutputs, SelectedQueries, Stages

WARM_UPS = 3
"""Runs before a recording: compilation, cuDNN's choice of algorithms and the libraries' workspaces must be done by
then."""


class Recorder(Protocol):
    """Makes something that can be run again and again on the same memory."""

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """What does again what ``work`` does; ``work`` may or may not have been done when this returns."""


class Repeat:
    """Runs it again."""

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """See ``Recorder``."""
        return work


class CudaGraphs:
    """Records it as a CUDA graph.

    All graphs share one memory pool. That is safe here although they are replayed in any order: no tensor that a
    recording allocates is read after it, since every stage copies what it has found into the static buffers.
    https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
    """

    def __init__(self) -> None:
        self._stream = torch.cuda.Stream()
        self._pool = torch.cuda.graph_pool_handle()

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        """See ``Recorder``."""
        measured, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, True
        try:
            self._stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(self._stream):
                for _ in range(WARM_UPS):
                    work()
            torch.cuda.current_stream().wait_stream(self._stream)
            graph = torch.cuda.CUDAGraph()
            # other threads may copy or allocate meanwhile: only what this thread does is restricted
            with torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode="thread_local"):
                work()
        finally:
            torch.backends.cudnn.benchmark = measured
        return graph.replay


def sizes_up_to(most: int) -> tuple[int, ...]:
    """Powers of two below ``most``, and ``most``."""
    return (*(2**i for i in range(most.bit_length()) if 2**i < most), most)


class StaticRunner:
    """Every stage at the next larger of a few sizes.

    Args:
        length: text tokens of a prompt.
        images, pairs, boxes: at most this many images and prompts in one run, and exemplars of a prompt.
    """

    def __init__(self, stages: Stages, recorder: Recorder, length: int, images: int, pairs: int, boxes: int) -> None:
        self._stages = stages
        self._recorder = recorder
        self._image_sizes, self._pair_sizes = sizes_up_to(images), sizes_up_to(pairs)
        self._runs: dict[tuple[str, int], Callable[[], None]] = {}
        self._pixels = self._room(images, 3, stages.side, stages.side)
        width, grid = stages.width, stages.grid
        self._features = VisionFeatures(
            self._map(images, 4 * grid, stages.dtype),
            self._map(images, 2 * grid, stages.dtype),
            self._map(images, grid, stages.dtype),
            self._room(images, 1, width),
        )
        self._image_index = self._room(pairs, dtype=torch.int64)
        self._boxes = self._room(pairs, boxes, 4)
        self._labels = self._room(pairs, boxes, dtype=torch.int64)
        self._length = length
        self._shown = Exemplified(
            self._room(pairs, length + boxes, width),
            self._room(pairs, length + boxes, dtype=torch.bool),
            self._room(pairs, 1, width),
        )
        self._decoded = DecoderOutputs(
            self._room(pairs, stages.queries, 6),
            self._room(pairs, stages.queries, width),
            self._room(pairs, grid * grid, width),
            self._room(pairs, length + boxes + 1, width),
            self._shown.text_mask,
        )
        self._selected_image = self._room(pairs, dtype=torch.int64)
        self._selected_pair = self._room(pairs, dtype=torch.int64)
        self._embedded = self._map(pairs, 4 * grid)

    def encode(self, pixels: Tensor) -> VisionFeatures:
        """See ``Runner``."""
        count = len(pixels)
        self._pixels[:count].copy_(pixels)
        self._run("vision", _next(count, self._image_sizes), self._run_vision)
        return VisionFeatures(*(tensor[:count] for tensor in self._features))

    def decode(self, features: VisionFeatures, inputs: DecoderInputs) -> DecoderOutputs:
        """See ``Runner``. The tokens of exemplars follow those of the text; without exemplars they are masked."""
        self._check(features)
        index, text, text_mask, boxes = inputs
        count = len(index)
        size = _next(count, self._pair_sizes)
        self._image_index[:count].copy_(index)
        self._shown.text[:count, : self._length].copy_(text)
        self._shown.text_mask[:count, : self._length].copy_(text_mask)
        if boxes is None:
            self._shown.text_mask[:count, self._length :].fill_(False)
            self._shown.geometry[:count].copy_(features.geometry.index_select(0, index))
        else:
            given = boxes[1].shape[1]
            self._boxes[:count, :given].copy_(boxes[0])
            self._labels[:count].fill_(PADDING)
            self._labels[:count, :given].copy_(boxes[1])
            self._run("exemplars", size, self._run_exemplars)
        self._run("decoder", size, self._run_decoder)
        return DecoderOutputs(*(tensor[:count] for tensor in self._decoded))

    def predict_masks(self, features: VisionFeatures, decoded: DecoderOutputs, selected: SelectedQueries) -> Tensor:
        """See ``Runner``. The pixel decoder, which is most of the work, runs at a fixed size; the product with the
        admitted queries at its own."""
        self._check(features)
        count = len(selected.pair_index)
        self._selected_image[:count].copy_(selected.image_index)
        self._selected_pair[:count].copy_(selected.pair_index)
        self._run("masks", _next(count, self._pair_sizes), self._run_pixel_decoder)
        queries = decoded.queries[selected.pair_index[:, None], selected.query_index]
        masks = self._stages.masks.masks(self._embedded[:count], queries)
        return masks.flatten(0, 1).index_select(0, selected.keep).float()

    def _run(self, stage: str, size: int, work: Callable[[int], None]) -> None:
        if (stage, size) not in self._runs:
            with compiling():
                self._runs[stage, size] = self._recorder.record(partial(work, size))
                self._runs[stage, size]()
        else:
            self._runs[stage, size]()

    def _run_vision(self, size: int) -> None:
        for room, found in zip(self._features, self._stages.vision(self._pixels[:size]), strict=True):
            room[:size].copy_(found)

    def _run_exemplars(self, size: int) -> None:
        text, mask = (room[:size, : self._length] for room in self._shown[:2])
        boxes, labels = self._boxes[:size], self._labels[:size]
        index = self._image_index[:size]
        shown = self._stages.exemplars(self._features.coarse, index, boxes, labels, text, mask)
        for room, found in zip(self._shown, shown, strict=True):
            room[:size].copy_(found)

    def _run_decoder(self, size: int) -> None:
        shown = Exemplified(*(room[:size] for room in self._shown))
        found = self._stages.decode(self._features.coarse, self._image_index[:size], shown)
        for room, tensor in zip(self._decoded[:4], found[:4], strict=True):
            room[:size].copy_(tensor)

    def _run_pixel_decoder(self, size: int) -> None:
        a = self._decoded
        pixels = self._stages.masks.pixels(
            self._features.fine,
            self._features.medium,
            a.encoded,
            a.prompt,
            a.text_mask,
            self._selected_image[:size],
            self._selected_pair[:size],
        )
        self._embedded[:size].copy_(pixels)

    def _check(self, features: VisionFeatures) -> None:
        if features.coarse.data_ptr() != self._features.coarse.data_ptr():
            raise ValueError("expected the features that this runner's encode() has returned, got some from elsewhere")

    def _room(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.zeros(shape, dtype=dtype, device=self._stages.device)

    def _map(self, count: int, side: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """A feature map, laid out as the convolutions leave it."""
        return self._room(count, self._stages.width, side, side, dtype=dtype).to(memory_format=torch.channels_last)


def _next(count: int, sizes: tuple[int, ...]) -> int:
    return next(size for size in sizes if size >= count)
