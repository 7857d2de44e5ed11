"""A consumer as a user would write one: subscribes, drops repetitions by id, puts the parts of an answer together."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion


@dataclass(frozen=True, slots=True)
class Received:
    """What has arrived for one frame.

    Attributes:
        name: of the frame.
        topic: where it came from.
        parts: payloads by part and piece; the error report as the only part for a frame that could not be used.
        count: parts there must be.
        reason: why the frame could not be used; empty for an answer.
    """

    name: str
    topic: str
    parts: dict[tuple[int, Fraction], dict[str, Any]] = field(default_factory=dict)
    count: int = 1
    reason: str = ""

    @property
    def complete(self) -> bool:
        """Whether every part is there, in one piece or in several whose shares add up."""
        return sum(Fraction(1, body.get("part", {}).get("pieces", 1)) for body in self.parts.values()) == self.count

    @property
    def features(self) -> list[dict[str, Any]]:
        """Every found object, over all parts."""
        return [f for place in sorted(self.parts) for f in self.parts[place].get("features", [])]

    @property
    def timing(self) -> dict[str, float]:
        """Milliseconds by stage."""
        first = next(iter(self.parts.values()), {})
        return dict(first.get("timing", {}))

    @property
    def unsupported_prompts(self) -> dict[str, str]:
        """Prompts that the model cannot answer, with the reason."""
        first = next(iter(self.parts.values()), {})
        return dict(first.get("unsupported_prompts", {}))


class Receiver:
    """Listens to a device's topics and keeps what comes.

    Args:
        url: ``mqtt://host:port``.
        folder: every detections message is written there as GeoJSON.
        arrived: called with a frame's name and what has arrived, once all of it has; from the network thread.
    """

    def __init__(self, url: str, thing: str, folder: Path, arrived: Callable[[Received], None]) -> None:
        self._folder = folder
        self._arrived = arrived
        self._lock = threading.Lock()
        self._seen: set[str] = set()
        self._frames: dict[str, Received] = {}
        self.repetitions = 0
        self.component_errors: list[str] = []
        self.model = ""
        """Digest of the model that the segmenter runs, as its last heartbeat says."""
        self._subscribed = threading.Event()
        self._topic = f"sam3edge/{thing}/#"
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="sam3edge-demo-consumer")
        self._client.on_connect = lambda client, *_: client.subscribe(self._topic, qos=1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = lambda _client, _data, message: self._take(message.topic, bytes(message.payload))
        address = urlparse(url)
        self._client.connect(address.hostname or "127.0.0.1", address.port or 1883)
        self._client.loop_start()

    def wait_subscribed(self, timeout: float) -> bool:
        """Whether the broker has confirmed the subscription in time."""
        return self._subscribed.wait(timeout)

    def frames(self) -> dict[str, Received]:
        """What has arrived so far, by frame name."""
        with self._lock:
            return dict(self._frames)

    def close(self) -> None:
        """Disconnect."""
        self._client.disconnect()
        self._client.loop_stop()

    def _take(self, topic: str, payload: bytes) -> None:
        body = json.loads(payload)
        with self._lock:
            if body["id"] in self._seen:
                self.repetitions += 1
                return
            self._seen.add(body["id"])
        if topic.endswith("/detections"):
            self._answer(topic, body, payload)
        elif topic.endswith("/errors"):
            if body["kind"] == "frame":
                name = body["frame"]["name"]
                self._finish(Received(name, topic, {(0, Fraction(0)): body}, reason=body["reason"]))
            else:
                self.component_errors.append(body["reason"])
        elif topic.endswith("/status"):
            self.model = (body.get("model") or {}).get("digest", "")

    def _answer(self, topic: str, body: dict[str, Any], payload: bytes) -> None:
        name, part = body["frame"]["name"], body["part"]
        suffix = "" if part["count"] == 1 else f".part{part['index']}"
        if "piece" in part:
            suffix += f".piece{part['piece']}of{part['pieces']}"
        path = self._folder / f"{name}{suffix}.geojson"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(payload)
        with self._lock:
            known = self._frames.get(name) or Received(name, topic, {}, part["count"])
            self._frames[name] = known
            known.parts[part["index"], Fraction(part.get("piece", 0), part.get("pieces", 1))] = body
            complete = known.complete
        if complete:
            self._arrived(known)

    def _finish(self, received: Received) -> None:
        with self._lock:
            self._frames[received.name] = received
        self._arrived(received)
