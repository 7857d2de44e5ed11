"""How far bf16 is from float32 on all queries of some phrases: as we serve it, and under plain autocast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from benchmarks.gpu.subjects import WORDS, Subject, decode, photographs
from sam3edge_export.parity.fidelity import AllQueries, Distance, all_queries
from sam3edge_export.sam3.graphs import DecoderGraph, MaskGraph, TextGraph, VisionGraph
from sam3edge_export.sam3.tokenizer import token_ids
from sam3edge_export.torch_engine import TorchOptions
from sam3edge_export.torch_engine.precision import mixed_precision
from sam3edge_export.torch_engine.preprocess import normalise, to_square
from sam3edge_export.torch_engine.stages import Stages

Way = Literal["fp32", "served", "autocast"]
"""``autocast`` is how Meta's package computes."""

PHRASES = 4


@dataclass(frozen=True, slots=True)
class Truth:
    """How far a way to compute is from float32."""

    way: Way
    distance: Distance


def answer(subject: Subject, device: str, way: Way) -> AllQueries:
    """What the subject says of four phrases in one image; its model is taken over."""
    on = torch.device(device)
    image = torch.from_numpy(decode(photographs(subject.side, 1)[0]).image).to(on)
    pixels = normalise(to_square(image, subject.side))[None]
    ids = torch.from_numpy(token_ids(subject.tokenizer, WORDS[:PHRASES])).to(on)
    model = subject.model
    with torch.no_grad():
        text = TextGraph(model).eval()(ids).float()
        if way == "served":
            stages = Stages(model, TorchOptions(device, precision="bf16"))
            with mixed_precision(on, torch.bfloat16):
                return all_queries(stages.vision, stages.decoder, stages.masks, pixels, text, ids != 0)
        vision, decoder, masks = (graph(model).to(on).eval() for graph in (VisionGraph, DecoderGraph, MaskGraph))
        exact = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
        with torch.autocast(on.type, torch.bfloat16) if way == "autocast" else exact:
            return all_queries(vision, decoder, masks, pixels, text, ids != 0)
