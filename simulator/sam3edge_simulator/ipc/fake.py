"""A nucleus in memory for tests of what talks to one: no processes, no broker, everything recorded."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from paho.mqtt.client import topic_matches_sub

from sam3edge_simulator.configuration import ConfigurationClash, ConfigurationMissing, ConfigurationStore
from sam3edge_simulator.ipc import fields
from sam3edge_simulator.ipc.errors import (
    ConnectionDropped,
    InvalidArgumentsError,
    InvalidTokenError,
    ResourceNotFoundError,
    ServiceError,
)
from sam3edge_simulator.ipc.service import Answer, Request, Stream
from sam3edge_simulator.mqtt.topics import TopicError, check_filter, check_topic


@dataclass(frozen=True, slots=True)
class Published:
    """One message that a component published.

    Attributes:
        component: who published it.
        topic: where to.
        payload: the bytes as given.
        qos: 0 or 1; -1 for a local (pubsub) message.
    """

    component: str
    topic: str
    payload: bytes
    qos: int


class FakeNucleus:
    """Answers the operations that both nuclei have; every other one is a ServiceError, as on nucleus lite.

    A component's token is its name. What is published to IoT Core reaches the components that subscribed to it, as over
    a broker. Used by several threads at once.

    Args:
        configuration: values by component name.
        largest_publish: bytes; a larger PublishToIoTCore closes the connection as on nucleus lite (7,300 there), or is
            a ServiceError when ``drops_large`` is False.
        drops_large: see ``largest_publish``.

    Attributes:
        configuration: the components' values, changeable at any time: subscribers hear of it.
        online: set to False to refuse PublishToIoTCore with ServiceError, as nucleus lite does without a broker.
    """

    def __init__(
        self,
        configuration: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        largest_publish: int = 128 * 1024,
        drops_large: bool = False,
    ) -> None:
        self.configuration = ConfigurationStore()
        self.online = True
        for component, values in (configuration or {}).items():
            self.configuration.merge(component, values)
        self._largest_publish = largest_publish
        self._drops_large = drops_large
        self._changed = threading.Condition()
        self._published: list[Published] = []
        self._states: list[tuple[str, str]] = []
        self._cloud_streams: dict[Stream, str] = {}
        self._local_streams: dict[Stream, str] = {}
        self._operations: Mapping[str, Callable[[Request], Answer]] = {
            "GetConfiguration": self._get_configuration,
            "UpdateConfiguration": self._update_configuration,
            "SubscribeToConfigurationUpdate": self._watch_configuration,
            "UpdateState": self._update_state,
            "PublishToIoTCore": self._publish_to_cloud,
            "SubscribeToIoTCore": self._subscribe_to_cloud,
            "PublishToTopic": self._publish_locally,
            "SubscribeToTopic": self._subscribe_locally,
        }

    @property
    def published(self) -> tuple[Published, ...]:
        """Every message accepted so far, to IoT Core and local, in order."""
        with self._changed:
            return tuple(self._published)

    @property
    def states(self) -> tuple[tuple[str, str], ...]:
        """Component and state of every UpdateState so far, in order."""
        with self._changed:
            return tuple(self._states)

    @property
    def subscriptions(self) -> tuple[str, ...]:
        """Filters that are subscribed to at IoT Core now, one per stream, sorted."""
        with self._changed:
            return tuple(sorted(self._cloud_streams.values()))

    def wait(self, condition: Callable[[FakeNucleus], bool], timeout: float = 30.0) -> bool:
        """Wait until ``condition`` holds, looking at it after every change of what is recorded here.

        Returns:
            Whether it came to hold within ``timeout`` seconds.
        """
        with self._changed:
            return self._changed.wait_for(lambda: condition(self), timeout)

    def deliver(self, topic: str, payload: bytes) -> int:
        """Send a message from the cloud to the components that subscribed to its topic.

        Returns:
            How many streams it was sent on.
        """
        with self._changed:
            streams = [stream for stream, pattern in self._cloud_streams.items() if topic_matches_sub(pattern, topic)]
        for stream in streams:
            stream.send({"message": {"topicName": topic, "payload": fields.base64_text(payload)}})
        return len(streams)

    def authenticate(self, token: str) -> str:
        """The token itself is the component's name."""
        if not token:
            raise InvalidTokenError("expected a token, got none")
        return token

    def handle(self, request: Request) -> Answer:
        """Answer one request."""
        operation = self._operations.get(request.operation)
        if operation is None:
            raise ServiceError(f"{request.operation} is not supported here")
        return operation(request)

    def _get_configuration(self, request: Request) -> Answer:
        component = fields.optional_text(request.payload, "componentName") or request.component
        path = fields.texts(request.payload, "keyPath")
        try:
            value = self.configuration.read(component, path)
        except ConfigurationMissing as error:
            raise ResourceNotFoundError(str(error)) from error
        return {"componentName": component, "value": value if isinstance(value, dict) else {path[-1]: value}}

    def _update_configuration(self, request: Request) -> Answer:
        path = fields.texts(request.payload, "keyPath")
        try:
            self.configuration.merge(request.component, fields.mapping(request.payload, "valueToMerge"), path)
        except ConfigurationClash as error:
            raise InvalidArgumentsError(str(error)) from error
        return {}

    def _watch_configuration(self, request: Request) -> Answer:
        component = fields.optional_text(request.payload, "componentName") or request.component
        path = fields.texts(request.payload, "keyPath")

        def changed(name: str, at: tuple[str, ...]) -> None:
            request.stream.send({"configurationUpdateEvent": {"componentName": name, "keyPath": list(at)}})

        request.stream.on_close(self.configuration.watch(component, path, changed))
        return {}

    def _update_state(self, request: Request) -> Answer:
        with self._changed:
            self._states.append((request.component, fields.text(request.payload, "state")))
            self._changed.notify_all()
        return {}

    def _publish_to_cloud(self, request: Request) -> Answer:
        topic = fields.text(request.payload, "topicName")
        payload = fields.octets(request.payload, "payload")
        if len(payload) > self._largest_publish:
            if self._drops_large:
                raise ConnectionDropped
            raise ServiceError(f"expected at most {self._largest_publish} bytes of payload, got {len(payload)}")
        if not self.online:
            raise ServiceError("not connected to AWS IoT Core; try again later")
        try:
            check_topic(topic)
        except TopicError as error:
            raise InvalidArgumentsError(str(error)) from error
        self._record(
            Published(request.component, topic, payload, int(fields.optional_text(request.payload, "qos") or 0))
        )
        self.deliver(topic, payload)
        return {}

    def _subscribe_to_cloud(self, request: Request) -> Answer:
        pattern = fields.text(request.payload, "topicName")
        try:
            check_filter(pattern)
        except TopicError as error:
            raise InvalidArgumentsError(str(error)) from error
        self._register(self._cloud_streams, request.stream, pattern)
        return {}

    def _publish_locally(self, request: Request) -> Answer:
        topic = fields.text(request.payload, "topic")
        message = fields.mapping(request.payload, "publishMessage")
        event = {
            kind: {**fields.mapping(message, kind), "context": {"topic": topic}}
            for kind in ("jsonMessage", "binaryMessage")
            if kind in message
        }
        self._record(Published(request.component, topic, fields.octets(event.get("binaryMessage", {}), "message"), -1))
        with self._changed:
            streams = [stream for stream, pattern in self._local_streams.items() if topic_matches_sub(pattern, topic)]
        for stream in streams:
            stream.send(event)
        return {}

    def _subscribe_locally(self, request: Request) -> Answer:
        topic = fields.text(request.payload, "topic")
        self._register(self._local_streams, request.stream, topic)
        return {"topicName": topic}

    def _record(self, message: Published) -> None:
        with self._changed:
            self._published.append(message)
            self._changed.notify_all()

    def _register(self, streams: dict[Stream, str], stream: Stream, pattern: str) -> None:
        def forget() -> None:
            with self._changed:
                streams.pop(stream, None)
                self._changed.notify_all()

        with self._changed:
            streams[stream] = pattern
            self._changed.notify_all()
        stream.on_close(forget)
