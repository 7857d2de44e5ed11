"""What is measured, and on what."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer
from transformers import Sam3Config
from transformers.models.sam3.modeling_sam3 import Sam3Model

from sam3edge.core.types import Frame
from sam3edge_pipeline.synthetic import PHRASES, draw_scene
from sam3edge_pipeline.training.model import small_config, word_tokenizer

Size = Literal["full", "small"]

WORDS = [*PHRASES, *(f"{a} {b}" for a in PHRASES for b in PHRASES if a != b)]
"""Phrases to ask for; to random weights one is as good as another."""


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A SAM 3 with random weights.

    Attributes:
        size: ``full``, as published: 840 M parameters, 1008 pixels; or ``small``, to try the benchmark itself.
        model: in float32, on its device.
        tokenizer: gives tokens of the model's context length.
        side: of the images, pixels.
    """

    size: Size
    model: Sam3Model
    tokenizer: Tokenizer
    side: int


def build(size: Size, device: str) -> Subject:
    """A new model; the same weights every time, on the same device."""
    tokenizer = word_tokenizer()
    config = Sam3Config() if size == "full" else small_config(tokenizer.get_vocab_size())
    length = config.text_config.max_position_embeddings
    tokenizer.enable_truncation(length)
    tokenizer.enable_padding(length=length, pad_id=0, pad_token="<pad>")
    torch.manual_seed(0)
    with torch.device(device):
        model = Sam3Model(config).eval()
    return Subject(size, model, tokenizer, int(config.vision_config.backbone_config.image_size))


def photographs(side: int, count: int) -> list[bytes]:
    """JPEG files of ``side`` x ``side`` pixels."""
    return [
        cv2.imencode(".jpg", cv2.resize(draw_scene(i).image, (side, side))[..., ::-1])[1].tobytes()
        for i in range(count)
    ]


def decode(content: bytes) -> Frame:
    """A file as a frame, on the host."""
    bgr = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert bgr is not None
    image = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
    digest = hashlib.sha256(content).hexdigest()
    return Frame(digest[:32], "benchmark", digest[:8], image, datetime.now(timezone.utc), f"sha256:{digest}")


def ellipse(grid: int, seed: int) -> npt.NDArray[np.float32]:
    """Mask logits float32 [grid, grid] of a wobbly ellipse that covers 2 to 8 % of the image."""
    rng = np.random.default_rng(seed)
    share = rng.uniform(0.02, 0.08)
    cx, cy = rng.uniform(0.25, 0.75, 2) * grid
    a = np.sqrt(share / np.pi) * grid * rng.uniform(0.8, 1.2)
    b = share * grid * grid / np.pi / a
    ys, xs = np.mgrid[0:grid, 0:grid]
    wobble = 1 + 0.08 * np.sin(5 * np.arctan2(ys - cy, xs - cx))
    return np.asarray((wobble - np.hypot((xs - cx) / a, (ys - cy) / b)) * 8, np.float32)
