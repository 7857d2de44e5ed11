"""A bundle on the best provider of this machine that is proven to run it: engines and bundles, put together once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from sam3edge.bundle.proof import Proofs, ProvenEngine, open_proven
from sam3edge.core.types import ModelFiles
from sam3edge.engines.cache import machine
from sam3edge.engines.open_engine import open_engine
from sam3edge.engines.runtime import OnnxOptions, choose_providers


def open_on_this_machine(files: ModelFiles, options: OnnxOptions, proofs: Path | None = None) -> ProvenEngine:
    """Load a bundle on the first provider of ``options`` that this ONNX Runtime has and that finds what it must.

    Args:
        proofs: the file of what was proven before; without it, everything is proven now.

    Raises:
        BundleError: none of the providers finds what it must.
        EngineError: none of them is there, or none runs.
    """
    return open_proven(
        files,
        choose_providers(options.providers),
        lambda providers: open_engine(files, replace(options, providers=tuple(providers))),
        None if proofs is None else Proofs(proofs, machine()),
    )
