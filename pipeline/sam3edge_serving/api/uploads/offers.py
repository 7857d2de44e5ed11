"""Addresses that large images are uploaded to."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sam3edge_serving.api.images import MEDIA_TYPES
from sam3edge_serving.api.uploads.storage import Address, Storage
from sam3edge_serving.http.errors import BadRequest, NotFound, TooLarge

_ID = re.compile(r"upl-[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Uploads:
    """Makes upload addresses, and finds what was uploaded.

    Attributes:
        most: bytes of an image.
        seconds: that an address is valid.
    """

    storage: Storage
    most: int
    seconds: int
    clock: Callable[[], float] = time.time

    def offer(self, key_id: str, media_type: str, size: int | None) -> dict[str, Any]:
        """A form that S3 takes one image with.

        Args:
            size: bytes of the image, where the client knows; nothing larger is taken then.

        Raises:
            BadRequest, TooLarge: of a type or size that is not taken.
        """
        if media_type not in MEDIA_TYPES.values():
            allowed = ", ".join(MEDIA_TYPES.values())
            raise BadRequest(f"content_type must be one of {allowed}", param="content_type")
        if size is not None and size > self.most:
            raise TooLarge(f"an image must have at most {self.most} bytes, this one has {size}", param="bytes")
        upload_id, most = f"upl-{uuid.uuid4().hex}", size or self.most
        form = self.storage.upload_form(self._at(key_id, upload_id), media_type, most, self.seconds)
        return {
            "id": upload_id,
            "object": "upload",
            "method": "POST",
            "url": form["url"],
            "fields": form["fields"],
            "content_type": media_type,
            "max_bytes": most,
            "expires_at": int(self.clock()) + self.seconds,
        }

    def find(self, key_id: str, upload_id: str) -> tuple[Address, str]:
        """Where the image is and what it was said to be.

        Raises:
            NotFound: no such upload of this key, or nothing was uploaded.
            TooLarge, BadRequest: not what was agreed.
        """
        stored = self.storage.look(self._at(key_id, upload_id)) if _ID.fullmatch(upload_id) else None
        if stored is None:
            raise NotFound(
                "there is no such upload; ask for one by POST /v1/uploads and send the image to its url first",
                param="upload",
                code="upload_not_found",
            )
        if stored.size > self.most:
            raise TooLarge(f"an image must have at most {self.most} bytes, this one has {stored.size}", param="upload")
        if stored.media_type not in MEDIA_TYPES.values():
            raise BadRequest("the upload has another type than was agreed", param="upload", code="invalid_image")
        return self._at(key_id, upload_id), stored.media_type

    def _at(self, key_id: str, upload_id: str) -> Address:
        return self.storage.at("uploads", key_id, upload_id)
