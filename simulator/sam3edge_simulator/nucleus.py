"""The laptop nucleus: one simulated Greengrass core device.

::

    from pathlib import Path
    from sam3edge_simulator.mqtt.broker import Broker
    from sam3edge_simulator.deployment_document import Deployment
    from sam3edge_simulator.nucleus import Nucleus
    from sam3edge_simulator.profiles import LITE
    from sam3edge_simulator.states import State

    build = Path("greengrass-build")
    with Broker() as broker, Nucleus(Path(".demo/device"), broker_url=broker.url, profile=LITE) as nucleus:
        nucleus.deploy(
            Deployment(
                add={"com.example.Thing": "1.0.0"},
                recipes=build / "recipes",
                artifacts=build / "artifacts",
            )
        )
        nucleus.wait("com.example.Thing", State.RUNNING, timeout=30)
        nucleus.set_configuration("com.example.Thing", merge={"rate": 5})
        print(nucleus.component("com.example.Thing").pid)
        nucleus.rollback()
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import threading
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from sam3edge.subscriber.broker_url import BrokerUrl, TlsFiles
from sam3edge_simulator.artifacts import Packages
from sam3edge_simulator.component_log import read_log
from sam3edge_simulator.component_operations import ComponentOperations, NucleusService
from sam3edge_simulator.components import Components, ComponentStatus
from sam3edge_simulator.configuration import ConfigurationStore
from sam3edge_simulator.deployer import Deployer, Patience
from sam3edge_simulator.deployment_document import ConfigurationUpdate, Deployment, DeploymentFailed, DeploymentResult
from sam3edge_simulator.device import Device
from sam3edge_simulator.history import History, Record
from sam3edge_simulator.ipc.server import MAX_SOCKET_PATH, IpcServer
from sam3edge_simulator.local_topics import LocalTopics
from sam3edge_simulator.mqtt.cloud import CloudLink
from sam3edge_simulator.profiles import CLASSIC, Profile
from sam3edge_simulator.pubsub_operations import MessageOperations
from sam3edge_simulator.states import State, StateListener
from sam3edge_simulator.update_events import ConfigurationValidation, UpdateNotices

logger = logging.getLogger(__name__)


class Nucleus:
    """One device. All methods may be called from every thread, save from a state listener.

    A stopped one is not started again: make another one with the same folder.

    Args:
        root: its folder; what is deployed there runs again at the next start.
        broker_url: ``mqtt://`` or ``mqtts://`` address of what stands in for AWS IoT Core.
        profile: which nucleus it is.
        thing_name: name of the thing; also the MQTT client id.
        tls: certificates for ``mqtts://``.
        region: AWS region that components are told.
        credentials_url: where components get AWS credentials; empty for nowhere.
        environment: further variables for every component.
        patience: how long deployments wait.
        restart_delay: seconds before the first restart of a failed component; the profile's when None.

    Attributes:
        root: its folder, absolute.
        socket_folder: where its sockets are; the root folder if its path is short enough for a socket.
        profile: which nucleus it is.
        cloud: the connection to the broker; ``cloud.wait_connected(timeout)`` waits for it.
        ipc: the IPC server; its ``faults`` make it misbehave.
        configuration: the components' values, to be read; ``set_configuration`` changes them.
    """

    def __init__(
        self,
        root: Path,
        *,
        broker_url: str,
        profile: Profile = CLASSIC,
        thing_name: str = "laptop",
        tls: TlsFiles | None = None,
        region: str = "us-east-1",
        credentials_url: str = "",
        environment: Mapping[str, str] | None = None,
        patience: Patience | None = None,
        restart_delay: float | None = None,
    ) -> None:
        self.root = root.absolute()
        self.profile = profile
        self.socket_folder = _socket_folder(self.root)
        device = Device(
            root=self.root,
            socket=self.socket_folder / "ipc.socket",
            profile=profile,
            thing=thing_name,
            region=region,
            root_ca=tls.ca if tls is not None else None,
            credentials_url=credentials_url,
            extra=dict(environment or {}),
        )
        packages = Packages(self.root, profile)
        updates, validation = UpdateNotices(), ConfigurationValidation()
        self._history = History(self.root / "config" / "state.json")
        self.configuration = ConfigurationStore()
        self.cloud = CloudLink(BrokerUrl.parse(broker_url), thing_name, profile, tls)
        self._components = Components(
            device,
            packages,
            self.configuration,
            profile.restart_delay if restart_delay is None else restart_delay,
        )
        self._deployer = Deployer(
            profile,
            packages,
            self.configuration,
            self._components,
            self._history,
            updates,
            validation,
            patience or Patience(),
        )
        self._submitted: list[threading.Thread] = []
        operations = ComponentOperations(self, self.configuration, updates, validation, thing_name)
        messages = MessageOperations(profile, self.cloud, LocalTopics(), self.configuration, thing_name)
        service = NucleusService(profile, self, {**operations.handlers(), **messages.handlers()})
        self.ipc = IpcServer(device.socket, service, ends_streams=profile.ends_streams)

    def __enter__(self) -> Nucleus:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Connect to the broker, serve IPC, and run what was deployed before; returns without waiting for either.

        Raises:
            DeploymentRefused: what was deployed before is not in the store any more.
        """
        self.root.mkdir(parents=True, exist_ok=True)
        try:
            self.cloud.start()
            self.ipc.start()
            self._deployer.resume()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop the components, then everything else; the device remembers what it ran."""
        self._components.close()
        self.ipc.stop()
        self.cloud.stop()
        for thread in self._submitted:
            thread.join()
        if self.socket_folder != self.root:
            shutil.rmtree(self.socket_folder, ignore_errors=True)

    # ------------------------------------------------------------------ changing

    def deploy(self, deployment: Deployment) -> DeploymentResult:
        """Carry out a deployment and wait for its end.

        Raises:
            DeploymentFailed: it was refused, or a component broke; its ``result`` says what runs now.
        """
        return self._deployer.deploy(deployment)

    def rollback(self) -> DeploymentResult:
        """Undo the last deployment: versions and configuration as before it.

        Raises:
            NothingToRestore: there is none.
            DeploymentFailed: what ran before does not run any more.
        """
        return self._deployer.roll_back()

    def set_configuration(
        self, component: str, *, merge: Mapping[str, Any] | None = None, reset: tuple[str, ...] = ()
    ) -> DeploymentResult:
        """Change values of a deployed component, as a deployment that changes nothing else.

        Args:
            component: its name.
            merge: values that are merged in.
            reset: JSON pointers of values that get their defaults back first.

        Raises:
            KeyError: the component is not deployed.
            DeploymentFailed: see ``deploy``.
        """
        version = self.component(component).version
        update = ConfigurationUpdate(dict(merge or {}), reset)
        return self.deploy(Deployment(add={component: version}, configuration={component: update}))

    def restart(self, component: str) -> None:
        """Stop a component and run it again; returns at once.

        Raises:
            KeyError: it is not deployed.
        """
        self._components.restart(component)

    def restart_ipc(self) -> None:
        """As when nucleus lite's IPC daemon restarts: connections close, and tokens are void until the component that
        has one was started again."""
        self.ipc.stop()
        self._components.renew_tokens()
        self.ipc.start()

    def submit(self, deployment: Deployment) -> str:
        """Carry out a deployment in the background; returns its id."""
        number = str(uuid.uuid4())
        thread = threading.Thread(target=self._deploy_aside, args=(deployment, number), name=f"deployment-{number}")
        self._submitted.append(thread)
        thread.start()
        return number

    def _deploy_aside(self, deployment: Deployment, number: str) -> None:
        try:
            self._deployer.deploy(deployment, number)
        except DeploymentFailed as error:
            logger.warning("local deployment %s: %s", number, error)

    # ------------------------------------------------------------------ looking

    def component(self, name: str) -> ComponentStatus:
        """One component as it is now.

        Raises:
            KeyError: it is not deployed.
        """
        return self._components.status(name)

    @property
    def components(self) -> tuple[ComponentStatus, ...]:
        """All components as they are now, by name."""
        return self._components.statuses()

    @property
    def deployments(self) -> tuple[Record, ...]:
        """Deployments that a roll-back could undo, oldest first."""
        return self._history.records

    def wait(self, component: str, state: State, timeout: float) -> bool:
        """Wait until a component is in a state, or has passed through it since this was called.

        Returns:
            Whether it came to that within ``timeout`` seconds.
        """
        return self._components.wait(component, state, timeout)

    def listen(self, listener: StateListener) -> Callable[[], None]:
        """Have ``listener`` called for every change of state, from the component's thread.

        Returns:
            What ends it.
        """
        return self._components.listen(listener)

    def logs(self, component: str, last: int = 100) -> list[str]:
        """The last lines of a component's log.

        Raises:
            FileNotFoundError: it has never logged anything.
        """
        return list(read_log(self.root / "logs", component, last))

    # ------------------------------------------------------------------ what the IPC operations need

    def component_of(self, token: str) -> str | None:
        """Name of the component with a token; None when there is none."""
        return self._components.component_of(token)

    def report(self, component: str, state: State) -> None:
        """The component says what state it is in.

        Raises:
            KeyError: it is not deployed.
        """
        self._components.report(component, state)

    def configuration_changed(self) -> None:
        """A component changed its own values: remember them."""
        self._deployer.save_configuration()


def _socket_folder(root: Path) -> Path:
    """Where the IPC socket goes: the root folder, unless its path is too long for a socket."""
    if len(bytes(root / "ipc.socket")) <= MAX_SOCKET_PATH:
        return root
    return Path(tempfile.mkdtemp(prefix="nucleus-"))
