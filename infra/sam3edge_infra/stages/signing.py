"""The operator's key of the live page: its private part signs ids of tokens, its public part is in the stage."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from sam3edge.core.errors import SettingsError


def read_private_key(path: Path) -> rsa.RSAPrivateKey:
    """The key of a file.

    Raises:
        SettingsError: there is none in it.
    """
    expected = f"expected a private RSA key in {path}, as page_tokens key makes it"
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise SettingsError(f"{expected}: {error}") from error
    if not isinstance(key, rsa.RSAPrivateKey):
        raise SettingsError(f"{expected}, got one of another kind")
    return key


def public_part(key: rsa.RSAPrivateKey) -> str:
    """Of a key, PEM."""
    public = key.public_key()
    return public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
