"""Between the host and the device, and how long what took."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


class Clock(Protocol):
    """Milliseconds by stage."""

    def lap(self, stage: str) -> None:
        """What was asked of the device since the last lap belongs to ``stage``; a stage may come again."""

    def read(self) -> dict[str, float]:
        """The sums; call it when the device has finished."""


class Link(Protocol):
    """A device, as seen from the host."""

    def active(self) -> contextlib.AbstractContextManager[None]:
        """What is allocated and launched inside is on this device."""

    def upload(self, array: npt.NDArray[Any]) -> Tensor:
        """A copy on the device; it may still be under way when this returns."""

    def download(self, tensor: Tensor) -> npt.NDArray[Any]:
        """A copy on the host; waits for the device to finish."""

    def clock(self) -> Clock:
        """A clock that starts now."""


class CpuLink:
    """The host itself."""

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """See ``Link``."""
        yield

    def upload(self, array: npt.NDArray[Any]) -> Tensor:
        """See ``Link``."""
        return torch.tensor(array)

    def download(self, tensor: Tensor) -> npt.NDArray[Any]:
        """See ``Link``."""
        copy: npt.NDArray[Any] = tensor.clone().numpy()
        return copy

    def clock(self) -> Clock:
        """See ``Link``."""
        return HostClock()


class CudaLink:
    """A GPU. Copies go through page-locked memory, which torch keeps for the next one, and run beside the host."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """See ``Link``."""
        with torch.cuda.device(self._device):
            yield

    def upload(self, array: npt.NDArray[Any]) -> Tensor:
        """See ``Link``."""
        staged = torch.empty(array.shape, dtype=_DTYPES[array.dtype.type], pin_memory=True)
        staged.numpy()[...] = array
        return staged.to(self._device, non_blocking=True)

    def download(self, tensor: Tensor) -> npt.NDArray[Any]:
        """See ``Link``."""
        landed = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        landed.copy_(tensor, non_blocking=True)
        torch.cuda.current_stream().synchronize()
        found: npt.NDArray[Any] = landed.numpy()  # keeps the page-locked memory for as long as somebody looks at it
        return found

    def clock(self) -> Clock:
        """See ``Link``."""
        return CudaClock()


class HostClock:
    """For work that is done when the call returns."""

    def __init__(self) -> None:
        self._laps: dict[str, float] = {}
        self._since = time.perf_counter()

    def lap(self, stage: str) -> None:
        """See ``Clock``."""
        now = time.perf_counter()
        self._laps[stage] = self._laps.get(stage, 0.0) + (now - self._since) * 1000
        self._since = now

    def read(self) -> dict[str, float]:
        """See ``Clock``."""
        return dict(self._laps)


class CudaClock:
    """Events in the stream: the device is not stopped for them."""

    def __init__(self) -> None:
        self._marks = [("", self._mark())]

    def lap(self, stage: str) -> None:
        """See ``Clock``."""
        self._marks.append((stage, self._mark()))

    def read(self) -> dict[str, float]:
        """See ``Clock``."""
        laps: dict[str, float] = {}
        self._marks[-1][1].synchronize()
        for (_, before), (stage, after) in zip(self._marks[:-1], self._marks[1:], strict=True):
            laps[stage] = laps.get(stage, 0.0) + before.elapsed_time(after)
        return laps

    @staticmethod
    def _mark() -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event


_DTYPES: dict[type[np.generic], torch.dtype] = {
    np.uint8: torch.uint8,
    np.int64: torch.int64,
    np.float32: torch.float32,
}


def link_to(device: torch.device) -> Link:
    """The way to ``device``."""
    return CudaLink(device) if device.type == "cuda" else CpuLink()
