"""Averaged weights, which are better than the last ones."""

from __future__ import annotations

import torch
from torch import nn


def follow(average: nn.Module, learner: nn.Module, keep: float) -> None:
    """Move the averaged weights a little towards the current ones."""
    with torch.no_grad():
        for slow, fast in zip(average.parameters(), learner.parameters(), strict=True):
            slow.lerp_(fast, 1 - keep)
