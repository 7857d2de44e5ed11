"""What the page is told by whoever serves it: the broker, whom to listen to, and what it may do.

Nothing in here is secret: credentials are typed into the page, which keeps them in memory.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias
from urllib.parse import urlsplit

from sam3edge.core.errors import SettingsError

SignIn: TypeAlias = Literal["none", "password", "aws", "authorizer"]
"""How the page proves itself to the broker: not at all; MQTT's user name and password; AWS IoT Core with temporary
credentials and Signature Version 4; AWS IoT Core with a custom authorizer."""

DEFAULT_PREFIX = "sam3edge/+"

MAX_PREFIXES = 5
"""Each takes nine subscriptions, and AWS IoT Core grants 50 to a connection."""

STYLE_PATH, TILES_PATH = "map-style.json", "map.pmtiles"
"""Where the server has the operator's map."""

_AWS_HOST = re.compile(r"[a-z0-9-]+\.iot\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(\.cn)?")
_HOST = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*\.?")
_ORIGIN = re.compile(rf"https?://(\*\.)?{_HOST.pattern}(:[0-9]{{1,5}})?/?")
_LEVEL = re.compile(r"\+|[^/+#\x00]+")


@dataclass(frozen=True, slots=True)
class PageConfiguration:
    """What the operator has chosen.

    Attributes:
        broker: ``ws://host:port/path`` or ``wss://...``, as browsers speak MQTT; without a user or password.
        sign_in: how the page proves itself.
        region: AWS region that the credentials are signed for.
        authorizer: name of the custom authorizer; empty for the account's default one.
        prefixes: topics below which devices publish, ``+`` for any level; one without ``+`` is a device that the page
            expects.
        commands: whether the page may send commands.
        picture_seconds: how often the page asks a camera for a picture; 0 with every frame, None only when a person
            asks. Pictures leave the device with them, so ``pictures`` must be true.
        pictures: whether pictures are shown and asked for at all.
        map_style: a MapLibre style of the operator's, instead of a plain background.
        map_tiles: a PMTiles archive, drawn below the outlines; a style names it ``pmtiles://map.pmtiles``.
        map_origins: where that style may load from, such as ``https://tiles.example.org``.
    """

    broker: str
    sign_in: SignIn = "none"
    region: str = ""
    authorizer: str = ""
    prefixes: tuple[str, ...] = (DEFAULT_PREFIX,)
    commands: bool = True
    pictures: bool = False
    picture_seconds: float | None = None
    map_style: Path | None = None
    map_tiles: Path | None = None
    map_origins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check_broker(self.broker)
        if not 1 <= len(self.prefixes) <= MAX_PREFIXES:
            raise SettingsError(f"expected 1 to {MAX_PREFIXES} topic prefixes, got {len(self.prefixes)}")
        for prefix in self.prefixes:
            if not all(_LEVEL.fullmatch(level) for level in prefix.split("/")):
                raise SettingsError(
                    f"expected topic levels with + for any one of them, such as {DEFAULT_PREFIX}, got {prefix!r}"
                )
        if self.sign_in == "aws" and not self.region:
            raise SettingsError(f"expected the AWS region of {self.broker}, which its name does not say; give --region")
        for origin in self.map_origins:
            if not _ORIGIN.fullmatch(origin):
                raise SettingsError(
                    f"expected an origin such as https://tiles.example.org, got {origin!r}; a Content-Security-Policy "
                    "has names and IPv4 addresses only"
                )

    def document(self) -> dict[str, Any]:
        """What the page reads as ``config.json``."""
        return {
            "broker": self.broker,
            "signIn": self.sign_in,
            "region": self.region,
            "authorizer": self.authorizer,
            "prefixes": list(self.prefixes),
            "commands": self.commands,
            "pictures": self.pictures,
            "pictureSeconds": self.picture_seconds,
            "mapStyle": None if self.map_style is None else STYLE_PATH,
            "mapTiles": None if self.map_tiles is None else TILES_PATH,
        }

    def policy(self) -> str:
        """The page's Content-Security-Policy: its own server, the broker, and where the map may load from."""
        parts = urlsplit(self.broker)
        elsewhere = " ".join((f"{parts.scheme}://{parts.netloc}", *self.map_origins))
        images = " ".join(("'self'", "blob:", "data:", *self.map_origins))
        return (
            f"default-src 'none'; script-src 'self'; style-src 'self'; img-src {images}; "
            f"connect-src 'self' {elsewhere}; worker-src 'self'; base-uri 'none'; form-action 'none'; "
            "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types default"
        )


def region_of(broker: str) -> str:
    """The AWS region that an endpoint of AWS IoT Core names; empty for every other address."""
    named = _AWS_HOST.fullmatch(urlsplit(broker).hostname or "")
    return "" if named is None else named["region"]


def complete_broker(broker: str) -> str:
    """The address with the path that AWS IoT Core wants, if it is one of its endpoints without a path."""
    return f"{broker.rstrip('/')}/mqtt" if region_of(broker) and urlsplit(broker).path in ("", "/") else broker


def _check_broker(broker: str) -> None:
    try:
        parts = urlsplit(broker)
        port = parts.port
    except ValueError as error:
        raise SettingsError(f"expected an address such as wss://host:port/path, got {broker!r}: {error}") from error
    if parts.scheme not in ("ws", "wss") or not parts.hostname or port == 0:
        raise SettingsError(
            f"expected ws://host:port/path or wss://host:port/path, got {broker!r}; browsers speak MQTT over "
            "WebSockets only, for which brokers have a listener of their own"
        )
    if parts.username is not None or parts.password is not None:
        raise SettingsError("expected a broker's address without user and password; the page asks for them")
    if not re.fullmatch(r"[!-:<-~]+", broker) or "," in broker or "'" in broker:
        raise SettingsError(
            f"expected an address without spaces, commas, quotation marks and semicolons, got {broker!r}"
        )
    if not _HOST.fullmatch(parts.hostname):
        raise SettingsError(
            f"expected the broker by its name or an IPv4 address, got {broker!r}: the page's Content-Security-Policy, "
            "which lets it talk to its broker alone, has no others; give a name that leads there, such as one in "
            "/etc/hosts"
        )
