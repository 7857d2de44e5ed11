"""How a checkpoint is fine-tuned: Meta's published recipe, and what is needed beside it on small hardware.

Weights of the losses, costs of the matcher and learning rates are those of Meta's fine-tuning configuration
(``sam3/train/configs`` in facebookresearch/sam3): boxes 5, GIoU 2, classes 20, presence 20, positive weight 10; matcher
classes 2, boxes 5, GIoU 2; rates 8e-5 for the transformer, 2.5e-5 for the vision encoder with a decay of 0.9 by layer,
5e-6 for the text encoder; weight decay 0.1. Masks are off there, because at full resolution they run out of memory;
here they are learned at sampled points (Mask2Former, arXiv 2112.01527, section 3.3).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from sam3edge.core.errors import SettingsError

Adaptation = Literal["frozen-vision", "lora", "full"]
"""What learns: all but the vision encoder; low-rank additions to every attention, and the heads; everything."""

MOST_STEPS = 10_000_000


@dataclass(frozen=True, slots=True)
class Recipe:
    """One fine-tuning.

    Attributes:
        adaptation: what learns.
        steps: optimiser steps.
        batch: images of a step, over all processes.
        prompts: phrases asked of an image in a step, of which one at least is absent where one is known to be.
        new_share: share of the images of a step that show a phrase which is to be learned, 0..1; the others show what
            the model knows already, so that it is not forgotten.
        transformer_rate, vision_rate, text_rate: largest learning rates.
        layer_decay: factor of the vision encoder's rate from each layer to the one before.
        weight_decay: of AdamW.
        warm_up: steps in which the rates rise; they fall as a cosine afterwards.
        clip: largest norm of the gradient.
        mask_points: points of each object at which its mask is learned; 0 leaves masks alone.
        rank: of the low-rank additions.
        one_to_many: queries that learn each object's box besides the one that answers for it.
        average: share of the averaged weights that a step keeps; 0 for no average.
        flips: whether images are mirrored at random.
        bf16: whether matrix products are in bf16 (autocast).
        checkpoint_gradients: whether activations of the vision encoder are computed twice to save memory.
        seed: of everything that is drawn.

    Raises:
        SettingsError: a number is out of its range.
    """

    adaptation: Adaptation = "frozen-vision"
    steps: int = 400
    batch: int = 8
    prompts: int = 3
    new_share: float = 0.5
    transformer_rate: float = 8e-5
    vision_rate: float = 2.5e-5
    text_rate: float = 5e-6
    layer_decay: float = 0.9
    weight_decay: float = 0.1
    warm_up: int = 20
    clip: float = 0.1
    mask_points: int = 3136
    rank: int = 8
    one_to_many: int = 3
    average: float = 0.0
    flips: bool = True
    bf16: bool = False
    checkpoint_gradients: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if self.adaptation not in get_args(Adaptation):
            raise SettingsError(
                f"adaptation: expected one of {', '.join(get_args(Adaptation))}, got {self.adaptation!r}"
            )
        bounds = {
            "steps": (1, MOST_STEPS),
            "batch": (1, 4096),
            "prompts": (2, 64),
            "new_share": (0, 1),
            "transformer_rate": (0, 1),
            "vision_rate": (0, 1),
            "text_rate": (0, 1),
            "layer_decay": (0, 1),
            "weight_decay": (0, 1),
            "warm_up": (0, MOST_STEPS),
            "clip": (1e-6, 1e6),
            "mask_points": (0, 1 << 20),
            "rank": (1, 512),
            "one_to_many": (0, 64),
            "average": (0, 0.99999),
            "seed": (0, 2**32 - 1),
        }
        for name, (least, most) in bounds.items():
            value = getattr(self, name)
            if not least <= value <= most:
                raise SettingsError(f"{name}: expected {least} to {most}, got {value}")

    def as_json(self) -> dict[str, Any]:
        """For reports and checkpoints."""
        return asdict(self)
