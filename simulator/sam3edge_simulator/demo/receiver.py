"""A consumer as a user would write one: subscribes, drops repetitions by id, puts the parts of an answer together."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from sam3edge.subscriber.reassembly import Reassembly

TOPICS = ("detections", "errors", "status")
"""What is listened to; on others there are commands, which nobody has to know of here."""


@dataclass(frozen=True, slots=True)
class Received:
    """What has arrived for one frame.

    Attributes:
        name: of the frame.
        topic: where it came from.
        parts: messages as they came, by id; the error report alone for a frame that could not be used.
        whole: the detections as one message, once all of them are there.
        reason: why the frame could not be used; empty for an answer.
    """

    name: str
    topic: str
    parts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    whole: Mapping[str, Any] | None = None
    reason: str = ""

    @property
    def complete(self) -> bool:
        """Whether nothing more is to come."""
        return self.whole is not None or bool(self.reason)

    @property
    def features(self) -> list[dict[str, Any]]:
        """Every found object."""
        return list((self.whole or {}).get("features", []))

    @property
    def timing(self) -> dict[str, float]:
        """Milliseconds by stage."""
        return dict((self.whole or {}).get("timing", {}))

    @property
    def unsupported_prompts(self) -> dict[str, str]:
        """Prompts that the model cannot answer, with the reason."""
        return dict((self.whole or {}).get("unsupported_prompts", {}))


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
        self._reassembly = Reassembly()
        self._frames: dict[str, Received] = {}
        self.repetitions = 0
        self.component_errors: list[str] = []
        self.model = ""
        """Digest of the model that the segmenter runs, as its last heartbeat says."""
        self._subscribed = threading.Event()
        topics = [(f"sam3edge/{thing}/{name}", 1) for name in TOPICS]
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="sam3edge-demo-consumer")
        self._client.on_connect = lambda client, *_: client.subscribe(topics)
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
            if self._reassembly.knows(body):
                self.repetitions += 1
                return
            whole = self._reassembly.take(body)
        if topic.endswith("/detections"):
            self._answer(topic, body, payload, whole)
        elif topic.endswith("/errors"):
            if body["kind"] == "frame":
                self._finish(Received(body["frame"]["name"], topic, {body["id"]: body}, reason=body["reason"]))
            else:
                self.component_errors.append(body["reason"])
        elif topic.endswith("/status"):
            self.model = (body.get("model") or {}).get("digest", "")

    def _answer(self, topic: str, body: dict[str, Any], payload: bytes, whole: Mapping[str, Any] | None) -> None:
        name, part = body["frame"]["name"], body["part"]
        suffix = "" if part["count"] == 1 else f".part{part['index']}"
        if "piece" in part:
            suffix += f".piece{part['piece']}of{part['pieces']}"
        path = self._folder / f"{name}{suffix}.geojson"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(payload)
        with self._lock:
            known = self._frames.get(name, Received(name, topic))
            self._frames[name] = received = replace(known, parts={**known.parts, body["id"]: body}, whole=whole)
        if whole is not None:
            self._arrived(received)

    def _finish(self, received: Received) -> None:
        with self._lock:
            self._frames[received.name] = received
        self._arrived(received)
