"""All MQTT topics of a device."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sam3edge.core.errors import SettingsError

DETECTIONS = "detections"
EVENTS = "events"
ERRORS = "errors"
STATUS = "status"
MODEL_STATUS = "status/model"
UPLOADER_STATUS = "status/uploader"
COMMANDS = "commands"
COMMAND_RESPONSES = "commands/response"
SNAPSHOTS = "snapshots"
PING = "ping"

NAMES = (
    DETECTIONS,
    EVENTS,
    ERRORS,
    STATUS,
    MODEL_STATUS,
    UPLOADER_STATUS,
    COMMANDS,
    COMMAND_RESPONSES,
    SNAPSHOTS,
    PING,
)
"""What follows the prefix."""

DEFAULT_PREFIX = "sam3edge/{thing}"

_THING = re.compile(r"[^/+#\s\x00-\x1f\x7f\ud800-\udfff]{1,128}")


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics below one prefix: ``{prefix}/{name}``.

    Attributes:
        prefix: topic levels without wildcards, without a slash at either end.
    """

    prefix: str

    @property
    def detections(self) -> str:
        """What was found."""
        return f"{self.prefix}/{DETECTIONS}"

    @property
    def events(self) -> str:
        """What happened to tracks, and counts."""
        return f"{self.prefix}/{EVENTS}"

    @property
    def errors(self) -> str:
        """Frames, configurations and bundles that were refused, and failures."""
        return f"{self.prefix}/{ERRORS}"

    @property
    def status(self) -> str:
        """The heartbeat."""
        return f"{self.prefix}/{STATUS}"

    @property
    def model_status(self) -> str:
        """Bundles that were activated."""
        return f"{self.prefix}/{MODEL_STATUS}"

    @property
    def uploader_status(self) -> str:
        """The uploader's heartbeat."""
        return f"{self.prefix}/{UPLOADER_STATUS}"

    @property
    def commands(self) -> str:
        """Commands to the device."""
        return f"{self.prefix}/{COMMANDS}"

    @property
    def command_responses(self) -> str:
        """What became of each command."""
        return f"{self.prefix}/{COMMAND_RESPONSES}"

    @property
    def ping(self) -> str:
        """Where the device's probes go and come back."""
        return f"{self.prefix}/{PING}"

    @property
    def snapshots(self) -> str:
        """Images that a command asked for."""
        return f"{self.prefix}/{SNAPSHOTS}"


def topics_of(device: str, prefix: str = "") -> Topics:
    """The topics of a device.

    Args:
        device: the thing's name.
        prefix: instead of ``sam3edge/<thing>``.

    Raises:
        SettingsError: there is no thing name, or it cannot be a level of a topic.
    """
    if not device:
        raise SettingsError("AWS_IOT_THING_NAME is not set; this program is started by a Greengrass nucleus")
    if not _THING.fullmatch(device):
        raise SettingsError(
            "expected a thing name of at most 128 characters without spaces, slashes, + and #, "
            f"got {device[:128]!r}; correct AWS_IOT_THING_NAME"
        )
    return Topics(prefix or DEFAULT_PREFIX.format(thing=device))
