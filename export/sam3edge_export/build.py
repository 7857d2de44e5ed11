"""From a checkpoint to a bundle: graphs, precision, prompts, gate, golden run, manifest.

Everything is made in a folder beside the target, which gets its name only when the gate is passed.
"""

from __future__ import annotations

import ctypes.util
import gc
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal, TypeAlias

import cv2
import numpy as np
import torch
from tokenizers import Tokenizer
from transformers.models.sam3.modeling_sam3 import Sam3Model

from sam3edge.bundle import golden
from sam3edge.bundle.manifest import Manifest, describe_files, write_manifest
from sam3edge.core.errors import Sam3EdgeError
from sam3edge.core.polygons import to_detections
from sam3edge.core.ports import Engine
from sam3edge.core.types import Frame, ModelFiles, Prompt
from sam3edge.engines.open_engine import open_engine
from sam3edge.engines.runtime import OnnxOptions
from sam3edge_export.checkpoint import Checkpoint
from sam3edge_export.onnx.graphs import Optional, export_graphs
from sam3edge_export.onnx.precision import Precision
from sam3edge_export.parity.fidelity import Bar
from sam3edge_export.parity.fixtures import Fixtures
from sam3edge_export.parity.gate import Candidate, Criterion, Parity, run_gate
from sam3edge_export.parity.stages import TensorRecorder
from sam3edge_export.parity.verdict import tolerance_of
from sam3edge_export.sam3.graphs import TextGraph
from sam3edge_export.sam3.tokenizer import token_ids
from sam3edge_export.signing import Signer, sign_manifest
from sam3edge_export.torch_engine import REFERENCE, Identity, TorchEngine

logger = logging.getLogger(__name__)

EMPTY_SIDE, EMPTY_LEVELS = 256, (128, 0, 255)
"""Pixels and grey levels of plain images, in which nothing may be found."""

GOLDEN_PROMPTS = 8
"""At most this many prompts are asked in a golden run, which every device makes before it takes a bundle."""

LICENSE = "LICENSE.txt"

Capability: TypeAlias = Literal["text", "exemplars", "interactive"]

Step = Callable[[str, int, int], None]
"""Told what is being done, and how many of how many parts of it are done."""


TOGETHER = 1
"""Prompts that share a run of the comparison. Where attention over 5,184 tokens is not fused it takes 0.9 GB a prompt,
and both models are in memory as a whole."""


class BuildError(Sam3EdgeError):
    """A bundle cannot be made."""


@dataclass(frozen=True, slots=True)
class BundleSpec:
    """Specification of a bundle.

    Attributes:
        name, version: its identity.
        phrases: whose text features go into ``prompts.npz``, as ``normalize_text`` gives them.
        precision: what its graphs compute in.
        capabilities: beyond finding what the phrases name: ``text`` reads phrases that are not known at export,
            ``exemplars`` takes prompts that show boxes, ``interactive`` answers clicks and needs a tracker.
        license_text: of the weights; it travels with them.
        waive_iou: see ``tolerance_of``.
        providers: execution providers that the gate and the golden run use.
    """

    name: str
    version: str
    phrases: tuple[str, ...]
    precision: Precision
    capabilities: frozenset[Capability]
    license_text: str
    waive_iou: float | None = None
    providers: tuple[str, ...] = ("CUDAExecutionProvider", "CPUExecutionProvider")


@dataclass(frozen=True, slots=True)
class BuildResult:
    """Result of a build: ``manifest`` is None when the gate failed and no bundle was written."""

    manifest: Manifest | None
    parity: Parity


def license_text_of(checkpoint: Path, given: Path | None = None) -> str:
    """The licence of a checkpoint's weights, which lies in its folder or beside its file.

    Args:
        given: where it is, when it is elsewhere.

    Raises:
        BuildError: there is none.
    """
    beside = checkpoint if checkpoint.is_dir() else checkpoint.parent
    names = (f"{checkpoint.stem}.LICENSE.txt", "LICENSE", "LICENSE.txt")  # the first as fetch leaves it
    for path in [given] if given else [beside / name for name in names]:
        if path.is_file():
            return path.read_text(encoding="utf-8")
    raise BuildError(
        f"the licence of the weights must travel with them (the SAM License asks for it), and there is none at "
        f"{given or beside / 'LICENSE'}; put it there, or give --license"
    )


