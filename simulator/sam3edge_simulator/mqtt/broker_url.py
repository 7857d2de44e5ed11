"""Where the MQTT broker is, and how to prove oneself to it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Files for a connection with TLS and a client certificate, all PEM.

    Attributes:
        ca: certificates that the broker's one must lead to.
        certificate: the device's own; None without one.
        key: its private key.
    """

    ca: Path
    certificate: Path | None = None
    key: Path | None = None

    def context(self) -> ssl.SSLContext:
        """What the connection uses: TLS 1.2 or newer, and the broker's name is checked.

        Raises:
            OSError: a file cannot be read.
            ssl.SSLError: a file holds no certificate or key, or they do not belong together.
        """
        context = ssl.create_default_context(cafile=str(self.ca))
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self.certificate is not None:
            context.load_cert_chain(str(self.certificate), str(self.key) if self.key else None)
        return context


@dataclass(frozen=True, slots=True)
class BrokerUrl:
    """Address of a broker."""

    host: str
    port: int
    tls: bool

    @classmethod
    def parse(cls, url: str) -> BrokerUrl:
        """Read ``mqtt://host[:1883]`` or ``mqtts://host[:8883]``.

        Raises:
            ValueError: it is neither.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname:
            raise ValueError(f"expected mqtt://host:port or mqtts://host:port as broker, got {url!r}")
        tls = parts.scheme == "mqtts"
        return cls(parts.hostname, parts.port or (8883 if tls else 1883), tls)
