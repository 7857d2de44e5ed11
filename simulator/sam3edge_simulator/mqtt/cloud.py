"""The device's connection to AWS IoT Core, which any MQTT broker stands in for."""

from __future__ import annotations

import logging
import queue
import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field

import paho.mqtt.client as mqtt
from paho.mqtt.client import topic_matches_sub
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from sam3edge.subscriber.broker_url import BrokerUrl, TlsFiles
from sam3edge_simulator.ipc.errors import ServiceError
from sam3edge_simulator.ipc.fields import base64_text
from sam3edge_simulator.ipc.service import Answer, Stream
from sam3edge_simulator.profiles import Profile, Publishing

logger = logging.getLogger(__name__)

KEEP_ALIVE_SECONDS = 30
MAX_RECONNECT_SECONDS = 2
"""Between attempts to connect. A device waits longer; here nobody wants to wait for it."""


@dataclass(frozen=True, slots=True, eq=False)
class _Publish:
    topic: str
    payload: bytes
    qos: int
    retain: bool
    sent: Future[Answer]


@dataclass(frozen=True, slots=True)
class _Subscribe:
    pattern: str
    granted: Future[Answer]


@dataclass(frozen=True, slots=True)
class _Unsubscribe:
    pattern: str


@dataclass(frozen=True, slots=True)
class _Acknowledged:
    client: mqtt.Client
    number: int


@dataclass(frozen=True, slots=True)
class _Granted:
    client: mqtt.Client
    number: int
    refused: bool


@dataclass(frozen=True, slots=True)
class _Connection:
    client: mqtt.Client
    up: bool


class _Restart:
    """Begins with a new session."""


class _Stop:
    """Ends the sender."""


_Task = _Publish | _Subscribe | _Unsubscribe | _Acknowledged | _Granted | _Connection | _Restart | _Stop


@dataclass(slots=True)
class _Session:
    """What the sender knows of one connection. Touched by the sender only."""

    client: mqtt.Client
    up: bool = False
    unacknowledged: dict[int, _Publish] = field(default_factory=dict)
    ungranted: dict[int, Future[Answer]] = field(default_factory=dict)
    restoring: set[int | None] = field(default_factory=set)


