"""One look at a frame, for all who ask about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import onnxruntime as ort

from sam3edge.core.types import Frame
from sam3edge.engines.runtime import Graphs

Features: TypeAlias = Mapping[str, ort.OrtValue]
"""What the vision graph saw, by the names of its outputs, on the accelerator."""

FEATURES = ("fine", "medium", "coarse", "geometry")
TOKENS = "tokens"
"""What the graphs that answer clicks start from; an output of bundles that have them."""


def identity(frame: Frame) -> object:
    """Equal for frames that hold the same pixels."""
    return frame.digest, frame.image.shape


class Vision:
    """The vision graph, and what it saw in the last frame.

    Kept until another frame comes, so that more prompts and clicks on the same image cost no vision run: at 1008 pixels
    112 MB of features in single precision on the accelerator, and 21 MB of tokens where they are needed.
    """

    def __init__(self, graphs: Graphs) -> None:
        self._graphs = graphs
        self._wanted = [name for name in (*FEATURES, TOKENS) if name in graphs.outputs("vision")]
        self._seen: tuple[object, Features] | None = None

    def see(self, frame: Frame) -> Features:
        """Features of a frame, on the accelerator. Raises what ONNX Runtime raises."""
        key = identity(frame)
        if self._seen is None or self._seen[0] != key:
            self._seen = None  # before the next are made: both together may not fit
            self._seen = (key, self._graphs.run("vision", {"image": frame.image[None]}, self._wanted))
        return self._seen[1]

    def forget(self) -> None:
        """Let the features go."""
        self._seen = None
