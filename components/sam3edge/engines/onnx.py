"""Segmentation with ONNX Runtime: TensorRT, CUDA or the CPU.

Per frame the vision graph runs once, the decoder graph once with all prompts in one batch, and the mask graph once for
the prompts and queries that were admitted, or not at all. Between the graphs everything stays on the accelerator; what
leaves it are scores, boxes and the masks of admitted queries.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from sam3edge.core.errors import EngineError
from sam3edge.core.postprocess import admit, to_instances
from sam3edge.core.types import Frame, ModelFiles, ModelInfo, Prompt, Segmentation
from sam3edge.engines.phrases import PhraseBook

log = logging.getLogger(__name__)

PROVIDERS = ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider")
"""Tried in this order by default; the first that this build and this machine have is used."""


@dataclass(frozen=True, slots=True)
class OnnxOptions:
    """How to run the graphs.

    Attributes:
        providers: execution providers in order of preference.
        provider_options: options of each provider, as ONNX Runtime documents them.
        threads: CPU threads of one operator; 0 leaves it to ONNX Runtime.
        max_instances: at most so many instances a prompt, best first.
        cache: folder for TensorRT engines; they take minutes to build and fit one GPU and driver only.
    """

    providers: tuple[str, ...] = PROVIDERS
    provider_options: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    threads: int = 0
    max_instances: int = 100
    cache: Path | None = None


class OnnxEngine:
    """A bundle, loaded.

    Raises:
        EngineError: a graph does not load, or none of the providers is there.
    """

    def __init__(self, files: ModelFiles, options: OnnxOptions | None = None) -> None:
        self._options = options or OnnxOptions()
        providers = self._providers(files)
        self._graphs = {
            name: self._session(files.root / f"{name}.onnx", providers) for name in ("vision", "decoder", "masks")
        }
        self._phrases = PhraseBook(files.root, lambda path: self._session(path, providers))
        used = self._graphs["vision"].get_providers()[0]
        self._device = "cpu" if used == "CPUExecutionProvider" else "cuda"
        self._float = np.float16 if self._graphs["decoder"].get_inputs()[0].type == "tensor(float16)" else np.float32
        self._model = ModelInfo(files.name, files.version, files.digest, files.precision, used)
        log.info("model %s %s (%s) runs on %s", files.name, files.version, files.precision, used)

    @property
    def model(self) -> ModelInfo:
        """Which model answers, and on what."""
        return self._model

    def segment(self, frame: Frame, prompts: Sequence[Prompt]) -> Segmentation:
        """Find every instance of every prompt in one frame; see ``Engine``."""
        text, unanswered = self._phrases.look_up(tuple(dict.fromkeys(p.text for p in prompts)))
        asked = tuple(p for p in prompts if p.text not in unanswered)
        if not asked:
            return Segmentation((), {}, unanswered)
        clock = _Clock()
        try:
            features = self._see(frame)
            clock.lap("vision")
            rows = [text.row[p.text] for p in asked]
            decoded = self._decode(features, text.features[rows], text.mask[rows])
            scores, boxes = decoded["scores"].numpy(), decoded["boxes"].numpy()
            clock.lap("decoder")
            admitted = admit(scores, asked, self._options.max_instances)
            masks = self._outline(features, decoded, text.mask[rows], admitted)
            clock.lap("masks")
        except EngineError:
            raise
        except Exception as error:  # ONNX Runtime's exceptions share no base but this one
            raise EngineError(f"{self._model.provider} failed on frame {frame.id}: {error}") from error
        instances = to_instances(asked, admitted, scores, boxes, masks, frame.width, frame.height)
        return Segmentation(tuple(instances), clock.laps, unanswered)

    def close(self) -> None:
        """Let the graphs go."""
        self._graphs.clear()

    def _see(self, frame: Frame) -> dict[str, ort.OrtValue]:
        binding = self._graphs["vision"].io_binding()
        binding.bind_cpu_input("image", frame.image[None])
        return self._run("vision", binding, ("fine", "medium", "coarse", "geometry"))

    def _decode(
        self, features: Mapping[str, ort.OrtValue], text: npt.NDArray[np.float32], mask: npt.NDArray[np.bool_]
    ) -> dict[str, ort.OrtValue]:
        binding = self._graphs["decoder"].io_binding()
        for name in ("coarse", "geometry"):
            binding.bind_ortvalue_input(name, features[name])
        binding.bind_cpu_input("image_index", np.zeros(len(text), np.int64))
        binding.bind_cpu_input("text", np.ascontiguousarray(text, self._float))
        binding.bind_cpu_input("text_mask", np.ascontiguousarray(mask))
        return self._run("decoder", binding, ("queries", "encoded", "prompt"), ("scores", "boxes"))

    def _outline(
        self,
        features: Mapping[str, ort.OrtValue],
        decoded: Mapping[str, ort.OrtValue],
        text_mask: npt.NDArray[np.bool_],
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
        binding = self._graphs["masks"].io_binding()
        for name in ("fine", "medium"):
            binding.bind_ortvalue_input(name, features[name])
        for name in ("encoded", "prompt", "queries"):
            binding.bind_ortvalue_input(name, decoded[name])
        binding.bind_cpu_input("text_mask", np.ascontiguousarray(text_mask))
        binding.bind_cpu_input("image_index", np.zeros(len(admitted), np.int64))
        binding.bind_cpu_input("pair_index", np.array([row for row, _ in admitted], np.int64))
        binding.bind_cpu_input("query_index", query_index)
        binding.bind_cpu_input("keep", np.array(keep, np.int64))
        masks = self._run("masks", binding, (), ("masks",))["masks"].numpy()
        return np.asarray(masks, np.float32)

    def _run(
        self, graph: str, binding: ort.IOBinding, stay: Sequence[str], leave: Sequence[str] = ()
    ) -> dict[str, ort.OrtValue]:
        """Run a graph with outputs ``stay`` left on the accelerator and ``leave`` brought to the host."""
        for name in stay:
            binding.bind_output(name, self._device)
        for name in leave:
            binding.bind_output(name, "cpu")
        self._graphs[graph].run_with_iobinding(binding)
        return dict(zip((*stay, *leave), binding.get_outputs(), strict=True))

    def _providers(self, files: ModelFiles) -> list[tuple[str, dict[str, str]]]:
        there = ort.get_available_providers()
        wanted = [name for name in self._options.providers if name in there]
        if not wanted:
            raise EngineError(
                f"none of the execution providers {', '.join(self._options.providers)} is in this ONNX Runtime, which "
                f"has {', '.join(there)}; install the onnxruntime build of this platform or change Providers"
            )
        chosen = []
        for name in wanted:
            options = dict(self._options.provider_options.get(name, {}))
            if name == "TensorrtExecutionProvider" and self._options.cache is not None:
                cache = self._options.cache / files.digest.removeprefix("sha256:")[:16]
                cache.mkdir(parents=True, exist_ok=True)
                options = {"trt_engine_cache_enable": "1", "trt_engine_cache_path": str(cache), **options}
            chosen.append((name, options))
        return chosen

    def _session(self, path: Path, providers: Sequence[tuple[str, dict[str, str]]]) -> ort.InferenceSession:
        settings = ort.SessionOptions()
        settings.intra_op_num_threads = self._options.threads
        settings.log_severity_level = 3
        try:
            return ort.InferenceSession(path, settings, providers=list(providers))
        except Exception as error:  # ONNX Runtime's exceptions share no base but this one
            raise EngineError(f"{path.name} does not load: {error}") from error


class _Clock:
    """Milliseconds by stage."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._since = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.laps[stage] = (now - self._since) * 1000
        self._since = now
