"""One client of an MQTT broker, whose connection comes back by itself. MQTT 3.1.1, QoS 0 and 1.

The socket is read and written by the thread that is in ``run``, and by no other; ``publish``, acknowledgements and
``stop`` may come from any.
"""

from __future__ import annotations

import logging
import ssl
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from sam3edge.core.backoff import Backoff
from sam3edge.core.errors import SubscriptionError
from sam3edge.subscriber.broker_url import Broker

logger = logging.getLogger(__name__)

KEEP_ALIVE_SECONDS = 60
STEADY_SECONDS = 10.0
"""A connection that lasted this long was no accident: the next one may be tried at once."""

PATIENCE = 3
"""Connections that a broker closes without a word before one is given up that has never been any better."""

_SERVER_UNAVAILABLE = 136
_LOOP_SECONDS = 1.0
_CALLBACKS = ("on_pre_connect", "on_connect", "on_subscribe", "on_message", "on_publish", "on_socket_register_write")


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to be published at QoS 1."""

    topic: str
    payload: bytes
    retain: bool = False


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message that was received.

    Attributes:
        retained: whether the broker had kept it, as it does for who subscribes anew.
        acknowledge: tells the broker that it need not come again; from any thread, at QoS 0 without effect.
    """

    topic: str
    payload: bytes
    qos: int
    retained: bool
    acknowledge: Callable[[], None]


