"""From a path to an engine: a bundle runs on ONNX Runtime as on the device, a checkpoint on torch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from importlib.util import find_spec
from pathlib import Path
from typing import TypeAlias

import numpy as np

from sam3edge.bundle.manifest import MANIFEST
from sam3edge.bundle.signature import read_public_keys
from sam3edge.bundle.verify import model_files, verify
from sam3edge.core.errors import BundleError, EngineError
from sam3edge.core.ports import Engine
from sam3edge.core.types import Frame, ModelFiles, Prompt
from sam3edge.engines.runtime import PROVIDERS, OnnxOptions
from sam3edge.proven import open_on_this_machine
from sam3edge_serving.endpoint.settings import Settings

logger = logging.getLogger(__name__)

Load: TypeAlias = Callable[[], Engine]

FOR_CHECKPOINTS = ("torch", "transformers", "sam3edge_export")
"""Packages that a bundle does without, and the image for CPUs has not."""


def examine(settings: Settings) -> Load:
    """Check a model before anything is started, as far as that goes without loading it.

    A bundle is verified whole: digests, and the signature where a key is set. Of a checkpoint its digest is compared
    with the record of where it came from, if it has one, when it is loaded.

    Returns:
        What loads the model and proves that it runs: a bundle must find in its golden image what it found when it was
        built.

    Raises:
        BundleError: it is not there, not a model, damaged, not signed by one of the keys, or a checkpoint where nothing
            runs one.
        SettingsError: the public key is not one.
    """
    place = find_model(settings.checkpoint)
    keys = read_public_keys(settings.public_key) if settings.public_key else None
    if (place / MANIFEST).is_file():
        files = model_files(place, verify(place, keys))
        return lambda: _load_bundle(files, settings)
    if keys is not None:
        raise BundleError(
            f"SAM3EDGE_PUBLIC_KEY is set, and {place.name} is a checkpoint, which nobody can sign; export it to a "
            "signed bundle, or do not set a key"
        )
    if missing := [name for name in FOR_CHECKPOINTS if find_spec(name) is None]:
        raise BundleError(
            f"{place.name} is a checkpoint, and to run one {', '.join(missing)} must be installed: use the image for "
            "GPUs, install the extra export, or export the checkpoint to a bundle, which runs without"
        )
    return lambda: _load_checkpoint(place, settings)


def find_model(place: Path) -> Path:
    """The model at a path, or right below it, as SageMaker may unpack it.

    Raises:
        BundleError: there is none, or there are several.
    """
    if place.is_file() and place.suffix == ".pt":
        return place
    if not place.is_dir():
        raise BundleError(
            f"CHECKPOINT_PATH: {place} is not there; it must be a bundle, sam3.pt or a transformers folder"
        )
    if _is_model(place):
        return place
    models = sorted(child for child in place.iterdir() if _is_model(child))
    if len(models) == 1:
        return models[0]
    there = ", ".join(model.name for model in models) or "nothing that is one"
    raise BundleError(
        f"CHECKPOINT_PATH: {place} must hold one model, a bundle (with {MANIFEST}), sam3.pt or a transformers folder "
        f"(with config.json); it holds {there}"
    )


def _is_model(place: Path) -> bool:
    if place.is_dir():
        return any((place / name).is_file() for name in (MANIFEST, "config.json"))
    return place.suffix == ".pt"


def _load_bundle(files: ModelFiles, settings: Settings) -> Engine:
    asked = settings.execution_providers
    engine = open_on_this_machine(files, OnnxOptions(asked or PROVIDERS, threads=settings.threads)).engine
    _require_provider(engine.model.provider, asked)
    return engine


def _require_provider(runs: str, asked: Sequence[str]) -> None:
    """Refuse to run on something else than was asked for: it would answer, at a tenth of the speed.

    Raises:
        EngineError: what runs the model is none of those that were asked for.
    """
    if asked and runs not in asked:
        raise EngineError(
            f"SAM3EDGE_PROVIDERS asks for {', '.join(asked)}, and here the model would run on {runs}: the GPU, its "
            "driver (CUDA 13 needs 580 or newer) or CUDA's libraries are missing; mend that, or add "
            "CPUExecutionProvider"
        )


def _load_checkpoint(place: Path, settings: Settings) -> Engine:
    # torch takes seconds to import, and an endpoint of a bundle does without it
    import torch

    from sam3edge_export.checkpoint.load import read_checkpoint
    from sam3edge_export.sam3.tokenizer import tokenizer_of
    from sam3edge_export.torch_engine import Identity, TorchEngine
    from sam3edge_serving.endpoint.torch_settings import torch_options

    on_gpu = torch.cuda.is_available()
    _require_provider("CUDAExecutionProvider" if on_gpu else "CPUExecutionProvider", settings.execution_providers)
    checkpoint = read_checkpoint(place)
    length = int(checkpoint.model.config.text_config.max_position_embeddings)
    tokenizer = tokenizer_of(place, length)
    identity = Identity(checkpoint.family, checkpoint.kind, "sha256:" + checkpoint.sha256)
    engine = TorchEngine(checkpoint.model, tokenizer, identity, torch_options(settings, on_gpu))
    if on_gpu if settings.prewarm is None else settings.prewarm:
        engine.warm_up()
    engine.segment(_black(), (Prompt("object"),))
    return engine


def _black() -> Frame:
    image = np.zeros((64, 64, 3), np.uint8)
    return Frame("warm-up", "endpoint", "warm-up", image, datetime.now(timezone.utc), "sha256:" + "0" * 64)
