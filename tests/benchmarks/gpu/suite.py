"""What is measured of whom."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from benchmarks.gpu.measure import Load, OneByOne, Row, measure_batch, measure_bytes, repeat
from benchmarks.gpu.peers import Meta, Peer, Transformers
from benchmarks.gpu.report import Results
from benchmarks.gpu.subjects import Size, build, decode, photographs
from sam3edge.bundle.manifest import read_manifest
from sam3edge.bundle.verify import model_files
from sam3edge.engines.onnx import PROVIDERS, OnnxEngine, OnnxOptions
from sam3edge.engines.ort import ort
from sam3edge_export.torch_engine import Identity, TorchEngine, TorchOptions

PROMPTS = ((1, 1), (4, 4), (16, 16), (16, 2))
"""Prompts of one image, and how many of them are present."""

META_SIDE = 1008
"""Pixels; Meta's package has one size."""

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure.

    Attributes:
        size: of the model.
        options: of our engine.
        batches: images at once, with one prompt each.
        prompts: of one image, and how many of them are present.
        instances: of every prompt that is present.
        seconds: each measurement lasts.
        bundle: to be measured in ONNX Runtime.
        vocabulary: of CLIP, for Meta's package.
    """

    size: Size
    options: TorchOptions
    batches: tuple[int, ...] = (1, 2, 4, 8, 16)
    prompts: tuple[tuple[int, int], ...] = PROMPTS
    instances: int = 5
    seconds: float = 3.0
    bundle: Path | None = None
    vocabulary: Path | None = None


def measure(plan: Plan, progress: Progress) -> Results:
    """Measure everything; what cannot run here is left out, with the reason."""
    rows: list[Row] = []
    left_out: dict[str, str] = {}
    _measure_ours(plan, rows, progress)
    for shares in (False, True):
        subject = build(plan.size, plan.options.device)
        peer = Transformers(subject, plan.options.device, plan.instances, shares_vision=shares)
        who = "transformers, image encoded once" if shares else "transformers, one pass a prompt"
        _measure_peer(plan, who, peer, subject.side, rows, progress)
        del subject, peer
    _measure_meta(plan, rows, left_out, progress)
    _measure_bundle(plan, rows, left_out, progress)
    return Results(plan.size, rows, left_out)


def _measure_ours(plan: Plan, rows: list[Row], progress: Progress) -> None:
    subject = build(plan.size, plan.options.device)
    options = replace(
        plan.options, max_images=max(plan.batches), max_pairs=max(*plan.batches, *(n for n, _ in plan.prompts))
    )
    engine = TorchEngine(subject.model, subject.tokenizer, Identity("random", "0", "sha256:" + "0" * 64), options)
    who = f"sam3edge torch {options.precision} {options.compilation} {options.launching}"
    files = photographs(subject.side, max(plan.batches))
    for prompts, present in plan.prompts:
        load = Load(1, prompts, present, plan.instances)
        progress(f"{who}: {prompts} prompts, {present} present")
        rows.append(measure_bytes(who, engine, files[0], load, plan.seconds))
    frames = [decode(content) for content in files]
    for count in plan.batches:
        progress(f"{who}: batch of {count}")
        load = Load(count, 1, 1, plan.instances)
        rows.append(measure_batch(f"{who}, frames to masks", engine, frames[:count], load, plan.seconds))
    engine.close()


def _measure_peer(plan: Plan, who: str, peer: Peer, side: int, rows: list[Row], progress: Progress) -> None:
    (content,) = photographs(side, 1)
    for prompts, present in plan.prompts:
        if present < prompts:
            continue  # a pass is a pass to them
        progress(f"{who}: {prompts} prompts")

        def work(prompts: int = prompts) -> int:
            return peer(content, prompts)

        rows.append(repeat(who, Load(1, prompts, present, plan.instances), work, plan.seconds))


def _measure_meta(plan: Plan, rows: list[Row], left_out: dict[str, str], progress: Progress) -> None:
    if not torch.cuda.is_available():
        left_out["Meta's package"] = "it runs on CUDA only"
        return
    if plan.vocabulary is None:
        left_out["Meta's package"] = "no --vocabulary was given: its wheel lacks bpe_simple_vocab_16e6.txt.gz"
        return
    try:
        peer = Meta(plan.vocabulary, plan.instances)
    except ImportError as error:
        left_out["Meta's package"] = str(error)
        return
    _measure_peer(plan, "Meta's sam3", peer, META_SIDE, rows, progress)


def _measure_bundle(plan: Plan, rows: list[Row], left_out: dict[str, str], progress: Progress) -> None:
    if plan.bundle is None:
        left_out["ONNX Runtime"] = "no --bundle was given"
        return
    files = model_files(plan.bundle, read_manifest(plan.bundle))
    for provider in PROVIDERS:
        if provider not in ort.get_available_providers():
            left_out[f"ONNX Runtime, {provider}"] = "not in this build"
            continue
        engine = OnnxEngine(files, OnnxOptions((provider,)))
        (content,) = photographs(files.input_size, 1)
        known = read_manifest(plan.bundle).vocabulary
        for prompts, present in plan.prompts:
            if prompts > len(known):
                left_out[f"{provider}, {prompts} prompts"] = f"the bundle knows {len(known)} phrases"
                continue
            who = f"bundle {files.precision} in {engine.model.provider}"
            progress(f"{who}: {prompts} prompts, {present} present")
            load = Load(1, prompts, present, plan.instances)
            rows.append(measure_bytes(who, OneByOne(engine), content, load, plan.seconds, known))
        engine.close()
