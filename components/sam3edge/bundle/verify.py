"""Is this folder the bundle that was released? Files, digests and signature; ``golden.py`` then runs it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from sam3edge.bundle.manifest import MANIFEST, Manifest, read_manifest, sha256_of
from sam3edge.bundle.signature import check_signature
from sam3edge.core.errors import BundleError
from sam3edge.core.types import ModelFiles


def verify(root: Path, keys: Sequence[Ed25519PublicKey] | None) -> Manifest:
    """Check a bundle before anything in it is loaded.

    Args:
        keys: one of them must have signed the manifest; None to leave signatures unchecked.

    Raises:
        BundleError: names the first thing that is wrong.
    """
    manifest = read_manifest(root)
    if keys is not None:
        check_signature(manifest, keys)
    there = {p.relative_to(root).as_posix() for p in root.rglob("*") if not p.is_dir()}
    strangers = sorted(there - set(manifest.files) - {MANIFEST})
    if strangers:
        raise BundleError(f"{root.name} holds {strangers[0]!r}, which its manifest does not name")
    for name, entry in manifest.files.items():
        path = root / name
        if path.is_symlink() or not path.is_file():
            raise BundleError(f"{name} is missing from {root.name}; deploy the bundle again")
        size = path.stat().st_size
        if size != entry.size:
            raise BundleError(f"{name} has {size} bytes where the manifest says {entry.size}; deploy the bundle again")
        if sha256_of(path) != entry.sha256:
            raise BundleError(f"{name} does not have the digest that the manifest gives; deploy the bundle again")
    return manifest


def model_files(root: Path, manifest: Manifest) -> ModelFiles:
    """A verified bundle as engines take it."""
    return ModelFiles(root, manifest.name, manifest.version, manifest.digest(), manifest.precision, manifest.input_size)
