"""Meta's own code as an engine, to hold ours against it where its package ``sam3`` is installed.

As a reference in float32 throughout, and without the shortened multiplications (TF32) that the package switches on
when it is imported: a reference has to be exact, not fast. As what others serve: under bf16 autocast, with them, as its
documentation runs it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from sam3edge.bundle.manifest import sha256_of
from sam3edge.core.errors import EngineError
from sam3edge.core.types import VISUAL, EngineOutput, Frame, Instance, ModelInfo, Prompt
from sam3edge_export.sam3.tokenizer import vocabulary_path

MASK_LIMIT = 1e-6
"""Meta's processor gives masks as probabilities; so close to 0 and 1 they are taken back to logits."""


class MetaReference:
    """``Sam3Processor`` of Meta's package on one checkpoint; see ``Engine``.

    Masks are logits at the resolution of the frame, as that processor gives them, and not at the model's.

    Args:
        checkpoint: Meta's ``sam3.pt`` or ``sam3.1_multiplex.pt``; its package reads no other. Of both, its image
            model is built, whose processor multiplies presence into the scores.
        device: ``cuda``, or another of torch's.
        precision: ``fp32``, or ``bf16`` for autocast.

    Raises:
        EngineError: the package is not installed or does not run here, or the checkpoint is a folder.
    """

    def __init__(self, checkpoint: Path, device: str, precision: Literal["fp32", "bf16"] = "fp32") -> None:
        if not checkpoint.is_file():
            raise EngineError(f"Meta's package reads its own files only, such as sam3.pt; {checkpoint} is not a file")
        try:
            from sam3.model.sam3_image_processor import Sam3Processor
            from sam3.model_builder import build_sam3_image_model
        except ImportError as error:
            raise EngineError(
                "the comparison with Meta's own code needs its package on a machine with a GPU: pip install sam3 "
                f"torchvision timm einops ({error})"
            ) from error
        model = build_sam3_image_model(
            bpe_path=str(vocabulary_path()), device=device, checkpoint_path=str(checkpoint), load_from_HF=False
        )
        self._processor: Any = Sam3Processor(model, device=device)
        digest = f"sha256:{sha256_of(checkpoint)}"
        self._model = ModelInfo("sam3-reference", "0.0.0", digest, precision, f"Meta's sam3 on {device}")
        autocast = partial(torch.autocast, torch.device(device).type, torch.bfloat16)
        self._computing: Callable[[], AbstractContextManager[Any]] = autocast if precision == "bf16" else _exact

    @property
    def model(self) -> ModelInfo:
        """Which checkpoint answers, and where."""
        return self._model

    def segment(self, frame: Frame, prompts: Sequence[Prompt]) -> EngineOutput:
        """Find every instance of every prompt in one frame, one prompt after the other as that package does."""
        began = time.perf_counter()
        instances: list[Instance] = []
        try:
            with self._computing():
                seen = self._processor.set_image(torch.from_numpy(frame.image).permute(2, 0, 1))
                for prompt in prompts:
                    instances += self._ask(seen, frame, prompt)
        except RuntimeError as error:
            raise EngineError(f"Meta's package failed on frame {frame.id}: {error}") from error
        return EngineOutput(tuple(instances), {"reference": (time.perf_counter() - began) * 1000})

    def close(self) -> None:
        """Let the model go."""
        self._processor = None

    def _ask(self, seen: Any, frame: Frame, prompt: Prompt) -> list[Instance]:
        self._processor.reset_all_prompts(seen)
        self._processor.set_confidence_threshold(prompt.threshold)
        if prompt.text != VISUAL or not prompt.exemplars:
            self._processor.set_text_prompt(prompt.text, seen)
        for exemplar in prompt.exemplars:
            x0, y0, x1, y1 = np.array(exemplar.box) / (frame.width, frame.height, frame.width, frame.height)
            box = [(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0]
            self._processor.add_geometric_prompt(box, exemplar.positive, seen)
        scores, boxes, masks = (_host(seen[name]) for name in ("scores", "boxes", "masks_logits"))
        limits = torch.tensor([frame.width, frame.height, frame.width, frame.height])
        found = []
        for i in scores.argsort(descending=True, stable=True).tolist():
            x0, y0, x1, y1 = boxes[i].clamp(min=0).minimum(limits).tolist()
            mask = masks[i].reshape(frame.height, frame.width).logit(MASK_LIMIT).numpy()
            found.append(Instance(prompt, float(scores[i]), (x0, y0, x1, y1), mask))
        return found


def _host(value: Tensor) -> Tensor:
    return value.float().cpu()


@contextmanager
def _exact() -> Iterator[None]:
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
