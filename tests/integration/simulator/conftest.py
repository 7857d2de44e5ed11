"""A build folder that tests fill with components, a broker, and devices that are stopped at the end."""

from __future__ import annotations

import json
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import awsiot.greengrasscoreipc
import paho.mqtt.client as mqtt
import pytest
from awsiot.greengrasscoreipc.clientv2 import GreengrassCoreIPCClientV2

from sam3edge.subscriber.broker_url import BrokerUrl, TlsFiles
from sam3edge_simulator.deployer import Patience
from sam3edge_simulator.deployment_document import Deployment
from sam3edge_simulator.mqtt.broker import Broker
from sam3edge_simulator.nucleus import Nucleus
from sam3edge_simulator.profiles import CLASSIC, Profile
from support.waiting import lines_of

ANYWHERE = {"os": "linux", "runtime": "*"}
ALL_TOPICS = {
    "aws.greengrass.ipc.mqttproxy": {
        "all": {
            "operations": ["aws.greengrass#PublishToIoTCore", "aws.greengrass#SubscribeToIoTCore"],
            "resources": ["*"],
        }
    }
}


class Build:
    """What ``gdk component build`` leaves behind: ``recipes/`` and ``artifacts/<component>/<version>/``."""

    def __init__(self, folder: Path) -> None:
        self.recipes = folder / "recipes"
        self.artifacts = folder / "artifacts"
        self.recipes.mkdir(parents=True)
        self.artifacts.mkdir()

    def add(
        self,
        name: str,
        version: str = "1.0.0",
        *,
        lifecycle: Mapping[str, Any],
        defaults: Mapping[str, Any] | None = None,
        dependencies: Mapping[str, Any] | None = None,
        program: str | None = None,
    ) -> Build:
        """Write a recipe, and the archive ``code.zip`` with ``main.py`` when there is a program."""
        manifest: dict[str, Any] = {"Platform": ANYWHERE, "Lifecycle": dict(lifecycle)}
        if program is not None:
            folder = self.artifacts / name / version
            folder.mkdir(parents=True, exist_ok=True)
            with zipfile.ZipFile(folder / "code.zip", "w") as archive:
                archive.writestr("main.py", program)
            manifest["Artifacts"] = [{"Uri": f"s3://bucket/{name}/{version}/code.zip", "Unarchive": "ZIP"}]
        recipe = {
            "RecipeFormatVersion": "2020-01-25",
            "ComponentName": name,
            "ComponentVersion": version,
            "ComponentConfiguration": {"DefaultConfiguration": dict(defaults or {})},
            "ComponentDependencies": dict(dependencies or {}),
            "Manifests": [manifest],
        }
        (self.recipes / f"{name}-{version}.json").write_text(json.dumps(recipe))
        return self

    def idle(self, name: str, access: Mapping[str, Any] | None = None, **more: Any) -> Build:
        """A component that only notes its token, so that a test can speak for it."""
        defaults = {**more.pop("defaults", {}), "accessControl": ALL_TOPICS if access is None else access}
        run = more.pop("run", "printenv SVCUID > token; exec sleep 600")
        return self.add(name, lifecycle={"run": run}, defaults=defaults, **more)

    def python(self, name: str, program: str, version: str = "1.0.0", **more: Any) -> Build:
        """A component that runs a Python program with this interpreter."""
        run = f'exec "{sys.executable}" -u {{artifacts:decompressedPath}}/code/main.py'
        return self.add(name, version, lifecycle={"run": run}, program=program, **more)

    def deployment(self, *names: str, version: str = "1.0.0", **more: Any) -> Deployment:
        """A deployment of components of this build; nobody is asked first unless ``notify_seconds`` says so."""
        more.setdefault("notify_seconds", 0.0)
        return Deployment(add=dict.fromkeys(names, version), recipes=self.recipes, artifacts=self.artifacts, **more)


@pytest.fixture
def build(tmp_path: Path) -> Build:
    return Build(tmp_path / "build")


@pytest.fixture
def broker() -> Iterator[Broker]:
    with Broker() as running:
        yield running


@pytest.fixture
def device(tmp_path: Path, broker: Broker) -> Iterator[Callable[..., Nucleus]]:
    """Makes started devices; each is stopped at the end of the test."""
    started: list[Nucleus] = []

    def make(profile: Profile = CLASSIC, *, root: str = "device", **more: Any) -> Nucleus:
        more.setdefault("broker_url", broker.url)
        more.setdefault("patience", Patience(start_period=0.05, settle=60.0))
        more.setdefault("restart_delay", 0.05)
        nucleus = Nucleus(tmp_path / root, profile=profile, **more)
        started.append(nucleus)
        nucleus.start()
        return nucleus

    yield make
    for nucleus in started:
        nucleus.stop()


class Clients:
    """Real SDK clients that speak for deployed components."""

    def __init__(self) -> None:
        self._open: list[GreengrassCoreIPCClientV2] = []

    def connect(self, nucleus: Nucleus, component: str) -> GreengrassCoreIPCClientV2:
        """A client with the component's token; the component must be one of ``Build.idle``."""
        token = lines_of(nucleus.root / "work" / component / "token")[0]
        connection = awsiot.greengrasscoreipc.connect(ipc_socket=str(nucleus.ipc.path), authtoken=token)
        client = GreengrassCoreIPCClientV2(client=connection)
        self._open.append(client)
        return client

    def close(self) -> None:
        """Close every client; one whose connection was cut says so, which is not a concern here."""
        for client in self._open:
            closed = client.close()
            closed.exception(timeout=30)


@pytest.fixture
def clients() -> Iterator[Clients]:
    opened = Clients()
    yield opened
    opened.close()


class Subscriber:
    """Somebody in the cloud who listens to a broker."""

    def __init__(self, url: BrokerUrl, pattern: str = "#", tls: TlsFiles | None = None) -> None:
        self.messages: list[tuple[str, bytes]] = []
        self._changed = threading.Condition()
        self._subscribed = threading.Event()
        self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        if tls is not None:
            self._client.tls_set_context(tls.context())
        self._client.on_connect = lambda client, *_: client.subscribe(pattern, qos=1)
        self._client.on_subscribe = lambda *_: self._subscribed.set()
        self._client.on_message = self._on_message
        self._client.connect(url.host, url.port)
        self._client.loop_start()
        assert self._subscribed.wait(30)

    def _on_message(self, _client: object, _data: object, message: mqtt.MQTTMessage) -> None:
        with self._changed:
            self.messages.append((message.topic, bytes(message.payload)))
            self._changed.notify_all()

    def wait(self, count: int, timeout: float = 30.0) -> list[tuple[str, bytes]]:
        """The messages, once there are ``count`` of them."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.messages) >= count, timeout), self.messages
            return list(self.messages)

    def publish(self, topic: str, payload: bytes) -> None:
        """Send a message to the devices, and wait until the broker has it."""
        self._client.publish(topic, payload, qos=1).wait_for_publish(30)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def cloud(broker: Broker) -> Iterator[Subscriber]:
    subscriber = Subscriber(BrokerUrl.parse(broker.url))
    yield subscriber
    subscriber.close()
