"""Signing bundles, with a key in a file or one that never leaves AWS KMS.

Both sign with Ed25519 (RFC 8032), so devices need not know which it was. In KMS, ``ED25519_SHA_512`` is plain Ed25519
and needs messages of type ``RAW``, at most 4096 bytes (AWS KMS API reference, ``Sign``).
"""

from __future__ import annotations

import base64
import logging
import os
import tempfile
from pathlib import Path
from typing import Any, Protocol

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
)

from sam3edge.bundle.manifest import MANIFEST, Manifest, Signature, write_manifest
from sam3edge.bundle.signature import check_signature, fingerprint, read_public_keys
from sam3edge.bundle.verify import verify
from sam3edge.core.errors import BundleError, Sam3EdgeError

logger = logging.getLogger(__name__)

KMS_KEY_SPEC = "ECC_NIST_EDWARDS25519"
KMS_ALGORITHM = "ED25519_SHA_512"

_KMS_HINTS = {
    "NotFoundException": "check the key's id and the region",
    "AccessDeniedException": "the caller needs kms:Sign and kms:GetPublicKey on the key",
    "DisabledException": "enable the key",
    "KMSInvalidStateException": "the key is pending deletion or not ready",
    "InvalidKeyUsageException": f"the key must be of usage SIGN_VERIFY and specification {KMS_KEY_SPEC}",
    "UnsupportedOperationException": f"the key must be of specification {KMS_KEY_SPEC}",
}


class SigningError(Sam3EdgeError):
    """The key cannot be had, or does not sign."""


class Signer(Protocol):
    """Holds, or can reach, an Ed25519 private key. Both methods raise SigningError."""

    def public_key_pem(self) -> str:
        """The other half, for the ``PublicKey`` of the devices' configuration."""

    def sign(self, message: bytes) -> bytes:
        """64 bytes of signature over ``message``, which has at most 4096 bytes."""


class KmsClient(Protocol):
    """What ``KmsSigner`` calls of ``boto3.client("kms")``."""

    def sign(self, **arguments: Any) -> dict[str, Any]: ...

    def get_public_key(self, **arguments: Any) -> dict[str, Any]: ...


class KeyFileSigner:
    """A private key in a file, PEM, PKCS #8.

    Args:
        password: of an encrypted key.

    Raises:
        SigningError: the file cannot be read, or holds something else, or the password is wrong.
    """

    def __init__(self, path: Path, password: bytes | None = None) -> None:
        try:
            content = path.read_bytes()
            readable_by_others = path.stat().st_mode & 0o077
        except OSError as error:
            raise SigningError(f"the key {path} cannot be read: {error.strerror}") from error
        if readable_by_others:
            logger.warning("the private key %s can be read by other users; chmod 600 %s", path, path)
        try:
            key = load_pem_private_key(content, password)
        except TypeError as error:  # a password is missing, or there is one and the key is not encrypted
            raise SigningError(f"the key {path}: {error}") from error
        except ValueError as error:
            raise SigningError(
                f"{path} is not a private key in PEM (-----BEGIN PRIVATE KEY-----), or its password is wrong"
            ) from error
        if not isinstance(key, Ed25519PrivateKey):
            raise SigningError(f"the key {path} must be an Ed25519 key, it is {type(key).__name__}")
        self._key = key

    def public_key_pem(self) -> str:
        """See ``Signer``."""
        return _to_pem(self._key.public_key())

    def sign(self, message: bytes) -> bytes:
        """See ``Signer``."""
        return self._key.sign(message)


