"""Frames of a camera, numbered."""

from __future__ import annotations

import hashlib
import itertools
import secrets
from datetime import datetime

from sam3edge.core.types import Frame, RgbImage


class FrameSequence:
    """Makes frames of pictures that have no identity of their own.

    The name is the number of the frame since the source was opened; the id is 24 random hexadecimal digits, drawn when
    the source was opened, and 8 of that number. A camera cannot show a picture again: no id has to survive a restart.

    Args:
        source_id: ``Frame.source``.
    """

    def __init__(self, source_id: str) -> None:
        self._source_id = source_id
        self._session = secrets.token_hex(12)
        self._numbers = itertools.count()

    def frame(self, image: RgbImage, captured_at: datetime) -> Frame:
        """The next frame: uint8 [H, W, 3] RGB, C-contiguous, and when the light fell in, UTC."""
        number = next(self._numbers)
        return Frame(
            id=f"{self._session}{number:08x}",
            source=self._source_id,
            name=f"{number:08d}",
            image=image,
            captured_at=captured_at,
            digest=f"sha256:{hashlib.sha256(image.data).hexdigest()}",
        )
