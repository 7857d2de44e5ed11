"""The snapshots topic: a frame as an image, when a command asked for it."""

from __future__ import annotations

import base64
from typing import Annotated, Literal

from sam3edge.core.messages.envelope import (
    Envelope,
    FrameReference,
    SchemaOnly,
    envelope,
    frame_reference,
    to_json,
    write,
)
from sam3edge.core.types import Frame, Message


class SnapshotMessage(Envelope):
    """A frame, made smaller; ``request`` is the id of the command. Width and height are the image's, in pixels."""

    message_type: Literal["snapshot"]
    request: str
    frame: FrameReference
    width: int
    height: int
    media_type: Literal["image/jpeg"]
    image: Annotated[str, SchemaOnly(contentEncoding="base64", contentMediaType="image/jpeg")]


def snapshot(device: str, topic: str, request: str, frame: Frame, jpeg: bytes, width: int, height: int) -> Message:
    """A snapshot of a frame.

    Args:
        request: id of the command that asked for it.
        width: pixels of the JPEG, as is ``height``.
    """
    return write(_body(device, request, frame, jpeg, width, height), topic)


def snapshot_room(device: str, request: str, frame: Frame, max_bytes: int) -> int:
    """Bytes that a JPEG, no larger than the frame, may have in a snapshot of ``max_bytes``; negative for none."""
    empty = len(to_json(_body(device, request, frame, b"", frame.width, frame.height)))
    return (max_bytes - empty) // 4 * 3


def _body(device: str, request: str, frame: Frame, jpeg: bytes, width: int, height: int) -> SnapshotMessage:
    return {
        **envelope(device),
        "message_type": "snapshot",
        "request": request,
        "frame": frame_reference(frame.id, frame.name),
        "width": width,
        "height": height,
        "media_type": "image/jpeg",
        "image": base64.b64encode(jpeg).decode(),
    }