class KmsSigner:
    """A key in AWS KMS.

    Args:
        key_id: id, ARN or alias (``alias/...``) of the key.
        client: of KMS; made by boto3 from the environment when left out.
    """

    def __init__(self, key_id: str, client: KmsClient | None = None) -> None:
        self._key_id = key_id
        self._client = client or _kms_client()

    def public_key_pem(self) -> str:
        """See ``Signer``."""
        answer = self._call("get_public_key", KeyId=self._key_id)
        if answer["KeySpec"] != KMS_KEY_SPEC or answer["KeyUsage"] != "SIGN_VERIFY":
            raise SigningError(
                f"the KMS key {self._key_id} must be of specification {KMS_KEY_SPEC} and usage SIGN_VERIFY, it is "
                f"{answer['KeySpec']}, {answer['KeyUsage']}"
            )
        key = load_der_public_key(answer["PublicKey"])
        if not isinstance(key, Ed25519PublicKey):
            raise SigningError(f"the KMS key {self._key_id} must be an Ed25519 key, it is {type(key).__name__}")
        return _to_pem(key)

    def sign(self, message: bytes) -> bytes:
        """See ``Signer``."""
        answer = self._call(
            "sign", KeyId=self._key_id, Message=message, MessageType="RAW", SigningAlgorithm=KMS_ALGORITHM
        )
        return bytes(answer["Signature"])

    def _call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            answer: dict[str, Any] = getattr(self._client, operation)(**arguments)
        except ClientError as error:
            problem = error.response["Error"]
            hint = _KMS_HINTS.get(problem["Code"])
            raise SigningError(
                f"KMS refused {operation} with the key {self._key_id}: {problem['Code']}: {problem['Message']}"
                + (f"; {hint}" if hint else "")
            ) from error
        except BotoCoreError as error:  # no credentials, no region, no connection
            raise SigningError(f"KMS cannot be asked for {operation} with the key {self._key_id}: {error}") from error
        return answer


def new_key(path: Path, password: bytes | None = None) -> KeyFileSigner:
    """Generate a key and write its private half to ``path``, which only its owner may read.

    Args:
        password: to encrypt the file with.

    Raises:
        SigningError: there is a file already, or it cannot be written.
    """
    encryption: KeySerializationEncryption = NoEncryption() if password is None else BestAvailableEncryption(password)
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(pem)
    except FileExistsError as error:
        raise SigningError(f"{path} already exists, and devices may trust that key; choose another name") from error
    except OSError as error:
        raise SigningError(f"the key cannot be written to {path}: {error.strerror}") from error
    return KeyFileSigner(path, password)


def sign_manifest(manifest: Manifest, signer: Signer) -> Manifest:
    """The manifest with a signature in place of any that it had.

    Raises:
        SigningError: no signature can be had, or it is not by the key that the signer says it has.
    """
    [key] = read_public_keys(signer.public_key_pem())
    value = base64.b64encode(signer.sign(manifest.signed_bytes())).decode()
    signature = Signature(algorithm="ed25519", key_id=fingerprint(key), value=value)
    signed = manifest.model_copy(update={"signature": signature})
    try:
        check_signature(signed, [key])
    except BundleError as error:
        raise SigningError(f"what the signer returned is not a signature by its key {signature.key_id}") from error
    return signed


def sign_bundle(folder: Path, signer: Signer) -> Manifest:
    """Verify the files of a bundle and sign its manifest, which is exchanged in one step.

    Raises:
        BundleError: a file is not what the manifest says.
        SigningError: see ``sign_manifest``.
    """
    folder = folder.resolve()
    signed = sign_manifest(verify(folder, None), signer)
    # beside the bundle, on the same disk: a name inside would be a file that the manifest does not name
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as staging:
        write_manifest(Path(staging), signed)
        (Path(staging) / MANIFEST).replace(folder / MANIFEST)
    return signed


def _to_pem(key: Ed25519PublicKey) -> str:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def _kms_client() -> KmsClient:
    try:
        import boto3
        from botocore.exceptions import BotoCoreError
    except ImportError as error:
        raise SigningError("signing with KMS needs boto3; pip install 'sam3edge[export]'") from error
    try:
        client: KmsClient = boto3.client("kms")
    except BotoCoreError as error:
        raise SigningError(f"there is no KMS client: {error}; set AWS_REGION or a profile") from error
    return client
