"""The uploader's heartbeat."""

from __future__ import annotations

from typing import Literal

from typing_extensions import TypedDict

from sam3edge.core.messages.bounds import reason_of
from sam3edge.core.messages.envelope import Envelope, envelope, write
from sam3edge.core.types import Message


class UploadCounters(TypedDict):
    """``waiting`` examples are on the device, with ``waiting_bytes``. Since the start: ``uploaded`` and deleted here,
    ``failures`` of requests, and ``refused`` examples that stay here because they are damaged or the bucket does not
    take them. ``in_hour`` examples and ``bytes_in_day`` count towards the quotas."""

    waiting: int
    waiting_bytes: int
    uploaded: int
    failures: int
    refused: int
    in_hour: int
    bytes_in_day: int


class UploaderStatusMessage(Envelope):
    """One heartbeat of the uploader; it is ``off`` without a bucket, and ``waiting`` for a connection, permission or a
    quota."""

    message_type: Literal["uploader_status"]
    state: Literal["off", "running", "waiting"]
    examples: UploadCounters
    last_error: str


def uploader_status(
    device: str, topic: str, state: Literal["off", "running", "waiting"], counters: UploadCounters, last_error: str
) -> Message:
    """One heartbeat."""
    body: UploaderStatusMessage = {
        **envelope(device),
        "message_type": "uploader_status",
        "state": state,
        "examples": counters,
        "last_error": reason_of(last_error),
    }
    return write(body, topic, supersedes="uploader_status")
