"""The IPC operations that carry messages, to AWS IoT Core and between components."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import Future

from sam3edge_simulator.component_operations import Handler
from sam3edge_simulator.configuration import ConfigurationMissing, ConfigurationStore
from sam3edge_simulator.ipc import fields
from sam3edge_simulator.ipc.errors import ConnectionDropped, InvalidArgumentsError, ServiceError
from sam3edge_simulator.ipc.service import Answer, Request
from sam3edge_simulator.local_topics import LocalTopics
from sam3edge_simulator.mqtt.cloud import CloudLink
from sam3edge_simulator.mqtt.topics import TopicError, check_filter, check_topic
from sam3edge_simulator.profiles import Profile
from sam3edge_simulator.recipes.access import MQTT_PROXY, PUBSUB, authorize


class MessageOperations:
    """Publish and subscribe.

    Args:
        profile: limits of the nucleus.
        cloud: the connection to the broker.
        local: topics of this device.
        configuration: where the components' access control is.
        thing: name of the thing.
    """

    def __init__(
        self,
        profile: Profile,
        cloud: CloudLink,
        local: LocalTopics,
        configuration: ConfigurationStore,
        thing: str,
    ) -> None:
        self._profile = profile
        self._cloud = cloud
        self._local = local
        self._configuration = configuration
        self._thing = thing

    def handlers(self) -> Mapping[str, Handler]:
        """By operation name."""
        return {
            "PublishToIoTCore": self._publish_to_cloud,
            "PublishToTopic": self._publish_locally,
            "SubscribeToIoTCore": self._subscribe_to_cloud,
            "SubscribeToTopic": self._subscribe_locally,
        }

    def _publish_to_cloud(self, request: Request) -> Answer | Future[Answer]:
        topic = fields.text(request.payload, "topicName")
        payload = fields.octets(request.payload, "payload")
        if len(payload) > self._profile.largest_publish and self._profile.drops_large:
            raise ConnectionDropped
        self._authorize(request, MQTT_PROXY, topic)
        try:
            check_topic(topic)
        except TopicError as error:
            raise InvalidArgumentsError(str(error)) from error
        if len(payload) > self._profile.largest_publish:
            raise ServiceError(
                f"expected at most {self._profile.largest_publish} bytes of payload (AWS IoT Core), got {len(payload)}"
            )
        retain = request.payload.get("retain") is True
        return self._cloud.publish(topic, payload, _qos(request), retain=retain)

    def _subscribe_to_cloud(self, request: Request) -> Answer | Future[Answer]:
        pattern = fields.text(request.payload, "topicName")
        self._authorize(request, MQTT_PROXY, pattern)
        try:
            check_filter(pattern)
        except TopicError as error:
            raise InvalidArgumentsError(str(error)) from error
        return self._cloud.subscribe(pattern, request.stream)

    def _publish_locally(self, request: Request) -> Answer:
        topic = fields.text(request.payload, "topic")
        self._authorize(request, PUBSUB, topic)
        message = fields.mapping(request.payload, "publishMessage")
        kinds = [kind for kind in ("jsonMessage", "binaryMessage") if message.get(kind) is not None]
        if len(kinds) != 1:
            raise InvalidArgumentsError(f"expected either jsonMessage or binaryMessage, got {kinds or 'neither'}")
        content = {**fields.mapping(message, kinds[0]), "context": {"topic": topic}}
        self._local.publish(request.component, topic, {kinds[0]: content})
        return {}

    def _subscribe_locally(self, request: Request) -> Answer:
        topic = fields.text(request.payload, "topic")
        self._authorize(request, PUBSUB, topic)
        mode = fields.optional_text(request.payload, "receiveMode")
        self._local.subscribe(request.component, topic, request.stream, own=mode != "RECEIVE_MESSAGES_FROM_OTHERS")
        return {"topicName": topic}

    def _authorize(self, request: Request, service: str, resource: str) -> None:
        try:
            policies = self._configuration.read(request.component, ("accessControl",))
        except ConfigurationMissing:
            policies = None
        authorize(request.component, policies, service, request.operation, resource, thing=self._thing)


def _qos(request: Request) -> int:
    qos = request.payload.get("qos")
    if qos is None:
        return 1
    if str(qos) not in ("0", "1"):
        raise InvalidArgumentsError(f"expected 0 or 1 as qos, got {qos!r}")
    return int(str(qos))
