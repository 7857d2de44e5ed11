"""Idempotency keys: the same request with the same ``Idempotency-Key`` is answered once, and the answer is remembered.

powertools keeps records in DynamoDB. What is remembered is the reply, compressed; one that is still too long for an
item (400 KB) is put into S3 and remembered by its place. Replies that are errors are not remembered: they may be asked
again. After "The Idempotency-Key HTTP Header Field" (IETF draft): another request with the same key is answered with
422, a repetition while the first is in progress with 409.
"""

from __future__ import annotations

import base64
import hashlib
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from aws_lambda_powertools.utilities.idempotency import BasePersistenceLayer, IdempotencyConfig, idempotent_function
from aws_lambda_powertools.utilities.idempotency.exceptions import (
    IdempotencyAlreadyInProgressError,
    IdempotencyInconsistentStateError,
    IdempotencyPersistenceLayerError,
    IdempotencyValidationError,
)

from sam3edge_serving.api.exchange import Reply, Request, dump
from sam3edge_serving.api.uploads.storage import Address, Storage
from sam3edge_serving.http.errors import BadRequest, Conflict, NotReady, Unanswerable

HEADER = "idempotency-key"
MAX_CHARACTERS = 255
MAX_BYTES = 300_000
"""Of a compressed reply in an item; the rest of DynamoDB's 400 KB is for the record around it."""


class _NotKept(Exception):
    """The reply is given, and asked of the model again the next time."""

    def __init__(self, reply: Reply) -> None:
        super().__init__("the reply is too long to be remembered")
        self.reply = reply


class IdempotencyStore:
    """Remembers replies.

    Args:
        records: powertools' persistence; None where the operator has set none up.
        storage: for long replies; None where there is none. They are not remembered then.
        seconds: how long a reply is remembered.
    """

    def __init__(self, records: BasePersistenceLayer | None, storage: Storage | None, seconds: int) -> None:
        self._records = records
        self._storage = storage
        self._config = IdempotencyConfig(
            event_key_jmespath="key",
            payload_validation_jmespath="content",
            raise_on_no_idempotency_key=True,
            expires_after_seconds=seconds,
            hash_function="sha256",
        )

    def within(self, context: Any) -> None:
        """Tell how long the invocation may take: a record in progress that is older belongs to one that died."""
        self._config.register_lambda_context(context)

    def run(self, request: Request, content: object, work: Callable[[], Reply]) -> Reply:
        """The reply to a request, by ``work`` or as it was.

        Args:
            content: what makes two requests the same; JSON without image bytes (their digest instead).

        Raises:
            BadRequest, Conflict, Unanswerable: the key cannot be used.
            HttpError: ``work``'s own.
        """
        key = request.headers.get(HEADER, "")
        if not key:
            return work()
        if len(key) > MAX_CHARACTERS or not key.isascii() or not key.isprintable():
            raise BadRequest(f"Idempotency-Key must be 1 to {MAX_CHARACTERS} printable ASCII characters")
        if self._records is None:
            raise BadRequest("this API remembers no requests; send none with Idempotency-Key", code="no_idempotency")
        name = f"{request.key_id} {request.method} {request.path} {key}"
        digest = hashlib.sha256(dump(content).encode()).hexdigest()
        place = f"{hashlib.sha256(name.encode()).hexdigest()}-{digest}"

        def answer(*, asked: dict[str, str]) -> dict[str, Any]:
            return self._pack(work(), request.key_id, place)

        remembering = idempotent_function(
            answer,
            data_keyword_argument="asked",
            persistence_store=self._records,
            config=self._config,
            key_prefix="api",
        )
        try:
            return self._unpack(remembering(asked={"key": name, "content": digest}))
        except _NotKept as kept:
            return kept.reply
        except IdempotencyValidationError:
            raise Unanswerable(
                "this Idempotency-Key was used for another request; use a new one for each request",
                code="idempotency_key_reused",
            ) from None
        except (IdempotencyAlreadyInProgressError, IdempotencyInconsistentStateError):
            raise Conflict("the first request with this key is still in progress; ask again", retry_after=2) from None
        except IdempotencyPersistenceLayerError as error:
            raise NotReady("requests cannot be remembered now; try again", code="idempotency_failed") from error

    def _pack(self, reply: Reply, key_id: str, place: str) -> dict[str, Any]:
        kept: dict[str, Any] = {
            "status": reply.status,
            "type": reply.content_type,
            "headers": dict(reply.headers),
        }
        body = base64.b64encode(zlib.compress(reply.body.encode()))
        if len(body) <= MAX_BYTES:
            return {**kept, "body": body.decode()}
        if self._storage is None:
            raise _NotKept(reply)
        at = self._storage.at("answers", key_id, place)
        self._storage.write(at, reply.body.encode(), reply.content_type)
        return {**kept, "at": str(at)}

    def _unpack(self, kept: Mapping[str, Any]) -> Reply:
        if "body" in kept:
            body = zlib.decompress(base64.b64decode(kept["body"]))
        else:
            found = self._storage.read(Address.parse(kept["at"])) if self._storage else None
            if found is None:
                raise NotReady("the remembered answer is gone; use a new Idempotency-Key", code="response_gone")
            body = found
        return Reply(int(kept["status"]), body.decode(), kept["type"], dict(kept["headers"]))