class CloudLink:
    """Publishes and subscribes for all components of a device, as its nucleus would.

    Only the sender thread calls into the MQTT client: its callbacks run under its own locks, so that a lock of ours
    held around a call could wait for one of them for ever. They put what they learn into the sender's queue.

    Args:
        url: the broker.
        client_id: MQTT client id; the name of the thing, as on a device.
        profile: what publishing means.
        tls: files for ``mqtts://``.
    """

    def __init__(self, url: BrokerUrl, client_id: str, profile: Profile, tls: TlsFiles | None = None) -> None:
        if url.websocket_path or url.username:
            raise ValueError(f"expected mqtt:// or mqtts://host:port without a user, as devices connect, got {url}")
        if url.tls and tls is None:
            raise ValueError(f"expected TLS files for mqtts://{url.host}:{url.port}, got none")
        self._url = url
        self._client_id = client_id
        self._profile = profile
        self._tls = tls
        self._tasks: queue.SimpleQueue[_Task] = queue.SimpleQueue()
        self._changed = threading.Condition()
        self._up = False
        self._held = 0
        self._held_bytes = 0
        self._stuck = self._stuck_bytes = 0  # of the buffer, by a connection that broke
        self._streams: dict[Stream, str] = {}
        self._thread: threading.Thread | None = None

    @property
    def connected(self) -> bool:
        """Whether the broker is reached now, and has granted the subscriptions of the connection before."""
        return self._up

    @property
    def unsent_bytes(self) -> int:
        """Bytes accepted from components and not acknowledged by the broker."""
        return self._held_bytes

    def start(self) -> None:
        """Begin to connect; returns at once."""
        self._thread = threading.Thread(target=self._send, name="cloud-sender", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Disconnect; what was not sent is lost."""
        if self._thread is not None:
            self._tasks.put(_Stop())
            self._thread.join()
            self._thread = None

    def wait_connected(self, timeout: float, *, connected: bool = True) -> bool:
        """Wait until the connection is up, with the subscriptions that there were, or down.

        Returns:
            Whether it came to that within ``timeout`` seconds.
        """
        with self._changed:
            return self._changed.wait_for(lambda: self._up is connected, timeout)

    def wait_sent(self, timeout: float) -> bool:
        """Wait until the broker has acknowledged everything.

        Returns:
            Whether it came to that within ``timeout`` seconds.
        """
        with self._changed:
            return self._changed.wait_for(lambda: self._held == 0, timeout)

    def publish(self, topic: str, payload: bytes, qos: int, *, retain: bool = False) -> Future[Answer]:
        """Hand over one message.

        Args:
            topic: where to.
            payload: bytes of the message.
            qos: 0 or 1.
            retain: whether the broker keeps it for later subscribers.

        Returns:
            Done when the nucleus of the profile would answer the component.

        Raises:
            ServiceError: the nucleus would refuse it now: no connection, or no room.
        """
        sent: Future[Answer] = Future()
        with self._changed:
            self._admit(self._size(topic, payload), qos)
            self._held += 1
            self._held_bytes += self._size(topic, payload)
        if self._profile.publishing is Publishing.SPOOL:
            sent.set_result({})
        self._tasks.put(_Publish(topic, payload, qos, retain, sent))
        return sent

    def subscribe(self, pattern: str, stream: Stream) -> Future[Answer]:
        """Deliver messages on ``stream`` until it is closed.

        Returns:
            Done when the broker has granted it. Without a connection the classic nucleus answers at once and
            subscribes later.

        Raises:
            ServiceError: nucleus lite has no connection.
        """
        granted: Future[Answer] = Future()
        with self._changed:
            if not self._up:
                if self._profile.publishing is Publishing.DIRECT:
                    raise ServiceError("Failed to bind subscription: not connected to AWS IoT Core")
                granted.set_result({})
            self._streams[stream] = pattern
        stream.on_close(lambda: self._forget(stream))
        self._tasks.put(_Subscribe(pattern, granted))
        return granted

    def restart_daemon(self) -> None:
        """As when nucleus lite's MQTT daemon restarts: what was under way is lost, what stayed taken of its buffer is
        free again, and every subscription is deaf without knowing it."""
        with self._changed:
            self._streams.clear()
            self._up = False
        self._tasks.put(_Restart())

    def _admit(self, size: int, qos: int) -> None:
        if self._profile.publishing is Publishing.DIRECT:
            if not self._up:
                raise ServiceError("Failed to publish the message: not connected to AWS IoT Core")
            records, taken = self._held + self._stuck, self._held_bytes + self._stuck_bytes
            full = self._profile.publish_buffer and taken + size > self._profile.publish_buffer
            if full or records >= self._profile.in_flight:
                raise ServiceError(
                    f"Failed to publish the message: MQTTNoMemory, {records} records and {taken} bytes are taken"
                )
        elif not self._up and qos == 0:
            raise ServiceError("Device is offline. Dropping QoS 0 message.")
        elif self._held_bytes + size > self._profile.spool_bytes:
            raise ServiceError(
                f"Message spool is full. Message could not be added: {self._held_bytes} of "
                f"{self._profile.spool_bytes} bytes are taken"
            )

    def _size(self, topic: str, payload: bytes) -> int:
        """What a message counts: the classic nucleus counts payloads, lite's buffer holds whole packets."""
        return len(payload) + (len(topic) if self._profile.publishing is Publishing.DIRECT else 0)

    def _forget(self, stream: Stream) -> None:
        with self._changed:
            pattern = self._streams.pop(stream, None)
            others = pattern in self._streams.values()
        if pattern is not None and not others:
            self._tasks.put(_Unsubscribe(pattern))

    def _release(self, message: _Publish) -> None:
        with self._changed:
            self._held -= 1
            self._held_bytes -= self._size(message.topic, message.payload)
            self._changed.notify_all()

    # ------------------------------------------------------------------ the sender's thread

    def _send(self) -> None:
        spool: deque[_Publish] = deque()
        session = self._open_session()
        while True:
            task = self._tasks.get()
            if isinstance(task, _Stop):
                break
            if isinstance(task, _Publish):
                spool.append(task)
                if self._profile.publishing is Publishing.DIRECT and not session.up:
                    self._give_up(session, spool)
            elif isinstance(task, _Subscribe):
                self._ask(session, task)
            elif isinstance(task, _Unsubscribe):
                self._take_back(session, task)
            elif isinstance(task, _Connection):
                session = self._connection_changed(session, task, spool)
            elif isinstance(task, _Restart):
                session = self._restarted(session, spool)
            elif task.client is session.client:
                self._settle(session, task)
            self._flush(session, spool)
        self._give_up(session, spool)
        for granted in session.ungranted.values():
            _fail(granted, "the nucleus is stopping")
        self._close_session(session)

    def _connection_changed(self, session: _Session, task: _Connection, spool: deque[_Publish]) -> _Session:
        if task.client is not session.client or task.up is session.up:
            return session
        session.up = task.up
        if task.up:
            with self._changed:
                patterns = set(self._streams.values())
            session.restoring = {session.client.subscribe(pattern, qos=1)[1] for pattern in patterns}
        self._announce(session)
        if task.up:
            return session
        for granted in session.ungranted.values():
            _fail(granted, "the connection to AWS IoT Core was lost")
        session.ungranted.clear()
        if self._profile.publishing is Publishing.SPOOL:
            return session
        # A new client knows nothing of what the old one had under way: it is lost.
        self._keep_taken(session)
        self._give_up(session, spool)
        self._close_session(session)
        return self._open_session()

    def _keep_taken(self, session: _Session) -> None:
        """A part of the shared buffer stays taken by what a broken connection had under way: at most half."""
        profile = self._profile
        sizes = [self._size(m.topic, m.payload) for m in session.unacknowledged.values()]
        with self._changed:
            self._stuck = min(self._stuck + len(sizes), profile.in_flight // 2)
            self._stuck_bytes = min(self._stuck_bytes + sum(sizes), profile.publish_buffer // 2)

    def _restarted(self, session: _Session, spool: deque[_Publish]) -> _Session:
        self._give_up(session, spool)
        with self._changed:
            self._stuck = self._stuck_bytes = 0
        self._close_session(session)
        return self._open_session()

    def _give_up(self, session: _Session, spool: deque[_Publish]) -> None:
        for message in (*session.unacknowledged.values(), *spool):
            self._release(message)
            _fail(message.sent, "the connection to AWS IoT Core was lost")
        session.unacknowledged.clear()
        spool.clear()

    def _announce(self, session: _Session) -> None:
        with self._changed:
            self._up = session.up and not session.restoring
            self._changed.notify_all()

    def _ask(self, session: _Session, task: _Subscribe) -> None:
        if not session.up:
            # Subscribed with the others once the connection is up.
            _fail(task.granted, "the connection to AWS IoT Core was lost")
            return
        _, number = session.client.subscribe(task.pattern, qos=1)
        if number is None:
            _fail(task.granted, "the connection to AWS IoT Core was lost")
        else:
            session.ungranted[number] = task.granted

    def _take_back(self, session: _Session, task: _Unsubscribe) -> None:
        with self._changed:
            wanted_again = task.pattern in self._streams.values()
        if session.up and not wanted_again:
            session.client.unsubscribe(task.pattern)

    def _settle(self, session: _Session, task: _Acknowledged | _Granted) -> None:
        if isinstance(task, _Acknowledged):
            message = session.unacknowledged.pop(task.number, None)
            if message is not None:
                self._release(message)
            return
        if task.number in session.restoring:
            session.restoring.discard(task.number)
            self._announce(session)
        granted = session.ungranted.pop(task.number, None)
        if granted is not None and not granted.done():
            if task.refused:
                granted.set_exception(ServiceError("AWS IoT Core refused the subscription; check the IoT policy"))
            else:
                granted.set_result({})

    def _flush(self, session: _Session, spool: deque[_Publish]) -> None:
        while session.up and spool and len(session.unacknowledged) < self._profile.in_flight:
            message = spool.popleft()
            info = session.client.publish(message.topic, message.payload, message.qos, message.retain)
            session.unacknowledged[info.mid] = message
            if not message.sent.done():
                message.sent.set_result({})

    def _open_session(self) -> _Session:
        # Delivery is at least once and in order; the persistent session lets the client send again what was not
        # acknowledged when the connection broke.
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=self._client_id, clean_session=False)
        client.max_inflight_messages_set(self._profile.in_flight)
        client.reconnect_delay_set(1, MAX_RECONNECT_SECONDS)
        if self._tls is not None and self._url.tls:
            client.tls_set_context(self._tls.context())
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.connect_async(self._url.host, self._url.port, KEEP_ALIVE_SECONDS)
        client.loop_start()
        return _Session(client)

    def _close_session(self, session: _Session) -> None:
        session.client.disconnect()
        session.client.loop_stop()

    # ------------------------------------------------------------------ the client's callbacks, from its thread

    def _on_connect(self, client: mqtt.Client, _data: object, _flags: object, code: ReasonCode, _p: object) -> None:
        if code.is_failure:
            logger.warning("broker %s refused the connection: %s", self._url.host, code)
        else:
            self._tasks.put(_Connection(client, up=True))

    def _on_connect_fail(self, _client: mqtt.Client, _data: object) -> None:
        logger.info("broker %s:%d is not reached; trying again", self._url.host, self._url.port)

    def _on_disconnect(self, client: mqtt.Client, _data: object, _flags: object, code: ReasonCode, _p: object) -> None:
        logger.info("disconnected from broker %s: %s", self._url.host, code)
        self._tasks.put(_Connection(client, up=False))

    def _on_publish(self, client: mqtt.Client, _data: object, number: int, _code: object, _p: object) -> None:
        self._tasks.put(_Acknowledged(client, number))

    def _on_subscribe(
        self, client: mqtt.Client, _data: object, number: int, codes: list[ReasonCode], _p: object
    ) -> None:
        self._tasks.put(_Granted(client, number, refused=any(code.is_failure for code in codes)))

    def _on_message(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        if len(message.payload) > self._profile.largest_delivery:
            logger.warning("%d bytes on %s are too many for this nucleus: dropped", len(message.payload), message.topic)
            return
        event = {"message": {"topicName": message.topic, "payload": base64_text(bytes(message.payload))}}
        with self._changed:
            streams = [stream for stream, pattern in self._streams.items() if topic_matches_sub(pattern, message.topic)]
        for stream in streams:
            stream.send(event)


def _fail(future: Future[Answer], reason: str) -> None:
    if not future.done():
        future.set_exception(ServiceError(reason))
