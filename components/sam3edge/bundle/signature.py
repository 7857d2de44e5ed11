"""Who signed a bundle, and does this device trust them? Ed25519 (RFC 8032) over ``Manifest.signed_bytes``."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from sam3edge.bundle.manifest import Manifest
from sam3edge.core.errors import BundleError, SettingsError

_BLOCK = re.compile(r"-----BEGIN PUBLIC KEY-----(.*?)-----END PUBLIC KEY-----", re.DOTALL)


def fingerprint(key: Ed25519PublicKey) -> str:
    """Short name of a key: the first 16 hex digits of the SHA-256 of its DER form (SubjectPublicKeyInfo)."""
    der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()[:16]


def read_public_keys(pem: str) -> tuple[Ed25519PublicKey, ...]:
    """Read one or several public keys in PEM, one after the other; line breaks inside a block may be lost.

    Raises:
        SettingsError: it holds something else, or no key.
    """
    blocks = _BLOCK.findall(pem)
    if not blocks or _BLOCK.sub("", pem).strip():
        raise SettingsError(
            "PublicKey is not one or several public keys in PEM (-----BEGIN PUBLIC KEY----- ... -----END PUBLIC "
            "KEY-----) and nothing else"
        )
    return tuple(_read(block, number) for number, block in enumerate(blocks, 1))


def check_signature(manifest: Manifest, keys: Sequence[Ed25519PublicKey]) -> None:
    """Check that one of ``keys`` signed the manifest.

    Raises:
        BundleError: none did; says which key did sign and which are trusted.
    """
    bundle = f"{manifest.name} {manifest.version}"
    trusted = {fingerprint(key): key for key in keys}
    if manifest.signature is None:
        raise BundleError(
            f"{bundle} is not signed, and this device takes only what {_listed(trusted)} signed; sign it and deploy "
            "it again"
        )
    signer = manifest.signature.key_id
    if signer not in trusted:
        raise BundleError(
            f"the signature of {bundle} is by the key {signer}, and this device trusts {_listed(trusted)}; sign the "
            "bundle with that or add the signer to PublicKey"
        )
    try:
        trusted[signer].verify(base64.b64decode(manifest.signature.value, validate=True), manifest.signed_bytes())
    except (InvalidSignature, ValueError) as error:  # not base64, not even ASCII
        raise BundleError(
            f"the signature of {bundle} names the key {signer}, but does not belong to this manifest; it was changed "
            "after signing, deploy it again as it was released"
        ) from error


def _read(block: str, number: int) -> Ed25519PublicKey:
    try:
        key = load_der_public_key(base64.b64decode("".join(block.split()), validate=True))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SettingsError(f"PublicKey: the key number {number} is damaged, copy it again") from error
    if not isinstance(key, Ed25519PublicKey):
        raise SettingsError(f"PublicKey: the key number {number} must be an Ed25519 key, it is {type(key).__name__}")
    return key


def _listed(names: Iterable[str]) -> str:
    return " or ".join(names)
