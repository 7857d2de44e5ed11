"""Tokens of the live page at AWS IoT Core: what they look like, where they are kept.

A token is an id and a secret. The id is public: it finds the record, it is what the operator signs, and it is written
to logs. Of the secret only the SHA-256 is kept, without salt or slow hash, because it is 256 random bits that nobody
can guess. The records are one JSON document in Secrets Manager, by id.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

ID = re.compile(r"[0-9a-f]{24}", re.ASCII)
KEPT_SECONDS = 60
"""That the records are not read again: a revoked token is good for so long."""

MAX_BYTES = 65_536
"""Of a secret, by Secrets Manager: some 400 tokens."""


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """What is kept of a token.

    Attributes:
        id: 24 hexadecimal digits.
        sha256: of the secret, hexadecimal.
        owner: who has it, for the operator.
        expires: when it is no longer good, seconds since 1970.
    """

    id: str
    sha256: str = field(repr=False)
    owner: str
    expires: int


class TokenStore(Protocol):
    """Where the records are."""

    def find(self, token_id: str) -> TokenRecord | None:
        """The record, or None."""


class SecretTokens:
    """Records in Secrets Manager.

    Args:
        client: boto3's, of ``secretsmanager``.
        secret: its ARN or name.
        clock: seconds of a monotonic clock.
    """

    def __init__(self, client: Any, secret: str, clock: Callable[[], float]) -> None:
        self._client, self._secret, self._clock = client, secret, clock
        self._records: Mapping[str, TokenRecord] = {}
        self._read_at: float | None = None

    def find(self, token_id: str) -> TokenRecord | None:
        """See ``TokenStore``. botocore's errors are not caught: without its records the authorizer must fail."""
        if self._read_at is None or self._clock() - self._read_at >= KEPT_SECONDS:
            self._records = self.read()
            self._read_at = self._clock()
        return self._records.get(token_id)

    def read(self) -> dict[str, TokenRecord]:
        """All records; none of a secret that has no value yet."""
        try:
            text = self._client.get_secret_value(SecretId=self._secret)["SecretString"]
        except self._client.exceptions.ResourceNotFoundException:
            return {}
        return {name: TokenRecord(name, **members) for name, members in json.loads(text).items()}

    def write(self, records: Mapping[str, TokenRecord]) -> None:
        """Replace all records.

        Raises:
            ValueError: there are too many of them.
        """
        text = json.dumps(
            {one.id: {"sha256": one.sha256, "owner": one.owner, "expires": one.expires} for one in records.values()}
        )
        if len(text.encode()) > MAX_BYTES:
            raise ValueError(
                f"expected records of at most {MAX_BYTES} bytes, got {len(text.encode())}; revoke some tokens"
            )
        self._client.put_secret_value(SecretId=self._secret, SecretString=text)


def new_token(owner: str, expires: int) -> tuple[str, TokenRecord]:
    """A secret, which is shown once, and the record of its token."""
    secret = secrets.token_urlsafe(32)
    return secret, TokenRecord(secrets.token_hex(12), digest(secret), owner, expires)


def digest(secret: str) -> str:
    """SHA-256, hexadecimal."""
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()
