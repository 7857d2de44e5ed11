"""What is measured of whom, most wanted first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import torch

from benchmarks.gpu.fidelity import Truth, Way, answer
from benchmarks.gpu.measure import Engine, Load, NotForced, OneByOne, Row, measure_batch, measure_bytes, repeat
from benchmarks.gpu.peers import Meta, Peer, Transformers
from benchmarks.gpu.report import Results
from benchmarks.gpu.subjects import Size, build, decode, photographs
from sam3edge.bundle.manifest import read_manifest
from sam3edge.bundle.verify import model_files
from sam3edge.engines.onnx import PROVIDERS, OnnxEngine, OnnxOptions
from sam3edge.engines.ort import ort
from sam3edge_export.parity.fidelity import AllQueries
from sam3edge_export.torch_engine import Identity, TorchEngine, TorchOptions

Part = Literal["ours", "batches", "fidelity", "meta", "bundle", "transformers"]
PARTS: tuple[Part, ...] = get_args(Part)
"""What can be measured by itself, most wanted first: one image, batches of them, how true bf16 is, and others."""

PROMPTS = ((1, 1), (4, 4), (16, 16), (16, 2), (2, 2), (8, 8), (32, 32))
"""Prompts of one image, and how many of them are present; all that are present together are a curve."""

META_SIDE = 1008
"""Pixels; Meta's package has one size."""

LeftOut = dict[str, str]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure.

    Attributes:
        size: of the model.
        options: of our engine.
        parts: what to measure, in this order.
        batches: images at once, with one prompt each.
        prompts: of one image, and how many of them are present.
        instances: of every prompt that is present.
        seconds: each measurement lasts.
        bundle: to be measured in ONNX Runtime.
        vocabulary: of CLIP, for Meta's package.
    """

    size: Size
    options: TorchOptions
    parts: tuple[Part, ...] = PARTS
    batches: tuple[int, ...] = (8, 16, 4, 2, 1)
    prompts: tuple[tuple[int, int], ...] = PROMPTS
    instances: int = 5
    seconds: float = 3.0
    bundle: Path | None = None
    vocabulary: Path | None = None


def measure(plan: Plan, tell: Callable[[Row | Truth], None]) -> Results:
    """Measure everything; what cannot run here is left out, with the reason, and takes nothing else with it.

    Args:
        tell: is given each row as soon as it is measured, since the machine may not last until the end.
    """
    rows: list[Row] = []
    truths: list[Truth] = []
    left_out: LeftOut = {}
    ways: dict[Part, Callable[[Plan, LeftOut], Iterator[Row | Truth]]] = {
        "ours": _ours,
        "batches": _batches,
        "fidelity": _fidelity,
        "meta": _meta,
        "bundle": _bundle,
        "transformers": _transformers,
    }
    for part in plan.parts:
        try:
            for row in ways[part](plan, left_out):
                tell(row)
                if isinstance(row, Truth):
                    truths.append(row)
                else:
                    rows.append(row)
        except (ImportError, RuntimeError, NotForced) as error:  # a GPU out of memory is a RuntimeError
            left_out[f"the rest of {part}"] = f"{type(error).__name__}: {error}"
    return Results(plan.size, rows, left_out, truths)


def _ours(plan: Plan, left_out: LeftOut) -> Iterator[Row]:
    engine, who, side = _torch_engine(plan, images=1, pairs=max(count for count, _ in plan.prompts))
    (content,) = photographs(side, 1)
    for prompts, present in plan.prompts:
        yield measure_bytes(who, engine, content, Load(1, prompts, present, plan.instances), plan.seconds)
    engine.close()


def _batches(plan: Plan, left_out: LeftOut) -> Iterator[Row]:
    most = max(plan.batches)
    engine, who, side = _torch_engine(plan, images=most, pairs=most)
    frames = [decode(content) for content in photographs(side, most)]
    for count in plan.batches:
        load = Load(count, 1, 1, plan.instances)
        yield measure_batch(f"{who}, frames to masks", engine, frames[:count], load, plan.seconds)
    engine.close()


def _fidelity(plan: Plan, left_out: LeftOut) -> Iterator[Truth]:
    def ask(how: Way) -> AllQueries:
        return answer(build(plan.size, plan.options.device), plan.options.device, how)

    truth = ask("fp32")
    for how in ("served", "autocast"):
        yield Truth(how, ask(how).distance_to(truth))


def _torch_engine(plan: Plan, images: int, pairs: int) -> tuple[TorchEngine, str, int]:
    subject = build(plan.size, plan.options.device)
    options = replace(plan.options, max_images=images, max_pairs=pairs)
    engine = TorchEngine(subject.model, subject.tokenizer, Identity("random", "0", "sha256:" + "0" * 64), options)
    return engine, f"sam3edge torch {options.precision} {options.compilation} {options.launching}", subject.side


def _meta(plan: Plan, left_out: LeftOut) -> Iterator[Row]:
    if not torch.cuda.is_available():
        left_out["Meta's package"] = "it runs on CUDA only"
    elif plan.vocabulary is None:
        left_out["Meta's package"] = "no --vocabulary was given: its wheel lacks bpe_simple_vocab_16e6.txt.gz"
    else:
        yield from _peer(plan, "Meta's sam3", Meta(plan.vocabulary, plan.instances), META_SIDE)


def _transformers(plan: Plan, left_out: LeftOut) -> Iterator[Row]:
    for shares in (True, False):
        subject = build(plan.size, plan.options.device)
        peer = Transformers(subject, plan.options.device, plan.instances, shares_vision=shares)
        who = "transformers, image encoded once" if shares else "transformers, one pass a prompt"
        yield from _peer(plan, who, peer, subject.side)
        del subject, peer


def _peer(plan: Plan, who: str, peer: Peer, side: int) -> Iterator[Row]:
    (content,) = photographs(side, 1)
    for prompts, present in plan.prompts:
        if present < prompts:
            continue  # a pass is a pass to them

        def work(prompts: int = prompts) -> int:
            return peer(content, prompts)

        yield repeat(who, Load(1, prompts, present, plan.instances), work, plan.seconds)


def _bundle(plan: Plan, left_out: LeftOut) -> Iterator[Row]:
    if plan.bundle is None:
        left_out["ONNX Runtime"] = "no --bundle was given"
        return
    manifest = read_manifest(plan.bundle)
    files = model_files(plan.bundle, manifest)
    (content,) = photographs(files.input_size, 1)
    for provider in PROVIDERS:
        if provider not in ort.get_available_providers():
            left_out[f"ONNX Runtime, {provider}"] = "not in this build"
            continue
        engine = OnnxEngine(files, OnnxOptions((provider,)))
        who = f"bundle {files.precision} in {engine.model.provider}"
        one_by_one: Engine = OneByOne(engine)
        for prompts, present in plan.prompts:
            if prompts > len(manifest.vocabulary):
                left_out[f"{provider}, {prompts} prompts"] = f"the bundle knows {len(manifest.vocabulary)} phrases"
                continue
            load = Load(1, prompts, present, plan.instances)
            yield measure_bytes(who, one_by_one, content, load, plan.seconds, manifest.vocabulary)
        engine.close()
