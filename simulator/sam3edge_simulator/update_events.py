"""What the classic nucleus asks running components before it changes them."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass

from sam3edge_simulator.ipc.errors import InvalidArgumentsError, ServiceError
from sam3edge_simulator.ipc.service import Stream

UPDATE_PATIENCE_SECONDS = 60.0
"""How long a component may take to answer before a deployment continues without it (the default update policy)."""
VALIDATION_PATIENCE_SECONDS = 30.0
"""How long a component may take to judge its new configuration (the default validation policy)."""


class ConfigurationRejected(Exception):
    """A component does not want its new configuration, or has not said that it does."""


class UpdateNotices:
    """Deployments announced to the components, which may put them off (``DeferComponentUpdate``)."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._streams: dict[Stream, str] = {}
        self._asked: dict[tuple[str, str], int | None] = {}

    def subscribe(self, component: str, stream: Stream) -> None:
        """Tell this component of deployments until its stream is closed."""
        with self._changed:
            self._streams[stream] = component

        def forget() -> None:
            with self._changed:
                self._streams.pop(stream, None)
                for asked in [key for key in self._asked if key[0] == component]:
                    del self._asked[asked]
                self._changed.notify_all()

        stream.on_close(forget)

    def announce(self, deployment: str, patience: float) -> None:
        """Ask every subscriber whether the deployment may continue; return when all agree, or when time is up.

        Args:
            deployment: its id.
            patience: seconds for each round of answers; a component that puts the deployment off begins a new round.
        """
        while True:
            with self._changed:
                streams = dict(self._streams)
                self._asked = {(component, deployment): None for component in streams.values()}
                asked = dict(self._asked)
            for stream in streams:
                stream.send({"preUpdateEvent": {"deploymentId": deployment, "isGgcRestarting": False}})
            with self._changed:
                self._changed.wait_for(lambda: None not in self._asked.values(), patience)
                put_off = max((self._asked.get(key) or 0 for key in asked), default=0)
                self._asked.clear()
            if put_off == 0:
                return
            time.sleep(put_off / 1000)

    def defer(self, component: str, deployment: str, recheck_after_ms: int) -> None:
        """A component's answer: 0 to continue, else the milliseconds after which it wants to be asked again.

        Raises:
            InvalidArgumentsError: the component never subscribed.
            ServiceError: nobody asked, or no longer.
        """
        with self._changed:
            if component not in self._streams.values():
                raise InvalidArgumentsError("Component is not subscribed to component update events")
            if (component, deployment) not in self._asked:
                raise ServiceError("Time limit to respond to PreComponentUpdateEvent exceeded")
            self._asked[component, deployment] = recheck_after_ms
            self._changed.notify_all()

    def finished(self, deployment: str) -> None:
        """Tell every subscriber that the deployment is over."""
        with self._changed:
            streams = list(self._streams)
        for stream in streams:
            stream.send({"postUpdateEvent": {"deploymentId": deployment}})


@dataclass(frozen=True, slots=True)
class _Report:
    accepted: bool
    message: str


class ConfigurationValidation:
    """New configurations put before the components that asked to judge them."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._streams: dict[str, Stream] = {}
        self._asked: dict[str, _Report | None] = {}

    def subscribe(self, component: str, stream: Stream) -> None:
        """Ask this component until its stream is closed."""
        with self._changed:
            self._streams[component] = stream

        def forget() -> None:
            with self._changed:
                if self._streams.get(component) is stream:
                    del self._streams[component]
                if component in self._asked:
                    self._asked[component] = _Report(accepted=False, message="it went away")
                    self._changed.notify_all()

        stream.on_close(forget)

    def ask(self, component: str, deployment: str, configuration: Mapping[str, object], patience: float) -> None:
        """Put a configuration before its component, if it asked for that.

        Raises:
            ConfigurationRejected: it said no, or nothing within ``patience`` seconds.
        """
        with self._changed:
            stream = self._streams.get(component)
            if stream is None:
                return
            self._asked[component] = None
        event = {"configuration": configuration, "deploymentId": deployment}
        stream.send({"validateConfigurationUpdateEvent": event})
        with self._changed:
            self._changed.wait_for(lambda: self._asked.get(component) is not None, patience)
            report = self._asked.pop(component, None)
        if report is None:
            raise ConfigurationRejected(f"{component} did not judge its new configuration within {patience:g} s")
        if not report.accepted:
            raise ConfigurationRejected(f"{component} rejected its new configuration: {report.message}")

    def report(self, component: str, *, accepted: bool, message: str) -> None:
        """A component's judgement.

        Raises:
            InvalidArgumentsError: nobody asked, or no longer.
        """
        with self._changed:
            if component not in self._asked:
                raise InvalidArgumentsError("Validation request either timed out or was never made")
            self._asked[component] = _Report(accepted, message)
            self._changed.notify_all()