class Connection:
    """A client of a broker.

    Args:
        client_id: with ``durable``, the same at every start, or what came meanwhile is lost.
        topics: topic filters to subscribe to, with the QoS of each.
        take: called with every message, in the thread of ``run``, which ends with whatever it raises.
        durable: whether the broker is to keep what comes while this client is away.
        will: what the broker publishes when the connection breaks.
        backoff: pauses between attempts to connect.

    Raises:
        SettingsError: files for TLS cannot be read, or do not belong together.
    """

    def __init__(
        self,
        broker: Broker,
        client_id: str,
        topics: Mapping[str, int],
        take: Callable[[Arrived], None],
        *,
        durable: bool,
        will: Outgoing | None = None,
        backoff: Backoff | None = None,
    ) -> None:
        self._broker = broker
        self._client_id = client_id
        self._topics = list(topics.items())
        self._take = take
        self._backoff = backoff or Backoff(1.0, 60.0)
        self._stopping = threading.Event()
        self._changed = threading.Condition()
        self._up = False
        self._connected_at: float | None = None
        self._ever = False
        self._answered = False
        self._silences = 0
        self._failure: SubscriptionError | None = None
        self._raised: BaseException | None = None
        self._thread: threading.Thread | None = None
        self._last_warning = ""
        self._generation = 0
        self._published: set[int] = set()
        self._client = self._make_client(durable, will)

    @property
    def up(self) -> bool:
        """Whether the broker is reached and has granted the subscriptions."""
        return self._up

    @property
    def connections(self) -> int:
        """How many times it has been reached."""
        return self._generation

    def wait_up(self, timeout: float, *, up: bool = True) -> bool:
        """Wait until it is up, or down; returns whether it came to that within ``timeout`` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: self._up is up, timeout)

    def run(self) -> None:
        """Connect, and again whenever the connection breaks, until ``stop``.

        Raises:
            SubscriptionError: the broker refuses this client or a subscription, or is not who it should be.
        """
        try:
            while not self._stopping.is_set():
                self._serve_one_connection()
                if not self._stopping.is_set():
                    self._stopping.wait(self._backoff.next())
        finally:
            self._close()

    def start(self) -> None:
        """``run`` in a thread of its own; ``check`` says how it fares."""
        self._thread = threading.Thread(target=self._run_in_thread, name=f"mqtt-{self._client_id}", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise what has ended the thread, if something has."""
        if self._raised is not None:
            raise self._raised

    def stop(self) -> None:
        """End ``run``, from any thread, and wait for the one that was started. A durable session lives on at the
        broker."""
        self._stopping.set()
        self._client.disconnect()
        if self._thread is not None:
            self._thread.join()

    def publish(self, messages: Sequence[Outgoing], timeout: float | None = None) -> bool:
        """Publish messages, in order, and wait until the broker has acknowledged all of them, across reconnections.
        From one thread at a time, not that of ``run``.

        Returns:
            Whether it has; False when ``run`` has ended before, or ``timeout`` seconds have passed.
        """
        with self._changed:
            self._published.clear()
        sent = {self._client.publish(m.topic, m.payload, qos=1, retain=m.retain).mid for m in messages}
        with self._changed:
            self._changed.wait_for(lambda: self._stopping.is_set() or sent <= self._published, timeout)
            return sent <= self._published

    def _run_in_thread(self) -> None:
        try:
            self.run()
        except BaseException as error:  # raised again by ``check``
            self._raised = error

    # ------------------------------------------------------------------ one connection

    def _serve_one_connection(self) -> None:
        self._answered = False
        try:
            self._client.reconnect()
        except ssl.SSLError as error:
            self._cannot_connect(error, permanent=True)
            return
        except mqtt.WebsocketConnectionError:
            self._was_silent()
            return
        except OSError as error:
            self._cannot_connect(error, permanent=False)
            return
        while self._client.loop(_LOOP_SECONDS) == mqtt.MQTT_ERR_SUCCESS:
            if self._failure is not None or self._stopping.is_set():
                break
        self._went_down()
        if self._failure is not None:
            raise self._failure
        if not self._answered and not self._stopping.is_set():
            self._was_silent()

    def _cannot_connect(self, error: OSError, *, permanent: bool) -> None:
        reason = getattr(error, "verify_message", "") or getattr(error, "reason", "") or error.strerror or str(error)
        if permanent and not self._ever:
            raise SubscriptionError(
                f"expected {self._broker.url} to agree on TLS, got {reason!r}; look at the files of certificates, and "
                f"whether it is {self._listener_expected()}"
            ) from error
        self._warn(f"{self._broker.url} cannot be reached: {reason}")

    def _was_silent(self) -> None:
        """The broker closed the connection before it accepted or refused it, as those do that expected another protocol
        there, AWS IoT Core with whom its policies do not let in, and others with certificates that they do not know."""
        self._silences += 1
        text = f"{self._broker.url} closes the connection without a word; expected {self._listener_expected()}"
        if self._broker.url.tls:
            text += (
                f" that accepts the certificate or the signature, and lets the client {self._client_id} connect (AWS "
                "IoT Core: the policy's iot:Connect)"
            )
        if not self._ever and self._silences >= PATIENCE:
            raise SubscriptionError(text)
        self._warn(text)

    def _listener_expected(self) -> str:
        url = self._broker.url
        protocol = "MQTT over WebSockets" if url.websocket_path else "MQTT without WebSockets"
        return f"a listener there for {protocol}, {'with' if url.tls else 'without'} TLS"

    def _went_down(self) -> None:
        if self._connected_at is not None:
            lasted = time.monotonic() - self._connected_at
            self._connected_at = None
            if lasted >= STEADY_SECONDS:
                self._backoff.reset()
                self._last_warning = ""
            if not self._stopping.is_set() and self._failure is None:
                hint = "" if lasted >= STEADY_SECONDS else f"; is another client called {self._client_id}?"
                self._warn(f"the connection to {self._broker.url} was lost{hint}")
        with self._changed:
            self._up = False
            self._changed.notify_all()

    def _warn(self, text: str) -> None:
        """Once, and not at every attempt."""
        if text != self._last_warning:
            logger.warning("%s", text)
        self._last_warning = text

    def _close(self) -> None:
        self._stopping.set()
        self._client.on_message = None
        self._client.disconnect()
        while self._client.loop(_LOOP_SECONDS) == mqtt.MQTT_ERR_SUCCESS:  # until acknowledgements and the end are sent
            pass
        self._went_down()
        # that the client, which has sockets, does not hold this, and goes with it
        for callback in _CALLBACKS:
            setattr(self._client, callback, None)

    # ------------------------------------------------------------------ the MQTT client and its callbacks

    def _make_client(self, durable: bool, will: Outgoing | None) -> mqtt.Client:
        url = self._broker.url
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            clean_session=not durable,
            manual_ack=True,
            transport="websockets" if url.websocket_path else "tcp",
        )
        if url.tls:
            client.tls_set_context(self._broker.tls_context())
        if url.username:
            client.username_pw_set(url.username, url.password or None)
        if url.websocket_path:
            client.ws_set_options(url.websocket_path)
        if will is not None:
            client.will_set(will.topic, will.payload, qos=1, retain=will.retain)
        client.on_pre_connect = self._on_pre_connect
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.on_publish = self._on_publish
        client.on_socket_register_write = lambda *_: None  # else other threads would write to the socket themselves
        client.connect_async(url.host, url.port, KEEP_ALIVE_SECONDS)
        return client

    def _on_pre_connect(self, client: mqtt.Client, data: Any) -> None:
        if self._broker.signed_path is not None:
            client.ws_set_options(self._broker.signed_path())

    def _on_connect(self, client: mqtt.Client, data: Any, flags: Any, reason: ReasonCode, properties: Any) -> None:
        self._answered = True
        if reason.is_failure:
            refusal = f"{self._broker.url} refuses the client {self._client_id}: {reason}"
            if reason.value == _SERVER_UNAVAILABLE or self._ever:
                self._warn(refusal)
            else:
                self._failure = SubscriptionError(f"{refusal}; look at the user, the password and the client's name")
            return
        self._generation += 1
        self._connected_at = time.monotonic()
        if self._topics:
            client.subscribe(self._topics)  # with every connection: a broker that was restarted has forgotten
        else:
            self._is_up()

    def _on_subscribe(
        self, client: mqtt.Client, data: Any, number: int, reasons: list[ReasonCode], properties: Any
    ) -> None:
        refused = [topic for (topic, _), reason in zip(self._topics, reasons, strict=False) if reason.is_failure]
        if refused:
            self._failure = SubscriptionError(
                f"{self._broker.url} refuses the subscription to {', '.join(refused)} (AWS IoT Core: the policy's "
                "iot:Subscribe and iot:Receive)"
            )
            return
        self._is_up()

    def _is_up(self) -> None:
        self._ever = True
        with self._changed:
            self._up = True
            self._changed.notify_all()

    def _on_message(self, client: mqtt.Client, data: Any, message: mqtt.MQTTMessage) -> None:
        acknowledge = partial(self._acknowledge, self._generation, message.mid, message.qos)
        try:
            topic = message.topic
        except UnicodeDecodeError:
            acknowledge()
            return
        self._take(Arrived(topic, bytes(message.payload), message.qos, message.retain, acknowledge))

    def _acknowledge(self, generation: int, mid: int, qos: int) -> None:
        """Of a connection that is gone by now: then the message comes again. Its number may mean another one."""
        if generation == self._generation:
            self._client.ack(mid, qos)

    def _on_publish(self, client: mqtt.Client, data: Any, mid: int, reason: ReasonCode, properties: Any) -> None:
        with self._changed:
            self._published.add(mid)
            self._changed.notify_all()
