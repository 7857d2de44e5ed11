"""A device with keys takes only what one of them signed, and says which key signed what it does not take."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sam3edge.bundle.manifest import MANIFEST, Manifest, Signature, read_manifest, write_manifest
from sam3edge.bundle.signature import fingerprint, read_public_keys
from sam3edge.bundle.verify import verify
from sam3edge.core.errors import BundleError, SettingsError

OURS, THEIRS = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()


def sign(manifest: Manifest, key: Ed25519PrivateKey) -> Manifest:
    """By hand, as the format is documented, and not with the exporter's code."""
    value = base64.b64encode(key.sign(b"sam3edge-manifest-v1\n" + manifest.digest().encode())).decode()
    der = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    name = hashlib.sha256(der).hexdigest()[:16]
    return manifest.model_copy(update={"signature": Signature(algorithm="ed25519", key_id=name, value=value)})


def pem(key: Any) -> str:
    text: bytes = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return text.decode()


def test_with_keys_only_their_signatures_count(bundle: Path) -> None:
    with pytest.raises(BundleError, match="is not signed, and this device takes only what"):
        verify(bundle, [OURS.public_key()])
    write_manifest(bundle, sign(read_manifest(bundle), OURS))
    verify(bundle, [OURS.public_key()])
    verify(bundle, [THEIRS.public_key(), OURS.public_key()])
    theirs = fingerprint(THEIRS.public_key())
    with pytest.raises(BundleError, match=f"by the key {fingerprint(OURS.public_key())}.* trusts {theirs}"):
        verify(bundle, [THEIRS.public_key()])


def test_without_keys_signatures_are_not_looked_at(bundle: Path) -> None:
    write_manifest(bundle, sign(read_manifest(bundle), THEIRS))
    verify(bundle, None)


def test_no_key_at_all_trusts_nobody(bundle: Path) -> None:
    write_manifest(bundle, sign(read_manifest(bundle), OURS))
    with pytest.raises(BundleError, match="signature"):
        verify(bundle, [])


def test_a_signed_manifest_cannot_be_changed(bundle: Path) -> None:
    write_manifest(bundle, sign(read_manifest(bundle), OURS))
    body = json.loads((bundle / MANIFEST).read_text())
    (bundle / MANIFEST).write_text(json.dumps({**body, "vocabulary": ["something else"]}))
    with pytest.raises(BundleError, match="does not belong to this manifest"):
        verify(bundle, [OURS.public_key()])


@pytest.mark.parametrize("value", ["", "no base64!", base64.b64encode(b"x" * 64).decode()])
def test_a_signature_of_nonsense_is_refused(bundle: Path, value: str) -> None:
    signature = Signature(algorithm="ed25519", key_id=fingerprint(OURS.public_key()), value=value)
    write_manifest(bundle, read_manifest(bundle).model_copy(update={"signature": signature}))
    with pytest.raises(BundleError, match="does not belong to this manifest"):
        verify(bundle, [OURS.public_key()])


def test_a_trusted_name_on_another_keys_signature_is_refused(bundle: Path) -> None:
    signed = sign(read_manifest(bundle), THEIRS)
    assert signed.signature is not None
    forged = signed.signature.model_copy(update={"key_id": fingerprint(OURS.public_key())})
    write_manifest(bundle, signed.model_copy(update={"signature": forged}))
    with pytest.raises(BundleError, match="does not belong to this manifest"):
        verify(bundle, [OURS.public_key(), THEIRS.public_key()])


def test_a_signature_over_a_bare_digest_is_none(bundle: Path) -> None:
    manifest = read_manifest(bundle)
    value = base64.b64encode(OURS.sign(manifest.digest().encode())).decode()
    signature = Signature(algorithm="ed25519", key_id=fingerprint(OURS.public_key()), value=value)
    write_manifest(bundle, manifest.model_copy(update={"signature": signature}))
    with pytest.raises(BundleError, match="does not belong to this manifest"):
        verify(bundle, [OURS.public_key()])


def test_a_signature_does_not_change_the_identity(bundle: Path) -> None:
    manifest = read_manifest(bundle)
    assert sign(manifest, OURS).digest() == manifest.digest()


def test_what_is_signed_fits_kms_however_large_the_manifest_is(bundle: Path) -> None:
    manifest = read_manifest(bundle)
    large = manifest.model_copy(update={"vocabulary": [f"phrase {i}" for i in range(5000)]})
    assert large.signed_bytes() != manifest.signed_bytes()
    assert len(large.signed_bytes()) == len(manifest.signed_bytes()) < 4096


def numbers(keys: tuple[Ed25519PublicKey, ...]) -> list[str]:
    return [fingerprint(key) for key in keys]


def test_one_or_several_keys_are_read() -> None:
    ours, theirs = OURS.public_key(), THEIRS.public_key()
    assert numbers(read_public_keys(pem(ours))) == numbers((ours,))
    assert numbers(read_public_keys(pem(ours) + "\n" + pem(theirs))) == numbers((ours, theirs))
    folded = " ".join((pem(ours) + pem(theirs)).split("\n"))  # as YAML folds a text that is not marked literal
    assert numbers(read_public_keys(folded)) == numbers((ours, theirs))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("hello", "PublicKey is not one or several public keys in PEM"),
        (pem(OURS.public_key()) + "and more", "nothing else"),
        (pem(OURS.public_key()).replace("PUBLIC", "PRIVATE"), "PublicKey is not"),
        (pem(OURS.public_key()) + pem(THEIRS.public_key()).replace("MCow", "AAAA"), "key number 2 is damaged"),
        (pem(OURS.public_key()).replace("MCow", "!!"), "key number 1 is damaged"),
        (pem(generate_private_key(SECP256R1()).public_key()), "must be an Ed25519 key, it is"),
    ],
)
def test_a_key_that_is_none_is_refused_by_name(text: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says):
        read_public_keys(text)
