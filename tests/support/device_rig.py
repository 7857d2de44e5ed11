"""A whole device in a test: laptop nucleus, broker, the packaged components, a consumer."""

from __future__ import annotations

import json
import random
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

import sam3edge
from sam3edge.bundle.manifest import read_manifest
from sam3edge.subscriber.reassembly import Reassembly
from sam3edge_pipeline.greengrass_build.build import ARTIFACT_LIMIT, NAMES, build_component
from sam3edge_pipeline.synthetic import draw_scene
from sam3edge_simulator.deployer import Patience
from sam3edge_simulator.deployment_document import ConfigurationUpdate, Deployment, FailurePolicy
from sam3edge_simulator.mqtt.broker import Broker
from sam3edge_simulator.mqtt.tcp_proxy import TcpProxy
from sam3edge_simulator.nucleus import Nucleus
from sam3edge_simulator.profiles import Profile
from sam3edge_simulator.states import State

SEGMENTER, MODEL, UPLOADER = NAMES["segmenter"], NAMES["model"], NAMES["uploader"]
PATIENCE = 90.0


class Consumer:
    """Counts how often every message id came, and keeps the first of each."""

    def __init__(self, port: int) -> None:
        self._lock = threading.Lock()
        self.times: Counter[str] = Counter()
        self._bodies: dict[str, tuple[str, dict[str, Any]]] = {}
        self._subscribed = threading.Event()
        self._client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="consumer", clean_session=False)
        self._client.reconnect_delay_set(0.2, 1)
        self._client.on_connect = lambda client, *_: client.subscribe("sam3edge/#", qos=1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = lambda _client, _data, message: self._take(message.topic, message.payload)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert self._subscribed.wait(20)

    def _take(self, topic: str, payload: bytes) -> None:
        body = json.loads(payload)
        with self._lock:
            self.times[body["id"]] += 1
            self._bodies.setdefault(body["id"], (topic, body))

    def on(self, topic: str) -> list[dict[str, Any]]:
        """First deliveries on ``sam3edge/<thing>/<topic>``."""
        with self._lock:
            return [body for where, body in self._bodies.values() if where.split("/", 2)[2] == topic]

    def status(self) -> dict[str, Any]:
        """The last heartbeat; empty before the first."""
        beats = self.on("status")
        return beats[-1] if beats else {}

    def prompts(self) -> list[str]:
        """What the last heartbeat says is looked for."""
        return [prompt["text"] for prompt in self.status().get("prompts", [])]

    def names(self) -> Counter[str]:
        """How many frames of each name came whole. A frame may come in parts, and these in pieces."""
        reassembly = Reassembly()
        whole = [frame for body in self.on("detections") if (frame := reassembly.take(body)) is not None]
        return Counter(frame["frame"]["name"] for frame in whole)

    def was_told(self, reason: str) -> bool:
        """Whether an error gives this reason, a regular expression."""
        return any(re.search(reason, error["reason"]) for error in self.on("errors"))

    def send(self, topic: str, body: dict[str, Any]) -> None:
        """Publish to the device."""
        self._client.publish(topic, json.dumps(body), qos=1).wait_for_publish(20)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class Rig:
    """Everything, and the handles that tests pull."""

    def __init__(
        self,
        root: Path,
        bundle: Path,
        profile: Profile,
        credentials_url: str = "",
        prompts: Sequence[str] = ("metal tag",),
        broker: Broker | None = None,
    ) -> None:
        self.root, self.bundle, self.prompts = root, bundle, list(prompts)
        self.build = root / "greengrass-build"
        self.watched = root / "watched"
        self.watched.mkdir()
        self.broker = broker or Broker()
        self.broker.start()
        self.cable = TcpProxy(self.broker.url)
        self.cable.plug()
        self.consumer = Consumer(self.broker.port)
        self.nucleus = Nucleus(
            root / "device",
            broker_url=self.cable.url,
            profile=profile,
            thing_name="line-7",
            credentials_url=credentials_url,
            restart_delay=0.2,
            patience=Patience(start_period=0.5),  # a program of ours needs longer than this to refuse anything
        )
        self.nucleus.start()
        build_component("segmenter", self.build, sam3edge.__version__, "BUCKET_NAME")

    def deploy_model(
        self,
        bundle: Path | None = None,
        artifact_limit: int = ARTIFACT_LIMIT,
        on_failure: FailurePolicy = FailurePolicy.ROLLBACK,
        **keys: Any,
    ) -> None:
        bundle = bundle or self.bundle
        version = read_manifest(bundle).version
        build_component("model", self.build, version, "BUCKET_NAME", bundle, artifact_limit)
        self.nucleus.deploy(self._deployment(MODEL, version, keys, on_failure))

    def deploy_segmenter(self, **keys: Any) -> None:
        source = {"Type": "folder", "Path": str(self.watched), "RescanSeconds": 1, **keys.pop("Source", {})}
        merge = {"Prompts": self.prompts, "Source": source, "HeartbeatSeconds": 1, "Threads": 1, **keys}
        self.nucleus.deploy(self._deployment(SEGMENTER, sam3edge.__version__, merge))
        assert self.nucleus.wait(SEGMENTER, State.RUNNING, PATIENCE)

    def deploy_uploader(self, **keys: Any) -> None:
        build_component("uploader", self.build, sam3edge.__version__, "BUCKET_NAME")
        self.nucleus.deploy(self._deployment(UPLOADER, sam3edge.__version__, {"HeartbeatSeconds": 1, **keys}))
        assert self.nucleus.wait(UPLOADER, State.RUNNING, PATIENCE)

    def _deployment(
        self, name: str, version: str, merge: dict[str, Any], on_failure: FailurePolicy = FailurePolicy.ROLLBACK
    ) -> Deployment:
        update = ConfigurationUpdate(merge={"Install": {"Interpreter": sys.executable}, **merge})
        return Deployment(
            add={name: version},
            configuration={name: update},
            recipes=self.build / "recipes",
            artifacts=self.build / "artifacts",
            on_failure=on_failure,
        )

    def put(self, *names: str) -> None:
        """Small pictures, each different, arriving as a careful writer leaves them."""
        for name in names:
            image = np.full((96, 128, 3), random.Random(name).randrange(256), np.uint8)
            cv2.putText(image, name, (4, 50), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255))
            self.put_bytes(name, cv2.imencode(".png", image)[1].tobytes())

    def put_scene(self, name: str, seed: int) -> None:
        self.put_bytes(name, cv2.imencode(".png", draw_scene(seed).image[..., ::-1])[1].tobytes())

    def put_bytes(self, name: str, content: bytes) -> None:
        partial = self.watched / f".{name}.part"
        partial.write_bytes(content)
        partial.rename(self.watched / name)

    def wait(self, condition: Callable[[], object], patience: float = PATIENCE) -> None:
        deadline = time.monotonic() + patience
        while not condition():
            if time.monotonic() > deadline:
                logger = "\n".join(self.nucleus.logs(SEGMENTER, 30))
                raise AssertionError(f"waited {patience} s; the segmenter's log ends:\n{logger}")
            time.sleep(0.05)

    def close(self) -> None:
        self.nucleus.stop()
        self.consumer.close()
        self.cable.cut()
        self.broker.stop()
