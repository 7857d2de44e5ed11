"""Put a bundle together: graphs, prompt features, golden run, manifest."""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from transformers.models.sam3.modeling_sam3 import Sam3Model

from sam3edge.bundle import golden
from sam3edge.bundle.manifest import Manifest, describe_files, write_manifest
from sam3edge.bundle.verify import model_files
from sam3edge.core.polygons import detect
from sam3edge.core.types import Frame, Prompt
from sam3edge.engines.onnx import OnnxEngine, OnnxOptions
from sam3edge_export.graphs import TextGraph
from sam3edge_export.onnx_graphs import export_graphs, store_weights_in_half

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Recipe:
    """What a bundle is made of.

    Attributes:
        name, version: identity of the bundle.
        phrases: phrases whose text features go into ``prompts.npz``.
        weights: what large weights are stored in; they are computed with in single precision either way.
        text_encoder: whether ``text.onnx`` and ``tokenizer.json`` travel along, for phrases not known at export.
        golden_image: uint8 [H, W, 3] RGB, small; what is found in it becomes the golden result.
        source_sha256: digest of the checkpoint.
        license_text: of the weights.
    """

    name: str
    version: str
    phrases: Sequence[str]
    weights: Literal["fp32", "fp16"]
    text_encoder: bool
    golden_image: npt.NDArray[np.uint8]
    source_sha256: str
    license_text: str


def build_bundle(model: Sam3Model, tokenizer: Tokenizer, recipe: Recipe, out: Path) -> Manifest:
    """Export ``model`` into the new folder ``out``.

    Raises:
        FileExistsError: ``out`` is there already.
    """
    out.mkdir(parents=True)
    export_graphs(model, out)
    if recipe.weights == "fp16":
        for name in ("vision", "decoder", "masks", "text"):
            store_weights_in_half(out / f"{name}.onnx")
    if recipe.text_encoder:
        tokenizer.save(str(out / "tokenizer.json"))
    else:
        (out / "text.onnx").unlink()
    _write_prompts(model, tokenizer, recipe.phrases, out / "prompts.npz")
    (out / "LICENSE.txt").write_text(recipe.license_text, encoding="utf-8")
    (out / "golden").mkdir()
    cv2.imwrite(str(out / golden.IMAGE), recipe.golden_image[..., ::-1])
    manifest = _manifest(model, recipe, out)
    _write_golden(out, manifest)
    manifest = _manifest(model, recipe, out)
    write_manifest(out, manifest)
    return manifest


def add_report(out: Path, manifest: Manifest, report: dict[str, Any]) -> Manifest:
    """Write the manifest again, with a report on held-out data."""
    reported = manifest.model_copy(update={"report": report, "files": describe_files(out)})
    write_manifest(out, reported)
    return reported


def replace_bundle(fresh: Path, out: Path) -> None:
    """Put a finished bundle where another may have been."""
    shutil.rmtree(out, ignore_errors=True)
    fresh.rename(out)


def _manifest(model: Sam3Model, recipe: Recipe, out: Path) -> Manifest:
    files = describe_files(out)
    if golden.EXPECTED not in files:  # not there yet: the golden run is what this manifest is for
        (out / golden.EXPECTED).write_text("{}")
        files = describe_files(out)
    return Manifest(
        format=1,
        name=recipe.name,
        version=recipe.version,
        input_size=int(model.config.vision_config.backbone_config.image_size),
        precision="fp32",
        weights=recipe.weights,
        source_sha256=recipe.source_sha256,
        vocabulary=list(recipe.phrases),
        files=files,
    )


def _write_prompts(model: Sam3Model, tokenizer: Tokenizer, phrases: Sequence[str], path: Path) -> None:
    ids = torch.tensor([encoding.ids for encoding in tokenizer.encode_batch(list(phrases))])
    with torch.no_grad():
        features = TextGraph(model).eval()(ids)
    np.savez(path, phrases=np.array(list(phrases)), features=features.numpy(), mask=(ids != 0).numpy())


def _write_golden(out: Path, manifest: Manifest, threshold: float = 0.5) -> None:
    engine = OnnxEngine(model_files(out, manifest), OnnxOptions(providers=("CPUExecutionProvider",)))
    frame: Frame = golden.golden_frame(out)
    prompts = [Prompt(phrase, threshold) for phrase in manifest.vocabulary]
    found = engine.segment(frame, prompts)
    engine.close()
    outlined = (detect(i, frame.width, frame.height, 0.5) for i in found.instances)
    instances = [
        golden.GoldenInstance(prompt=d.prompt.text, score=round(d.score, 4), box=d.box, area=round(d.area, 1))
        for d in outlined
        if d is not None
    ]
    expected = golden.Golden(prompts=manifest.vocabulary, threshold=threshold, instances=instances)
    (out / golden.EXPECTED).write_text(json.dumps(expected.model_dump(mode="json"), indent=1) + "\n")
    log.info("the golden image holds %d instances", len(instances))


def moment() -> str:
    """The date, for reports."""
    return datetime.now(timezone.utc).date().isoformat()
