"""From the pixels of a frame to what the vision graph reads, on whatever device the pixels are."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import interpolate


def to_square(image: Tensor, side: int) -> Tensor:
    """Resize as Meta's ``Sam3Processor`` does: bilinear with antialias, aspect ratio not kept, rounded to grey levels.

    On the CPU torch's kernel for uint8 computes with integers as Pillow and ONNX Runtime do; CUDA has no such kernel.

    Args:
        image: uint8 [H, W, 3].
        side: of the square in pixels.

    Returns:
        uint8 [3, side, side]; within one grey level of Pillow's.
    """
    if image.device.type == "cpu":
        return interpolate(image.permute(2, 0, 1)[None], (side, side), mode="bilinear", antialias=True)[0]
    return to_square_in_float(image, side)


def to_square_in_float(image: Tensor, side: int) -> Tensor:
    """As ``to_square``, for devices that resize floats only.

    Rounded after each of the two directions, as the integer kernels do it: of random images 0.05 to 1 % of the levels
    then differ by one from the CPU's, where a single rounding at the end leaves 6 to 20 % of them different.
    """
    levels = image.permute(2, 0, 1)[None].float()
    levels = interpolate(levels, (levels.shape[2], side), mode="bilinear", antialias=True).round_()
    levels = interpolate(levels, (side, side), mode="bilinear", antialias=True).round_()
    return levels[0].clamp_(0, 255).to(torch.uint8)


def normalise(levels: Tensor) -> Tensor:
    """Grey levels uint8 to float32 in -1..1, (x / 255 - 0.5) / 0.5 in one step, as the ONNX graph has it."""
    return levels.float() / 127.5 - 1