def build_bundle(
    checkpoint: Checkpoint,
    tokenizer: Tokenizer,
    spec: BundleSpec,
    fixtures: Fixtures,
    criterion: Criterion,
    out: Path,
    *,
    signer: Signer | None = None,
    keep_failing: bool = False,
    bar: Bar | None = None,
    step: Step = lambda what, done, of: None,
) -> BuildResult:
    """Export ``checkpoint`` into the new folder ``out``.

    Args:
        keep_failing: write the bundle although the gate failed; its manifest says so.
        bar: how far from single precision it may be, see ``parity/fidelity.py``.

    Raises:
        BuildError: ``out`` already exists, or the checkpoint lacks what the spec wants.
        PrecisionError, EngineError, SigningError: of the parts.
    """
    _check(spec, checkpoint, out)
    with staging(out) as folder:
        _write_files(checkpoint, tokenizer, spec, fixtures, folder, step)
        engine, recorder = _device_engine(spec, checkpoint, folder)
        try:
            reference = _reference(checkpoint, tokenizer, criterion)
            parity = run_gate(
                reference,
                Candidate(engine, recorder),
                fixtures,
                criterion,
                tolerance_of(spec.precision.computes_in, spec.precision.stores, spec.waive_iou),
                lambda done: step("comparing with the checkpoint", done, len(fixtures.frames)),
                bar,
            )
            if not parity.passed and not keep_failing:
                return BuildResult(None, parity)
            number = _most_telling(parity) if criterion.has_learned else len(fixtures.frames) - 1
            frame, asked = fixtures.frames[number], parity.asked[number]
            _write_golden(engine, frame, asked, folder, with_empty=criterion.has_learned)
        finally:
            engine.close()
        manifest = _manifest(spec, checkpoint, folder, parity.summary())
        if signer is not None:
            manifest = sign_manifest(manifest, signer)
        write_manifest(folder, manifest)
        folder.rename(out)
    return BuildResult(manifest, parity)


def write_prompts(phrases: Sequence[str], features: Any, mask: Any, path: Path) -> None:
    """Write ``prompts.npz``: features float32 [V, L, C] and mask bool [V, L] of the phrases."""
    np.savez(path, phrases=np.array(list(phrases)), features=np.asarray(features), mask=np.asarray(mask))


def _check(spec: BundleSpec, checkpoint: Checkpoint, out: Path) -> None:
    refuse_existing(out)
    if "interactive" in spec.capabilities and checkpoint.tracker is None:
        raise BuildError("this checkpoint has no tracker, which answers clicks; export it without the interactive part")
    if not any(spec.precision.runs_on(provider) for provider in spec.providers):
        raise BuildError(
            f"{spec.precision.name} graphs run on none of {', '.join(spec.providers)} of the ONNX Runtime that is "
            "installed here, so the gate could not try them; export on a machine that has one"
        )


def refuse_existing(out: Path) -> None:
    """Raise BuildError when ``out`` already exists."""
    if out.exists():
        raise BuildError(f"{out} already exists; a released bundle is never changed, choose another folder")


@contextmanager
def staging(out: Path) -> Iterator[Path]:
    """A new folder beside ``out``, gone afterwards unless it was renamed."""
    folder = out.with_name(f".{out.name}.{os.getpid()}")
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _write_files(
    checkpoint: Checkpoint, tokenizer: Tokenizer, spec: BundleSpec, fixtures: Fixtures, folder: Path, step: Step
) -> None:
    tracker = checkpoint.tracker if "interactive" in spec.capabilities else None
    optional: list[Optional] = [name for name in ("exemplars", "text") if name in spec.capabilities]
    export_graphs(checkpoint.model, folder, tracker, optional, lambda done, of: step("writing graphs", done, of))
    step(f"turning graphs into {spec.precision.name}", 0, 1)
    spec.precision.apply(folder, [frame.image for frame in fixtures.frames])
    _give_memory_back()
    step(f"turning graphs into {spec.precision.name}", 1, 1)
    if "text" in spec.capabilities:
        tokenizer.save(str(folder / "tokenizer.json"))
    ids = torch.from_numpy(token_ids(tokenizer, spec.phrases))
    with torch.no_grad():
        features = TextGraph(checkpoint.model).eval()(ids)
    write_prompts(spec.phrases, features, ids != 0, folder / "prompts.npz")
    (folder / LICENSE).write_text(spec.license_text, encoding="utf-8")


