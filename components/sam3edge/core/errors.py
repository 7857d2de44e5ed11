"""Everything that can go wrong, by what has to be done about it.

    Sam3EdgeError
    ├── SettingsError      the configuration is refused; the settings before it stay in force
    ├── FrameError         this image is bad: quarantine it, report it, continue
    ├── GeoreferenceError  nobody knows where on Earth this frame is: publish it in pixels, report it, continue
    ├── PromptError        a prompt that this model does not support: report it, continue with the others
    ├── BundleError        a bundle is refused; the last good one stays active
    ├── EngineError        the model cannot run: leave with a non-zero status, the nucleus restarts or rolls back
    │   └── ModelMissing   no model was deployed yet: wait for one
    ├── EndpointError      no response from the cloud: the device's own detections are taken
    │   └── NotAsked       it was not even asked: budget, circuit breaker
    ├── VectorFileError    a file of features cannot be read, or not written: nothing of it is left
    ├── UploadError        an example was not uploaded: it stays on the device and is tried again
    ├── MessageRefused     a device's message is not as its schema says: report it, acknowledge it, continue
    ├── SubscriptionError  a broker does not let a subscriber in, or what arrives cannot be kept: end; it comes again
    └── PublishError       not delivered: the message stays in the outbox and is tried again
        ├── PublishRejected  this very message is refused, and would be every time: it is set aside
        ├── DeliveryStuck    a message has been refused for a long time: it is reported, and tried on
        ├── MessageTooLarge  no outbox of this size can ever hold it: the frame is rejected
        ├── OutboxFull     nothing more can be accepted now; whoever can wait has to
        └── ConnectionLost the nucleus is gone for good on this connection: leave with a non-zero status

Foreign exceptions are mapped to these at the adapters' edges with ``raise ... from``. Functions raise; they do not
return success flags. A message says what was expected, got what, and what to do.
"""

from __future__ import annotations

from typing import Literal


class Sam3EdgeError(Exception):
    """Base of every error that this project raises on purpose."""


class SettingsError(Sam3EdgeError):
    """A component configuration was refused."""


class FrameError(Sam3EdgeError):
    """One image cannot be segmented.

    Args:
        reason: what was expected, got what, what to do.
        frame_id: identity of the frame, or of the file that never became one.
        name: what a person calls the image (a file name, a camera and sequence number).
    """

    def __init__(self, reason: str, *, frame_id: str, name: str) -> None:
        super().__init__(reason)
        self.frame_id = frame_id
        self.name = name


class GeoreferenceError(Sam3EdgeError):
    """The pixels of a frame have no place on Earth, or not with what is known of the camera."""


class PromptError(Sam3EdgeError):
    """The active model does not support a prompt."""


class BundleError(Sam3EdgeError):
    """A model bundle was refused."""


class EngineError(Sam3EdgeError):
    """The model cannot run on this device."""


class ModelMissing(EngineError):
    """There is no model on this device yet."""


class ThreadDied(Sam3EdgeError):
    """A thread of a running program has ended with an error that nobody expected."""


EndpointFailure = Literal[
    "bad_request", "too_large", "unanswerable", "denied", "busy", "not_ready", "unreachable", "timeout", "failed"
]
"""How asking an endpoint fails: it refuses the request (the first three), does not let this client ask (``denied``),
cannot respond now, cannot be reached, takes too long, or fails itself."""


class EndpointError(Sam3EdgeError):
    """A model elsewhere did not respond, or its response is not valid.

    Args:
        reason: what was expected, got what.
        failure: the kind of failure.
        said: what the endpoint itself said, for whoever asked; empty when it said nothing that can be passed on.
        retryable: whether the same request may well succeed in a moment.
        retry_after: seconds after which the endpoint wants to be asked again; None when it did not say.
    """

    def __init__(
        self,
        reason: str,
        *,
        failure: EndpointFailure = "failed",
        said: str = "",
        retryable: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(reason)
        self.failure = failure
        self.said = said
        self.retryable = retryable
        self.retry_after = retry_after


class NotAsked(EndpointError):
    """The endpoint was left alone: the budget is spent, or it failed too often just now."""


UploadFailure = Literal["offline", "busy", "denied", "refused", "unknown_upload", "stopped"]
"""How uploading fails: nobody answers; the store asks for patience or fails itself; it does not let this device, or not
with this configuration; it refuses this very object; it has forgotten an upload in parts; this program is to end."""


class UploadError(Sam3EdgeError):
    """An object did not reach its bucket.

    Args:
        reason: what was expected, got what.
        failure: the kind of failure.
        retry_after: seconds after which the store wants to be asked again; None when it did not say.
    """

    def __init__(self, reason: str, *, failure: UploadFailure, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.failure = failure
        self.retry_after = retry_after


class VectorFileError(Sam3EdgeError):
    """A file of features with geometries cannot be read, or cannot be written."""


class MessageRefused(Sam3EdgeError):
    """What arrived from a device is not a message of a schema that is known here."""


class SubscriptionError(Sam3EdgeError):
    """A subscriber cannot go on: the broker refuses it, or its files cannot be written. What was not acknowledged comes
    again."""


class PublishError(Sam3EdgeError):
    """A message was not delivered."""


class OutboxFull(PublishError):
    """The outbox has no room for what was to be accepted."""


class PublishRejected(PublishError):
    """A message is refused for what it is (its size, its topic), not for the state of the connection."""


class DeliveryStuck(PublishError):
    """A message has been refused for a long time, for a reason that may pass."""


class MessageTooLarge(PublishError):
    """A message exceeds what a nucleus carries or what the whole outbox holds: it can never be accepted."""


class ConnectionLost(PublishError):
    """The connection to the nucleus is closed and will not come back."""
