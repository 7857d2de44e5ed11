"""Which devices are there: those that were heard of lately, by this computer's clock, as theirs may be wrong."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from sam3edge.subscriber.reading import DeviceMessage

MISSED_BEATS = 3
"""A device is not there any more when so many heartbeats have not come."""

HEARTBEAT_SECONDS = 30.0
"""Between two of them, where they do not say it themselves."""

MAX_DEVICES = 1000
"""Of more, one is forgotten that is not there, or else the one that was heard of longest ago."""

_SLACK_SECONDS = 10.0


@dataclass(slots=True)
class _Known:
    here: bool = True
    heartbeat_seconds: float = HEARTBEAT_SECONDS
    heard_at: float = 0.0


class Presence:
    """See the module.

    Args:
        offline_seconds: of silence, until a device is not there any more; 0 for what ``MISSED_BEATS`` take.
        clock: seconds, monotonic.
        max_devices: that are known at a time.
    """

    def __init__(
        self,
        offline_seconds: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
        max_devices: int = MAX_DEVICES,
    ) -> None:
        self._offline_seconds = offline_seconds
        self._clock = clock
        self._max_devices = max_devices
        self._devices: dict[str, _Known] = {}  # the one that was heard of longest ago first

    def hear(self, device: str, message: DeviceMessage) -> list[str]:
        """That a device has sent a message; returns who was forgotten for it."""
        known = self._devices.pop(device, None) or _Known()
        known.heard_at = self._clock()
        known.here = True
        if message["message_type"] == "status":
            known.here = message["state"] != "stopping"
            known.heartbeat_seconds = message.get("heartbeat_seconds", HEARTBEAT_SECONDS)
        self._devices[device] = known
        if len(self._devices) <= self._max_devices:
            return []
        forgotten = next((one for one, known in self._devices.items() if not known.here), next(iter(self._devices)))
        del self._devices[forgotten]
        return [forgotten]

    def learn(self, device: str, here: bool) -> bool:
        """That a device was there or not, by what is known from before; it counts as heard of now, and nobody is
        forgotten for it.

        Returns:
            Whether the device is known now.
        """
        if device not in self._devices and len(self._devices) < self._max_devices:
            self._devices[device] = _Known(here, heard_at=self._clock())
        return device in self._devices

    def forget(self, device: str) -> None:
        """As if it had never been heard of."""
        self._devices.pop(device, None)

    def is_here(self, device: str) -> bool:
        """Whether it was heard of lately."""
        known = self._devices.get(device)
        return known is not None and known.here

    def take_silent(self) -> list[str]:
        """Devices that were there, and have been silent for too long since this was asked last."""
        now = self._clock()
        silent = [one for one, known in self._devices.items() if known.here and now - known.heard_at > self._for(known)]
        for device in silent:
            self._devices[device].here = False
        return silent

    def _for(self, known: _Known) -> float:
        return self._offline_seconds or MISSED_BEATS * known.heartbeat_seconds + _SLACK_SECONDS
