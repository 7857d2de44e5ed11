"""A bundle that knows certain phrases only."""

from __future__ import annotations

import shutil
from pathlib import Path

from sam3edge.bundle.manifest import read_manifest, write_manifest

TEXT_ENCODER = ("text.onnx", "tokenizer.json")


def without_text_encoder(bundle: Path, out: Path) -> Path:
    """A copy of a bundle, as it is exported for devices: without the graph that reads any phrase."""
    shutil.copytree(bundle, out, ignore=shutil.ignore_patterns(*TEXT_ENCODER))
    manifest = read_manifest(bundle)
    files = {name: entry for name, entry in manifest.files.items() if name not in TEXT_ENCODER}
    write_manifest(out, manifest.model_copy(update={"files": files}))
    return out
