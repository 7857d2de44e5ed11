"""Where the MQTT broker is, and how to prove oneself to it."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sam3edge.core.errors import SettingsError
from sam3edge.core.redaction import redact

DEFAULT_PORTS = {"mqtt": 1883, "mqtts": 8883, "ws": 80, "wss": 443}
"""By scheme; the two last speak MQTT over WebSockets."""

WEBSOCKET_PATH = "/mqtt"
"""Where brokers listen for WebSockets, unless their address says otherwise; AWS IoT Core's is this."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Files for a connection with TLS, all PEM.

    Attributes:
        ca: certificates that the broker's one must lead to; None for those of this computer.
        certificate: the client's own; None without one.
        key: its private key.
    """

    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def context(self) -> ssl.SSLContext:
        """What the connection uses: TLS 1.2 or newer, and the broker's name is checked.

        Raises:
            OSError: a file cannot be read.
            ssl.SSLError: a file holds no certificate or key, or they do not belong together.
        """
        context = ssl.create_default_context(cafile=str(self.ca) if self.ca else None)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.certificate is not None:
            context.load_cert_chain(str(self.certificate), str(self.key) if self.key else None)
        return context


NO_FILES = TlsFiles()


@dataclass(frozen=True, slots=True)
class BrokerUrl:
    """Address of a broker.

    Attributes:
        websocket_path: path and query of a broker that is reached over WebSockets; empty for plain MQTT.
        username: empty without one.
        password: not shown.
    """

    host: str
    port: int
    tls: bool
    websocket_path: str = ""
    username: str = ""
    password: str = field(default="", repr=False)

    @classmethod
    def parse(cls, url: str) -> BrokerUrl:
        """Read ``mqtt://host[:1883]``, ``mqtts://host[:8883]``, ``ws://host[:80][/mqtt]`` or ``wss://host[:443][/mqtt]``,
        each perhaps with ``user:password@`` before the host, percent-encoded.

        Raises:
            ValueError: it is none of them.
        """
        expected = f"expected mqtt://, mqtts://, ws:// or wss://host:port as broker, got {redact(url)!r}"
        try:
            parts = urlsplit(url)
            port = parts.port
            (parts.hostname or "").encode("idna")  # as the socket does: labels have 1 to 63 letters
        except ValueError as error:  # UnicodeError is one
            raise ValueError(expected) from error
        scheme = parts.scheme
        if scheme not in DEFAULT_PORTS or not parts.hostname:
            raise ValueError(expected)
        path = ""
        if scheme in ("ws", "wss"):
            path = (parts.path if parts.path not in ("", "/") else WEBSOCKET_PATH) + (
                f"?{parts.query}" if parts.query else ""
            )
        elif parts.path not in ("", "/") or parts.query:
            raise ValueError(f"{expected}; only WebSockets have a path")
        return cls(
            parts.hostname,
            port or DEFAULT_PORTS[scheme],
            scheme in ("mqtts", "wss"),
            path,
            unquote(parts.username or ""),
            unquote(parts.password or ""),
        )

    def __str__(self) -> str:
        scheme = ("wss" if self.tls else "ws") if self.websocket_path else ("mqtts" if self.tls else "mqtt")
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{scheme}://{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Broker:
    """A broker, and what it is shown.

    Attributes:
        tls: by default the certificates of this computer, and none of one's own.
        signed_path: gives path and query for each new connection over WebSockets, where they hold a signature that is
            valid for some minutes only; it may raise SubscriptionError.
    """

    url: BrokerUrl
    tls: TlsFiles = NO_FILES
    signed_path: Callable[[], str] | None = None

    def tls_context(self) -> ssl.SSLContext:
        """Of ``tls``.

        Raises:
            SettingsError: files cannot be read, or do not belong together.
        """
        try:
            return self.tls.context()
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            named = ", ".join(str(path) for path in (self.tls.ca, self.tls.certificate, self.tls.key) if path)
            reason = getattr(error, "reason", "") or getattr(error, "strerror", "") or str(error)
            raise SettingsError(f"expected PEM files that belong together as {named}, got {reason}") from error
