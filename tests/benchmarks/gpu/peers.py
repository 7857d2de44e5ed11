"""What others run: transformers' own pipeline, and Meta's package where it is installed."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from benchmarks.gpu.measure import NotForced
from benchmarks.gpu.subjects import WORDS, Subject, decode
from sam3edge_export.sam3.tokenizer import token_ids
from sam3edge_export.torch_engine.preprocess import normalise, to_square

Peer = Callable[[bytes, int], int]
"""Finds the first so many of ``WORDS`` in a JPEG file; gives the number of contours."""


class Transformers:
    """``Sam3Model`` in half precision as its documentation shows it, with the steps of ``Sam3Processor``: resize, one
    pass a prompt, masks of the admitted queries interpolated to the image and cut, brought to the host. Contours as
    users draw them, with OpenCV. Its best queries are admitted, as many as of ours.

    Args:
        subject: its model is cast and used.
        instances: queries admitted of every prompt.
        shares_vision: whether the image is encoded once for all prompts, which its documentation shows as an option.
    """

    def __init__(self, subject: Subject, device: str, instances: int, *, shares_vision: bool) -> None:
        dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
        self._model = subject.model.to(dtype)
        self._device, self._dtype, self._side = device, dtype, subject.side
        self._tokenizer = subject.tokenizer
        self._instances = instances
        self._shares_vision = shares_vision

    @torch.no_grad()
    def __call__(self, content: bytes, prompts: int) -> int:
        """See ``Peer``."""
        image = decode(content).image
        levels = to_square(torch.from_numpy(image).to(self._device), self._side)
        pixels = normalise(levels)[None].to(self._dtype)
        seen: dict[str, object] = {"pixel_values": pixels}
        if self._shares_vision:
            seen = {"vision_embeds": self._model.vision_encoder(pixels)}
        contours = 0
        for phrase in WORDS[:prompts]:
            ids = torch.from_numpy(token_ids(self._tokenizer, [phrase])).to(self._device)
            said = self._model(**seen, input_ids=ids, attention_mask=(ids != 0).long())
            contours += self._draw(said.pred_logits, said.presence_logits, said.pred_masks, *image.shape[:2])
        return contours

    def _draw(self, logits: Tensor, presence: Tensor, masks: Tensor, height: int, width: int) -> int:
        scores = (logits.sigmoid() * presence.sigmoid())[0]
        keep = scores.topk(self._instances).indices
        chosen = masks[0, keep].float().sigmoid()[:, None]
        whole = interpolate(chosen, (height, width), mode="bilinear", align_corners=False)[:, 0] > 0.5
        return _contours(whole.cpu().numpy())


class Meta:
    """The package ``sam3`` as its documentation shows it: ``Sam3Processor`` under autocast, the image encoded once.

    Args:
        vocabulary: ``bpe_simple_vocab_16e6.txt.gz``, which the package's wheel does not carry.

    Raises:
        ImportError: it, or something that it needs, is not installed.
    """

    def __init__(self, vocabulary: Path, instances: int) -> None:
        from PIL import Image
        from sam3.model.sam3_image_processor import Sam3Processor
        from sam3.model_builder import build_sam3_image_model

        self._open = Image.open
        model = build_sam3_image_model(bpe_path=str(vocabulary), load_from_HF=False, device="cuda")
        self._processor = Sam3Processor(model, confidence_threshold=-1.0)
        self._instances = instances
        self._thresholds: dict[str, float] = {}

    def __call__(self, content: bytes, prompts: int) -> int:
        """See ``Peer``. The first time a phrase is asked its threshold is laid below its best scores."""
        with torch.autocast("cuda", dtype=torch.bfloat16):
            state = self._processor.set_image(self._open(io.BytesIO(content)).convert("RGB"))
            contours = 0
            for phrase in WORDS[:prompts]:
                self._processor.confidence_threshold = self._thresholds.get(phrase, -1.0)
                said = self._processor.set_text_prompt(phrase, state)
                if phrase not in self._thresholds:
                    self._thresholds[phrase] = between(said["scores"], self._instances)
                contours += _contours(said["masks"][:, 0].cpu().numpy())
        return contours


def between(scores: Tensor, instances: int) -> float:
    """A threshold that so many of the scores exceed.

    Raises:
        NotForced: there are no more than that; the package gives only those that exceed its own threshold, and NaN does
            not, which random weights in half precision may come to.
    """
    if len(scores) <= instances:
        raise NotForced(f"expected more than {instances} scores, got {len(scores)}")
    best = scores.float().topk(instances + 1).values
    return float(best[-2:].mean())


def _contours(masks: np.ndarray) -> int:
    return sum(
        len(cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[0]) for mask in masks
    )
