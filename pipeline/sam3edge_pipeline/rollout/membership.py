"""Who the canaries are, as Greengrass knows them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sam3edge_pipeline.rollout.deployments import devices

REMEMBERED_SECONDS = 300.0


class Canaries:
    """Core devices of the canary group, asked for again after ``REMEMBERED_SECONDS``.

    A rule of IoT Core cannot ask which group a device is in; so what all devices say comes here, and what others than
    canaries say is dropped.

    Args:
        greengrass: boto3's client.
        clock: seconds.
    """

    def __init__(self, greengrass: Any, group_arn: str, clock: Callable[[], float]) -> None:
        self._greengrass = greengrass
        self._group_arn = group_arn
        self._clock = clock
        self._asked = float("-inf")
        self._known: frozenset[str] = frozenset()

    def __contains__(self, thing: object) -> bool:
        """Whether a device is a canary."""
        now = self._clock()
        if now - self._asked >= REMEMBERED_SECONDS:
            self._known = frozenset(devices(self._greengrass, self._group_arn))
            self._asked = now
        return thing in self._known
