"""What the nucleus gives the segmenter: places, limits, and how often it may end."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sam3edge.greengrass.restarts import RestartBudget


@dataclass(frozen=True, slots=True)
class NucleusLimits:
    """What a nucleus carries, which its recipe knows; the configuration may say otherwise.

    Attributes:
        max_payload: bytes of one message.
        in_flight: messages that it takes at once.
        in_flight_bytes: bytes of their payloads.
        replay_messages: messages that it may have accepted and lose when it breaks down.
        probe_seconds: between two probes of the subscriptions; 0 for a nucleus that renews them itself.
    """

    max_payload: int
    in_flight: int
    in_flight_bytes: int
    replay_messages: int
    probe_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class ComponentContext:
    """What the nucleus gives a component.

    Attributes:
        device: the thing's name.
        work: the component's work folder: outbox, journal, quarantine.
        store: where the model component puts bundles.
        limits: of the nucleus.
        restarts: how often the program may end.
    """

    device: str
    work: Path
    store: Path
    limits: NucleusLimits
    restarts: RestartBudget
