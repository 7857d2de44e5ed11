"""Messages on the errors topic: what was refused or failed, and why.

``kind`` says what it is about: a frame, the segmenter (its configuration, its model, its source), or a bundle. All have
a ``reason`` for people, bounded and without passwords; ``error`` is the name of a class in ``core/errors.py``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal, TypeAlias

from sam3edge.core.errors import FrameError
from sam3edge.core.messages.bounds import reason_of
from sam3edge.core.messages.envelope import Envelope, FrameReference, envelope, frame_reference, message_id, write
from sam3edge.core.types import Message


class FrameErrorMessage(Envelope):
    """A frame that could not be used."""

    message_type: Literal["error"]
    kind: Literal["frame"]
    frame: FrameReference
    reason: str


class ComponentErrorMessage(Envelope):
    """A configuration that was refused, or a failure that belongs to no frame."""

    message_type: Literal["error"]
    kind: Literal["component"]
    error: str
    reason: str


class BundleErrorMessage(Envelope):
    """A bundle, or the model component's configuration, that was refused; the model before it stays active."""

    message_type: Literal["error"]
    kind: Literal["model"]
    error: str
    reason: str


ErrorMessage: TypeAlias = FrameErrorMessage | ComponentErrorMessage | BundleErrorMessage


def frame_error(device: str, error: FrameError, topic: str, made_at: datetime | None = None) -> Message:
    """Report a frame that could not be used; the same frame always has the same id.

    Args:
        made_at: now, unless given.
    """
    body: FrameErrorMessage = {
        **envelope(device, message_id(device, error.frame_id, "error"), made_at),
        "message_type": "error",
        "kind": "frame",
        "frame": frame_reference(error.frame_id, error.name),
        "reason": reason_of(error),
    }
    return write(body, topic)


def component_error(device: str, error: Exception, topic: str) -> Message:
    """Report what the segmenter refused, or why it ends."""
    body: ComponentErrorMessage = {
        **envelope(device),
        "message_type": "error",
        "kind": "component",
        "error": type(error).__name__,
        "reason": reason_of(error),
    }
    return write(body, topic)


def bundle_refused(device: str, error: Exception, topic: str) -> Message:
    """Report why the model component did not activate its bundle."""
    body: BundleErrorMessage = {
        **envelope(device),
        "message_type": "error",
        "kind": "model",
        "error": type(error).__name__,
        "reason": reason_of(error),
    }
    return write(body, topic)
