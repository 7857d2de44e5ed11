"""What bridges are given, and what who listens to them knows then."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sam3edge.subscriber.connection import Outgoing
from support.device_messages import WHOLE


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def frame(prompts: dict[str, str], found: Iterable[tuple[str, list[str]]] = (), **changes: Any) -> dict[str, Any]:
    """Prompts with their labels, and what was found: label and zones, each by the prompt of that label."""
    texts = {label: text for text, label in prompts.items()}
    [first, *_] = WHOLE["features"]
    features = [
        {
            **first,
            "properties": {
                **first["properties"],
                "label": label,
                "prompt": texts.get(label, next(iter(prompts), "")),
                "zones": zones,
            },
        }
        for label, zones in found
    ]
    asked = [{**WHOLE["prompts"][0], "text": text, "label": label} for text, label in prompts.items()]
    return {**WHOLE, "prompts": asked, "features": features, **changes}


def counted(published: Iterable[Outgoing]) -> dict[str, str]:
    """What who listens to Frigate's counts knows then."""
    published = list(published)
    assert not any(one.retain for one in published if not one.topic.endswith("/available"))
    return {one.topic: one.payload.decode() for one in published}


def retained(published: Iterable[Outgoing]) -> dict[str, str]:
    """What a broker has then."""
    kept: dict[str, str] = {}
    for one in published:
        if one.retain:
            kept[one.topic] = one.payload.decode()
    return {topic: payload for topic, payload in kept.items() if payload}
