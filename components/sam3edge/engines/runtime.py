"""The graphs of a bundle in ONNX Runtime: which providers run them, and how tensors go in and out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from sam3edge.core.errors import EngineError
from sam3edge.core.types import ModelFiles, ModelInfo
from sam3edge.engines.cache import engine_cache
from sam3edge.engines.ort import ort

logger = logging.getLogger(__name__)

Value: TypeAlias = npt.NDArray[Any] | ort.OrtValue
"""An input of a graph: an array on the host, or what another graph left on the accelerator."""

PROVIDERS = ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider")
"""Tried in this order by default; the first that this build and this machine have is used."""

ACCELERATORS = PROVIDERS[:2]
"""Of these, those that need CUDA's libraries."""

ARENA_UP_TO = 512
"""Input size, pixels, above which ONNX Runtime allocates on the host without its arena. The arena doubles whenever it
grows, and at 1008 pixels ends at twice of what is needed; the demo model, at 128, is 15 % faster with it."""


@dataclass(frozen=True, slots=True)
class OnnxOptions:
    """How to run the graphs.

    Attributes:
        providers: execution providers in order of preference.
        provider_options: options of each provider, as ONNX Runtime documents them.
        threads: CPU threads of one operator; 0 for one a core.
        spinning: whether threads without work turn in circles instead of sleeping. It takes whole cores from everything
            else on the machine, see ``tests/benchmarks/threads.py``.
        max_instances: at most this many instances a prompt, best first.
        prompts_per_run: at most this many prompts share a run of the decoder. Its attention takes 0.9 GB a prompt in
            single precision at 1008 pixels where the provider does not fuse it, half of that in half precision.
        cache: folder for TensorRT engines; they take minutes to build and fit one GPU and driver only.
    """

    providers: tuple[str, ...] = PROVIDERS
    provider_options: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    threads: int = 0
    spinning: bool = False
    max_instances: int = 100
    prompts_per_run: int = 4
    cache: Path | None = None


Observer: TypeAlias = Callable[[str, Mapping[str, npt.NDArray[Any]]], None]
"""Told of the outputs of every run of a graph, by its name and theirs, on the host; but for bfloat16, which numpy does
not have. It costs the copies; it is for comparisons. A graph that did not have to run again is not told of."""


class Graphs:
    """Loaded graphs by name: ``decoder`` is ``decoder.onnx``.

    Args:
        names: graphs to load now; others are loaded by ``load``.
        observe: told of what every run gave.

    Raises:
        EngineError: a graph does not load, or none of the providers is there.
    """

    def __init__(
        self, files: ModelFiles, options: OnnxOptions, names: Sequence[str], observe: Observer | None = None
    ) -> None:
        self._observe = observe
        self._root = files.root
        self._threads = options.threads
        self._spinning = options.spinning
        self._arena = files.input_size <= ARENA_UP_TO
        self._providers = _providers(files, options)
        self._sessions: dict[str, ort.InferenceSession] = {}
        self.load(*names)
        provider = self._sessions[names[0]].get_providers()[0]
        self._device = "cpu" if provider == "CPUExecutionProvider" else "cuda"
        self.model = ModelInfo(files.name, files.version, files.digest, files.precision, provider)

    def load(self, *names: str) -> None:
        """Load graphs, unless they are loaded."""
        for name in names:
            if name not in self._sessions:
                self._sessions[name] = self.session(self._root / f"{name}.onnx")

    def holds(self, *names: str) -> bool:
        """Whether the bundle has all of these graphs."""
        return all((self._root / f"{name}.onnx").exists() for name in names)

    def outputs(self, graph: str) -> list[str]:
        """Names of a loaded graph's outputs."""
        return [value.name for value in self._sessions[graph].get_outputs()]

    def run(
        self, graph: str, inputs: Mapping[str, Value], device_outputs: Sequence[str], host_outputs: Sequence[str] = ()
    ) -> dict[str, ort.OrtValue]:
        """Run a graph with ``device_outputs`` left on the accelerator and ``host_outputs`` brought to the host.

        Outputs that are not named are not computed. Raises what ONNX Runtime raises.
        """
        session = self._sessions[graph]
        binding = session.io_binding()
        for name, value in inputs.items():
            if isinstance(value, np.ndarray):
                binding.bind_cpu_input(name, np.ascontiguousarray(value))
            else:
                binding.bind_ortvalue_input(name, value)
        for name in device_outputs:
            binding.bind_output(name, self._device)
        for name in host_outputs:
            binding.bind_output(name, "cpu")
        session.run_with_iobinding(binding)
        outputs = dict(zip((*device_outputs, *host_outputs), binding.get_outputs(), strict=True))
        if self._observe is not None:
            readable = {name: v for name, v in outputs.items() if v.data_type() != "tensor(bfloat16)"}  # not for numpy
            self._observe(graph, {name: value.numpy() for name, value in readable.items()})
        return outputs

    def session(self, path: Path) -> ort.InferenceSession:
        """Load one file.

        Raises:
            EngineError: it does not load.
        """
        settings = ort.SessionOptions()
        settings.intra_op_num_threads = self._threads
        settings.add_session_config_entry("session.intra_op.allow_spinning", "1" if self._spinning else "0")
        settings.enable_cpu_mem_arena = self._arena
        settings.log_severity_level = 3
        try:
            return ort.InferenceSession(path, settings, providers=list(self._providers))
        except Exception as error:  # ONNX Runtime's exceptions share no base but this one
            raise EngineError(f"{path.name} does not load: {error}") from error

    def close(self) -> None:
        """Let the graphs go. Idempotent."""
        self._sessions.clear()


def load_accelerator_libraries(providers: Sequence[str]) -> None:
    """Load CUDA's libraries where pip has put them: the loader looks for them on the system only. It is nothing where
    the CPU runs, where the system has them, or in builds that do not know how."""
    preload = getattr(ort, "preload_dlls", None)
    if preload is not None and any(name in ACCELERATORS for name in providers):
        preload()


def choose_providers(wanted: Sequence[str]) -> list[str]:
    """Those of the wanted execution providers that this ONNX Runtime has, in their order.

    Raises:
        EngineError: it has none of them.
    """
    there = ort.get_available_providers()
    chosen = [name for name in wanted if name in there]
    if not chosen:
        raise EngineError(
            f"none of the execution providers {', '.join(wanted)} is in this ONNX Runtime, which "
            f"has {', '.join(there)}; install the onnxruntime build of this platform or change Providers"
        )
    return chosen


def _providers(files: ModelFiles, options: OnnxOptions) -> list[tuple[str, dict[str, str]]]:
    chosen = []
    names = choose_providers(options.providers)
    load_accelerator_libraries(names)
    for name in names:
        given = dict(options.provider_options.get(name, {}))
        if name == "TensorrtExecutionProvider" and options.cache is not None:
            given = {**_kept(engine_cache(options.cache, files.digest)), **given}
        chosen.append((name, given))
    return chosen


def _kept(folder: Path) -> dict[str, str]:
    """TensorRT's options to keep what it built, and how fast each kernel was: where it builds anew, for a batch or a
    number of prompts that it has not seen, it then measures only what is new."""
    return {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(folder),
    }
