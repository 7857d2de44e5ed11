"""A bundle that is carried about, and never run."""

from __future__ import annotations

import shutil
from pathlib import Path

from sam3edge.bundle.manifest import describe_files, read_manifest, write_manifest


def without_weights(bundle: Path, out: Path) -> Path:
    """A copy of a bundle, whole by its manifest, whose graphs are a few bytes each."""
    shutil.copytree(bundle, out, ignore=shutil.ignore_patterns("*.onnx"))
    for graph in bundle.glob("*.onnx"):
        (out / graph.name).write_text(f"stands for {graph.name}\n")
    write_manifest(out, read_manifest(bundle).model_copy(update={"files": describe_files(out)}))
    return out
