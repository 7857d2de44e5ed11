"""Several processes that train one model, started by torchrun; or one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Processes:
    """This process among all.

    Attributes:
        rank: its number, from 0; the first one writes files.
        world: how many there are.
    """

    rank: int = 0
    world: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes files."""
        return self.rank == 0

    def total(self, value: Tensor) -> Tensor:
        """The sum of a number over all processes."""
        if self.world == 1:
            return value
        everywhere = value.detach().clone()
        dist.all_reduce(everywhere)
        return everywhere

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Exchange every gradient for the sum over all processes.

        Sums, not means: losses are divided by counts over all processes already. All gradients travel as one tensor.
        """
        if self.world == 1:
            return
        learning = [p for p in parameters if p.requires_grad]
        flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in learning])
        dist.all_reduce(flat)
        start = 0
        for parameter in learning:
            stop = start + parameter.numel()
            parameter.grad = flat[start:stop].view_as(parameter).clone()
            start = stop


@contextmanager
def processes(device: torch.device) -> Iterator[Processes]:
    """This process among those that torchrun has started (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT); else alone."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Processes()
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Processes(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()
