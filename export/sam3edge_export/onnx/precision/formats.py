"""The two 16-bit float formats: what a weight becomes in them, and what it loses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

Bits = npt.NDArray[np.uint16]
Singles = npt.NDArray[np.float32]


ENDLESS = np.finfo(np.float32).max
"""Exported attention masks say minus infinity by this, the largest float32, with a minus."""


class Format(Protocol):
    """A narrow float format."""

    @property
    def name(self) -> str:
        """Suffix of values that are kept in it beside float32."""
        ...

    @property
    def onnx_type(self) -> int:
        """Element type in ``onnx.TensorProto``."""
        ...

    @property
    def largest(self) -> float:
        """Largest finite number."""
        ...

    def narrow(self, values: Singles) -> Bits:
        """The bit patterns of ``values``, rounded to nearest even; ``ENDLESS`` becomes the largest finite number."""
        ...

    def widen(self, bits: Bits) -> Singles:
        """The numbers that bit patterns represent."""
        ...


@dataclass(frozen=True, slots=True)
class Float16:
    """IEEE 754 binary16: 11 bits of significand, 6e-8 to 65504."""

    name: str = "half"
    onnx_type: int = TensorProto.FLOAT16
    largest: float = 65504.0

    def narrow(self, values: Singles) -> Bits:
        """See ``Format``; what is too large becomes infinite."""
        with np.errstate(over="ignore"):
            return _saturated(values, self.largest).astype(np.float16).view(np.uint16)

    def widen(self, bits: Bits) -> Singles:
        """See ``Format``."""
        return bits.view(np.float16).astype(np.float32)


@dataclass(frozen=True, slots=True)
class BFloat16:
    """The upper half of a float32: its range, with 8 bits of significand."""

    name: str = "brain"
    onnx_type: int = TensorProto.BFLOAT16
    largest: float = float(np.array([0x7F7F0000], np.uint32).view(np.float32)[0])

    def narrow(self, values: Singles) -> Bits:
        """See ``Format``."""
        bits = _saturated(values, self.largest).view(np.uint32)
        odd = (bits >> 16) & 1
        rounded = ((bits + 0x7FFF + odd) >> 16).astype(np.uint16)
        return np.where(np.isnan(values), np.uint16(0x7FC0), rounded)

    def widen(self, bits: Bits) -> Singles:
        """See ``Format``."""
        return (bits.astype(np.uint32) << 16).view(np.float32)


def _saturated(values: Singles, largest: float) -> Singles:
    values = np.ascontiguousarray(values, np.float32)
    endless = np.abs(values) == ENDLESS
    return np.where(endless, np.copysign(np.float32(largest), values), values) if endless.any() else values


LOSS = 2.0**-7
"""Most that a weight tensor may lose, relative to its norm. Rounding to nearest alone loses at most 2**-9 (bfloat16);
more means that its numbers lie outside of the format's range."""


def misfit(values: Singles, form: Format) -> str | None:
    """Why ``values`` must stay float32: some are too large for the format, or too small to be told from zero.

    Infinities and ``ENDLESS``, as attention masks have, fit.
    """
    finite = values[np.abs(values) < ENDLESS]
    if finite.size == 0:
        return None
    back = form.widen(form.narrow(finite))
    if not np.isfinite(back).all():
        return f"its largest magnitude is {np.abs(finite).max():.3g}, {form.name} ends at {form.largest:.3g}"
    norm, lost = float(np.linalg.norm(finite)), float(np.linalg.norm(finite - back))
    if lost > LOSS * norm:
        return f"it would lose {lost / norm:.1%} of its norm: most of it is too small for {form.name}"
    return None
