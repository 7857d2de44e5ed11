"""The features of a frame, computed once for everything that is asked about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from sam3edge.core.types import Frame
from sam3edge.engines.ort import ort
from sam3edge.engines.runtime import Graphs

Features: TypeAlias = Mapping[str, ort.OrtValue]
"""Outputs of the vision graph by their names, on the accelerator."""

FEATURES = ("fine", "medium", "coarse", "geometry")
TOKENS = "tokens"
"""Input of the interactive graphs; an output of bundles that have them."""


def identity(frame: Frame) -> object:
    """Equal for frames that hold the same pixels."""
    return frame.digest, frame.image.shape


class Vision:
    """The vision graph, and the features of the last frame.

    They are kept until the next frame, so that more prompts and clicks on the same image cost no vision run: at 1008
    pixels 112 MB of features in single precision on the accelerator, and 21 MB of tokens where they are needed.
    """

    def __init__(self, graphs: Graphs) -> None:
        self._graphs = graphs
        self._wanted = [name for name in (*FEATURES, TOKENS) if name in graphs.outputs("vision")]
        self._last: tuple[object, Features] | None = None

    def encode(self, frame: Frame) -> Features:
        """Features of a frame, on the accelerator. Raises what ONNX Runtime raises."""
        key = identity(frame)
        if self._last is None or self._last[0] != key:
            self._last = None  # before the next are made: both together may not fit
            self._last = (key, self._graphs.run("vision", {"image": frame.image[None]}, self._wanted))
        return self._last[1]

    def forget(self) -> None:
        """Drop the features."""
        self._last = None
