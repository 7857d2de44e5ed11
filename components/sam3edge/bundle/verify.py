"""Is this folder the bundle that was released? Files, digests and signature; ``golden.py`` then runs it."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from sam3edge.bundle.manifest import MANIFEST, Manifest, Signature, read_manifest, sha256_of
from sam3edge.core.errors import BundleError, SettingsError
from sam3edge.core.types import ModelFiles


def verify(root: Path, key: Ed25519PublicKey | None) -> Manifest:
    """Check a bundle before anything in it is loaded.

    Args:
        key: with it, the manifest must carry a valid signature; without it, signatures are not looked at.

    Raises:
        BundleError: names the first thing that is wrong.
    """
    manifest = read_manifest(root)
    if key is not None:
        _check_signature(manifest, key)
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


def sign(manifest: Manifest, key: Ed25519PrivateKey) -> Manifest:
    """The manifest with a signature."""
    value = base64.b64encode(key.sign(manifest.signed_bytes())).decode()
    return manifest.model_copy(update={"signature": Signature(algorithm="ed25519", value=value)})


def read_public_key(pem: str) -> Ed25519PublicKey:
    """Read a public key in PEM.

    Raises:
        SettingsError: it is something else.
    """
    try:
        key = load_pem_public_key(pem.encode())
    except ValueError as error:
        raise SettingsError("PublicKey is not a public key in PEM (-----BEGIN PUBLIC KEY-----)") from error
    if not isinstance(key, Ed25519PublicKey):
        raise SettingsError(f"PublicKey must be an Ed25519 key, this is {type(key).__name__}")
    return key


def _check_signature(manifest: Manifest, key: Ed25519PublicKey) -> None:
    if manifest.signature is None:
        raise BundleError(f"{manifest.name} {manifest.version} is not signed, and this device has a PublicKey")
    try:
        key.verify(base64.b64decode(manifest.signature.value, validate=True), manifest.signed_bytes())
    except (InvalidSignature, binascii.Error) as error:
        raise BundleError(
            f"the signature of {manifest.name} {manifest.version} does not belong to its manifest and this device's "
            "PublicKey; it was changed after signing or signed with another key"
        ) from error
