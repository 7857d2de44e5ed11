"""API keys: what they look like, where they are kept, how one is checked.

A key is ``s3e-<id>-<secret>``. The id is public: it finds the record, it is what API Gateway's usage plan counts by
(``usageIdentifierKey``), and it is written to logs. Only the SHA-256 of the key is kept, without salt or slow hash,
because the secret is 256 random bits that nobody can guess.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

_KEY = re.compile(r"s3e-(?P<id>[0-9a-f]{24})-[\w-]{43}", re.ASCII)

BEARER_HEADER, KEY_HEADER = "authorization", "x-api-key"
"""Headers in which a request may carry its key, names in lower case; no log may have them."""

MISSING = "missing_api_key"
WRONG = "invalid_api_key"
REVOKED = "revoked_api_key"


class KeyRefused(Exception):
    """Args: code, one of the above; the message is for the client."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """What is kept of a key.

    Attributes:
        id: 24 hexadecimal digits. API Gateway wants at least 20 characters of the value of a key.
        sha256: of the whole key, hexadecimal.
        owner: who has it, for the operator.
        revoked: whether it is no longer good.
    """

    id: str
    sha256: str = field(repr=False)
    owner: str
    revoked: bool = False


class KeyStore(Protocol):
    """Where the records are."""

    def find(self, key_id: str) -> KeyRecord | None:
        """The record, or None."""


class MemoryKeys:
    """Keys that are gone when the program ends."""

    def __init__(self, *records: KeyRecord) -> None:
        self._records = {record.id: record for record in records}

    def find(self, key_id: str) -> KeyRecord | None:
        """See ``KeyStore``."""
        return self._records.get(key_id)


class DynamoKeys:
    """Keys in a DynamoDB table with partition key ``id`` (string).

    Args:
        table: boto3's ``Table`` resource.
    """

    def __init__(self, table: Any) -> None:
        self._table = table

    def find(self, key_id: str) -> KeyRecord | None:
        """See ``KeyStore``. botocore's errors are not caught: without its table the authorizer must fail."""
        item = self._table.get_item(Key={"id": key_id}).get("Item")
        if item is None:
            return None
        return KeyRecord(item["id"], item["sha256"], item.get("owner", ""), bool(item.get("revoked", False)))

    def add(self, record: KeyRecord) -> None:
        """Keep a new one; never overwrites."""
        item = {"id": record.id, "sha256": record.sha256, "owner": record.owner, "revoked": record.revoked}
        self._table.put_item(Item=item, ConditionExpression="attribute_not_exists(id)")

    def revoke(self, key_id: str) -> None:
        """The key is revoked; raises botocore's ConditionalCheckFailedException when there is none."""
        self._table.update_item(
            Key={"id": key_id},
            UpdateExpression="SET revoked = :yes",
            ConditionExpression="attribute_exists(id)",
            ExpressionAttributeValues={":yes": True},
        )


def new_key(owner: str) -> tuple[str, KeyRecord]:
    """A key, which is shown once, and its record."""
    key_id = secrets.token_hex(12)
    key = f"s3e-{key_id}-{secrets.token_urlsafe(32)}"
    return key, KeyRecord(key_id, digest(key), owner)


def digest(key: str) -> str:
    """SHA-256, hexadecimal."""
    return hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()


def presented(headers: Mapping[str, str]) -> str:
    """The key of a request: ``Authorization: Bearer KEY``, as OpenAI's clients send it, or ``x-api-key: KEY``.

    Args:
        headers: names in lower case.

    Returns:
        The key, or nothing.
    """
    scheme, _, credentials = headers.get(BEARER_HEADER, "").strip().partition(" ")
    if scheme.lower() == "bearer" and credentials.strip():
        return credentials.strip()
    return headers.get(KEY_HEADER, "").strip()


def check(store: KeyStore, key: str) -> KeyRecord:
    """Whose key it is.

    Raises:
        KeyRefused: no key, a wrong one, or one that was revoked.
    """
    if not key:
        raise KeyRefused(MISSING, "no API key was sent; send it as 'Authorization: Bearer KEY' or as 'x-api-key: KEY'")
    match = _KEY.fullmatch(key)
    record = store.find(match["id"]) if match else None
    kept = record.sha256 if record else "0" * 64
    same = hmac.compare_digest(digest(key).encode(), kept.encode())
    if record is None or not same:
        raise KeyRefused(WRONG, "the API key is not known here; check that it was copied as a whole")
    if record.revoked:
        raise KeyRefused(REVOKED, "the API key was revoked; ask the operator for another one")
    return record
