"""A bundle that is not exactly what was released is refused, and the message says what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sam3edge.bundle.manifest import MANIFEST, read_manifest, write_manifest
from sam3edge.bundle.verify import read_public_key, sign, verify
from sam3edge.core.errors import BundleError, SettingsError


def flip_a_bit(root: Path) -> None:
    path = root / "vision.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(root: Path) -> None:
    path = root / "decoder.onnx"
    path.write_bytes(path.read_bytes()[:-1])


def rename(root: Path) -> None:
    (root / "masks.onnx").rename(root / "mask.onnx")


def add_a_file(root: Path) -> None:
    (root / "extra.so").write_bytes(b"x")


def link_elsewhere(root: Path) -> None:
    target = root.parent / "prompts.npz"
    (root / "prompts.npz").rename(target)
    (root / "prompts.npz").symlink_to(target)


def change_manifest(**members: Any) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        body = json.loads((root / MANIFEST).read_text())
        (root / MANIFEST).write_text(json.dumps({**body, **members}))

    return change


def lose_manifest(root: Path) -> None:
    (root / MANIFEST).unlink()


def cut_manifest(root: Path) -> None:
    (root / MANIFEST).write_text((root / MANIFEST).read_text()[:100])


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (flip_a_bit, "vision.onnx does not have the digest"),
        (truncate, "decoder.onnx has .* bytes where the manifest says"),
        (rename, "mask.onnx', which its manifest does not name"),
        (add_a_file, "extra.so"),
        (link_elsewhere, "prompts.npz is missing"),
        (change_manifest(version="1.0"), "version"),
        (change_manifest(name="../x"), "name"),
        (change_manifest(surprise=1), "surprise"),
        (change_manifest(files={"../../etc/passwd": {"size": 0, "sha256": "0" * 64}}), "no path inside"),
        (change_manifest(files={"vision.onnx": {"size": 0, "sha256": "0" * 64}}), "missing"),
        (lose_manifest, "cannot be read"),
        (cut_manifest, "is not a manifest"),
    ],
)
def test_damage_is_refused(bundle: Path, damage: Callable[[Path], None], says: str) -> None:
    damage(bundle)
    with pytest.raises(BundleError, match=says):
        verify(bundle, None)


def test_the_released_bundle_is_accepted(demo_bundle: Path) -> None:
    manifest = verify(demo_bundle, None)
    assert manifest.digest().startswith("sha256:")


def test_with_a_key_only_its_signature_counts(bundle: Path) -> None:
    ours, theirs = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    with pytest.raises(BundleError, match="not signed"):
        verify(bundle, ours.public_key())
    write_manifest(bundle, sign(read_manifest(bundle), ours))
    verify(bundle, ours.public_key())
    with pytest.raises(BundleError, match="signature"):
        verify(bundle, theirs.public_key())


def test_a_signed_manifest_cannot_be_changed(bundle: Path) -> None:
    key = Ed25519PrivateKey.generate()
    write_manifest(bundle, sign(read_manifest(bundle), key))
    change_manifest(vocabulary=["something else"])(bundle)
    with pytest.raises(BundleError, match="signature"):
        verify(bundle, key.public_key())


def test_a_signature_does_not_change_the_identity(bundle: Path) -> None:
    manifest = read_manifest(bundle)
    assert sign(manifest, Ed25519PrivateKey.generate()).digest() == manifest.digest()


def test_a_key_that_is_none_is_refused_by_name() -> None:
    with pytest.raises(SettingsError, match="PublicKey is not a public key in PEM"):
        read_public_key("hello")
    pem = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    read_public_key(pem.decode())
