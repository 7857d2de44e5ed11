"""Teach a released bundle more phrases without touching its graphs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from tokenizers import Tokenizer

from sam3edge.bundle.manifest import MANIFEST, Manifest, describe_files, write_manifest
from sam3edge.bundle.verify import verify
from sam3edge.engines.ort import ort
from sam3edge_export.build import BuildError, refuse_existing, staging, write_prompts
from sam3edge_export.checkpoint import Checkpoint
from sam3edge_export.sam3.graphs import TextGraph
from sam3edge_export.sam3.tokenizer import read_tokenizer, token_ids
from sam3edge_export.signing import Signer, sign_manifest

PROMPTS = "prompts.npz"


class Encoder(Protocol):
    """Text features of token ids."""

    def __call__(self, ids: Any) -> Any:
        """From int64 [V, L] to float32 [V, L, C]."""


class BundleEncoder:
    """The text encoder that a bundle carries.

    Raises:
        BuildError: it carries none.
    """

    def __init__(self, bundle: Path) -> None:
        if not (bundle / "text.onnx").is_file():
            raise BuildError(f"{bundle} carries no text encoder; give the checkpoint that it was exported from")
        self._session = ort.InferenceSession(bundle / "text.onnx", providers=["CPUExecutionProvider"])

    def __call__(self, ids: Any) -> Any:
        """See ``Encoder``."""
        return self._session.run(["text"], {"input_ids": np.asarray(ids)})[0]


class CheckpointEncoder:
    """The text encoder of the checkpoint that a bundle was exported from.

    Raises:
        BuildError: it is another checkpoint.
    """

    def __init__(self, checkpoint: Checkpoint, manifest: Manifest) -> None:
        if checkpoint.sha256 != manifest.source_sha256:
            raise BuildError(
                f"{manifest.name} {manifest.version} is of the checkpoint {manifest.source_sha256[:12]}..., "
                f"this one is {checkpoint.sha256[:12]}...; features of another model mean nothing to it"
            )
        self._graph = TextGraph(checkpoint.model).eval()

    def __call__(self, ids: Any) -> Any:
        """See ``Encoder``."""
        with torch.no_grad():
            return self._graph(torch.from_numpy(ids)).numpy()


def bundle_tokenizer(bundle: Path, length: int) -> Tokenizer:
    """The tokenizer that a bundle carries beside its text encoder."""
    return read_tokenizer(bundle, length)


def context_length(bundle: Path) -> int:
    """Tokens of a phrase in a bundle's ``prompts.npz``."""
    with np.load(bundle / PROMPTS, allow_pickle=False) as stored:
        return int(stored["mask"].shape[1])


def add_phrases(
    bundle: Path,
    phrases: Sequence[str],
    version: str,
    out: Path,
    tokenizer: Tokenizer,
    encode: Encoder,
    signer: Signer | None = None,
) -> Manifest:
    """Write a new bundle ``out`` with the graphs of ``bundle`` and more phrases. Files that stay the same are linked
    where the file system can.

    Args:
        phrases: as ``normalize_text`` gives them; those that the bundle knows already are left as they are.
        version: of the new bundle.
        tokenizer: pads and truncates to the model's context length.

    Raises:
        BundleError: ``bundle`` is damaged.
        BuildError: ``out`` already exists, or the version is the old one, or there is no new phrase.
    """
    manifest = verify(bundle, None)
    refuse_existing(out)
    if version == manifest.version:
        raise BuildError(f"{manifest.name} {version} is released already; give the new bundle another version")
    new = [phrase for phrase in dict.fromkeys(phrases) if phrase not in manifest.vocabulary]
    if not new:
        raise BuildError(f"{manifest.name} {manifest.version} knows all of these phrases already")
    with np.load(bundle / PROMPTS, allow_pickle=False) as stored:
        features, mask = stored["features"], stored["mask"]
    ids = token_ids(tokenizer, new)
    with staging(out) as folder:
        replaced = shutil.ignore_patterns(PROMPTS, MANIFEST)
        shutil.copytree(bundle, folder, copy_function=_link, ignore=replaced, dirs_exist_ok=True)
        vocabulary = [*manifest.vocabulary, *new]
        features = np.concatenate([features, np.asarray(encode(ids), np.float32)])
        write_prompts(vocabulary, features, np.concatenate([mask, ids != 0]), folder / PROMPTS)
        changes = {
            "version": version,
            "vocabulary": vocabulary,
            "files": describe_files(folder),
            "signature": None,
        }
        fresh = manifest.model_copy(update=changes)
        fresh = sign_manifest(fresh, signer) if signer else fresh
        write_manifest(folder, fresh)
        folder.rename(out)
    return fresh


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk, or a file system without links
        shutil.copy2(source, target)