def _give_memory_back() -> None:
    """Rewriting graphs at full size leaves 5 GB that nobody uses in the allocator of glibc, and the comparison needs
    them."""
    gc.collect()
    library = ctypes.util.find_library("c")
    trim = getattr(ctypes.CDLL(library), "malloc_trim", None) if library else None
    if trim is not None:
        trim(0)


def _reference(checkpoint: Checkpoint, tokenizer: Tokenizer, criterion: Criterion) -> Candidate:
    recorder = TensorRecorder()
    identity = Identity("checkpoint", checkpoint.kind, "sha256:" + checkpoint.sha256)
    options = replace(REFERENCE, max_pairs=TOGETHER, max_instances=criterion.most)
    return Candidate(TorchEngine(checkpoint.model, tokenizer, identity, options, recorder), recorder)


def _device_engine(spec: BundleSpec, checkpoint: Checkpoint, folder: Path) -> tuple[Engine, TensorRecorder]:
    """The engine that devices have, on files that no manifest names yet."""
    files = ModelFiles(
        folder,
        spec.name,
        spec.version,
        "sha256:" + "0" * 64,
        spec.precision.computes_in,
        _input_size(checkpoint.model),
    )
    recorder = TensorRecorder()
    return open_engine(files, OnnxOptions(spec.providers, prompts_per_run=TOGETHER), recorder), recorder


def _most_telling(parity: Parity) -> int:
    """Number of the frame in which both sides have found most different prompts; of several the last."""
    found = [len({pair.ours.prompt for pair in comparison.pairs}) for comparison in parity.comparisons]
    return max(range(len(found)), key=lambda number: (found[number], number))


def _write_golden(engine: Engine, frame: Frame, asked: Sequence[Prompt], folder: Path, *, with_empty: bool) -> None:
    """Write the golden image, and what the engine finds in it; ``with_empty``, a plain one in which it finds nothing.

    Of the prompts those are asked that have an answer, as far as ``GOLDEN_PROMPTS`` goes, and then others; all with one
    threshold, that of the first.
    """
    asked = [p for p in asked if p.threshold == asked[0].threshold]
    answered = {i.prompt for i in engine.segment(frame, asked).instances}
    prompts = sorted(asked, key=lambda p: p not in answered)[:GOLDEN_PROMPTS]
    found = engine.segment(frame, prompts)
    instances = [
        golden.GoldenInstance(prompt=d.prompt.text, score=round(d.score, 4), box=d.box, area=round(d.area, 1))
        for d in to_detections(found, frame, engine.model).detections
    ]
    empty = _empty_frame(engine, prompts) if with_empty else None
    expected = golden.Golden(
        prompts=[p.text for p in prompts],
        threshold=prompts[0].threshold,
        instances=instances,
        empty=empty is not None,
    )
    (folder / golden.EXPECTED).parent.mkdir()
    if empty is not None:
        cv2.imwrite(str(folder / golden.EMPTY), empty.image)
    (folder / golden.EXPECTED).write_text(json.dumps(expected.model_dump(mode="json"), indent=1) + "\n")
    cv2.imwrite(str(folder / golden.IMAGE), np.ascontiguousarray(frame.image[..., ::-1]))
    logger.info("the golden image holds %d instances", len(instances))


def _empty_frame(engine: Engine, prompts: Sequence[Prompt]) -> Frame | None:
    """A plain image in which the engine finds nothing, as it must on every device; None where it finds something in
    each of them, as random weights do."""
    for level in EMPTY_LEVELS:
        image = np.full((EMPTY_SIDE, EMPTY_SIDE, 3), level, np.uint8)
        digest = "sha256:" + hashlib.sha256(image.tobytes()).hexdigest()
        frame = Frame("empty", "golden", "empty", image, datetime.now(timezone.utc), digest)
        if not engine.segment(frame, prompts).instances:
            return frame
    logger.warning("the model finds something in plain images: its golden run cannot have an empty one")
    return None


def _manifest(spec: BundleSpec, checkpoint: Checkpoint, folder: Path, parity: dict[str, Any]) -> Manifest:
    return Manifest(
        format=1,
        name=spec.name,
        version=spec.version,
        input_size=_input_size(checkpoint.model),
        precision=spec.precision.computes_in,
        weights=spec.precision.stores,
        family=checkpoint.family,
        source_sha256=checkpoint.sha256,
        vocabulary=list(spec.phrases),
        files=describe_files(folder),
        parity=parity,
    )


def _input_size(model: Sam3Model) -> int:
    return int(model.config.vision_config.backbone_config.image_size)
