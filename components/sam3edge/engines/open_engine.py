"""From a bundle's files to an engine: the one place where programs get theirs."""

from __future__ import annotations

from sam3edge.core.types import ModelFiles
from sam3edge.engines.onnx import OnnxEngine
from sam3edge.engines.runtime import Observer, OnnxOptions


def open_engine(files: ModelFiles, options: OnnxOptions | None = None, observe: Observer | None = None) -> OnnxEngine:
    """Load a bundle.

    Args:
        files: of a bundle that was verified; see ``bundle.verify.model_files``.
        options: how to run it; by default on the best provider there is.
        observe: told of the outputs of every run of a graph; see ``Observer``.

    Raises:
        EngineError: a graph does not load, or none of the providers is there.
    """
    return OnnxEngine(files, options, observe)
