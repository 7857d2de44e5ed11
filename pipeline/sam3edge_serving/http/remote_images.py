"""Images by address: fetched from hosts that the operator allows, and never from inside a network.

What is refused, and why (OWASP, "Server-Side Request Forgery Prevention Cheat Sheet"):

- anything but https on port 443, user names and passwords in the address;
- hosts that are not on the list;
- names that resolve to any address that is not public, whatever the list says. The check is made on the resolved
  address and the connection goes to that very address, so that a name cannot resolve to another one in between;
- redirections: where one leads was not checked.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import HTTPError

IpAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve: TypeAlias = Callable[[str], Sequence[IpAddress]]
Connect: TypeAlias = Callable[[str, IpAddress, float], urllib3.HTTPSConnectionPool]

HTTPS = 443
MAX_CHARACTERS = 2048
CHUNK = 65_536
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_HEADERS = {"Accept": "image/*", "Accept-Encoding": "identity", "User-Agent": "sam3edge", "Connection": "close"}


class RemoteImageError(Exception):
    """Base of what can be wrong with an image's address. Messages name the host, never path or query."""


class AddressRefused(RemoteImageError):
    """The operator does not allow it, or nobody does."""


class ImageTooLarge(RemoteImageError):
    """More bytes than are taken."""


class FetchFailed(RemoteImageError):
    """The host did not give the image, or not in time."""


@dataclass(frozen=True, slots=True)
class FetchRules:
    """What may be fetched.

    Attributes:
        hosts: names in lower case; ``*.example.com`` means every name below ``example.com``.
        max_bytes: of an image.
        seconds: for one wait on the network, and for the body as a whole.
    """

    hosts: tuple[str, ...]
    max_bytes: int
    seconds: float


def read_hosts(text: str) -> tuple[str, ...]:
    """Names with commas between them, as a setting gives them."""
    return tuple(name.strip().lower().rstrip(".") for name in text.split(",") if name.strip())


def is_public(address: IpAddress) -> bool:
    """Whether it is a unicast address of the internet; an IPv4 address inside an IPv6 one counts as itself."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address.is_site_local:  # fec0::/10, given up by RFC 3879 and still routed inside of some networks
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved or address.is_unspecified)


def resolve_host(host: str) -> Sequence[IpAddress]:
    """Every address of a name, IPv4 first: not every network that this runs in routes IPv6."""
    found = {info[4][0] for info in socket.getaddrinfo(host, HTTPS, type=socket.SOCK_STREAM)}
    addresses = [ipaddress.ip_address(str(text).split("%")[0]) for text in found]
    return sorted(addresses, key=lambda address: (address.version, int(address)))


def connect_to(host: str, address: IpAddress, seconds: float) -> urllib3.HTTPSConnectionPool:
    """A connection to that address, which has to prove by its certificate that it is that host."""
    timeout = urllib3.Timeout(connect=seconds, read=seconds)
    return urllib3.HTTPSConnectionPool(
        str(address), HTTPS, timeout=timeout, retries=False, server_hostname=host, assert_hostname=host
    )


class RemoteImages:
    """Fetches images. Used by several threads at once.

    Args:
        rules: what may be fetched.
        resolve: gives the addresses of a name.
        connect: opens a connection to an address in the name of a host.
        clock: seconds, never running backwards.
    """

    def __init__(
        self,
        rules: FetchRules,
        resolve: Resolve = resolve_host,
        connect: Connect = connect_to,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rules = rules
        self._resolve = resolve
        self._connect = connect
        self._clock = clock

    def fetch(self, url: str) -> bytes:
        """The bytes that the address gives.

        Raises:
            AddressRefused, ImageTooLarge, FetchFailed: as their names say.
        """
        host, target = self._split(url)
        try:
            addresses = self._resolve(host)
        except (OSError, UnicodeError) as error:
            raise FetchFailed(f"the image's host {host} has no address") from error
        if not addresses or not all(is_public(address) for address in addresses):
            raise AddressRefused(f"the image's host {host} is not on the internet; send the image itself")
        failure: HTTPError | None = None
        for address in addresses:
            try:
                return self._get(host, address, target)
            except (urllib3.exceptions.NewConnectionError, urllib3.exceptions.ConnectTimeoutError) as error:
                failure = error
            except HTTPError as error:
                raise FetchFailed(f"the image's host {host} broke off or took too long: {_kind(error)}") from error
        raise FetchFailed(f"the image's host {host} cannot be reached") from failure

    def _split(self, url: str) -> tuple[str, str]:
        """Host and request target of an allowed address."""
        if len(url) > MAX_CHARACTERS or not url.isascii() or not url.isprintable() or " " in url:
            raise AddressRefused(f"an image's address must be at most {MAX_CHARACTERS} ASCII characters without spaces")
        try:
            parts = urlsplit(url)
            host, port = (parts.hostname or "").rstrip("."), parts.port
        except ValueError as error:
            raise AddressRefused("the image's address is not a valid URL") from error
        if parts.scheme.lower() != "https" or port not in (None, HTTPS) or not host:
            raise AddressRefused("an image's address must begin with https:// and use port 443")
        if parts.username is not None or parts.password is not None:
            raise AddressRefused("an image's address must not carry a user name or password")
        if not any(_matches(host, pattern) for pattern in self._rules.hosts):
            raise AddressRefused(f"images are not fetched from {host[:100]}; send the image itself, as a data URL")
        return host, (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    def _get(self, host: str, address: IpAddress, target: str) -> bytes:
        until = self._clock() + self._rules.seconds
        with self._connect(host, address, self._rules.seconds) as pool:
            response = pool.urlopen(
                "GET", target, headers={**_HEADERS, "Host": host}, redirect=False, preload_content=False
            )
            try:
                self._check(host, response)
                return self._read(host, response, until)
            finally:
                response.close()

    def _check(self, host: str, response: urllib3.BaseHTTPResponse) -> None:
        if 300 <= response.status < 400:
            raise FetchFailed(f"the image's host {host} sends elsewhere ({response.status}); give the final address")
        if response.status != 200:
            raise FetchFailed(f"the image's host {host} answered {response.status}")
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise FetchFailed(f"the image's host {host} sends it compressed, which was not asked for")
        length = response.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > self._rules.max_bytes:
            raise ImageTooLarge(
                f"an image must have at most {self._rules.max_bytes} bytes, {host} offers {length[:20]}"
            )

    def _read(self, host: str, response: urllib3.BaseHTTPResponse, until: float) -> bytes:
        data = bytearray()
        while chunk := response.read1(CHUNK, decode_content=False):
            data += chunk
            if len(data) > self._rules.max_bytes:
                raise ImageTooLarge(f"an image must have at most {self._rules.max_bytes} bytes, {host} sends more")
            if self._clock() > until:
                raise FetchFailed(f"the image's host {host} took longer than {self._rules.seconds:g} s")
        return bytes(data)


def _matches(host: str, pattern: str) -> bool:
    return host.endswith(pattern[1:]) if pattern.startswith("*.") else host == pattern


def _kind(error: Exception) -> str:
    return type(error).__name__
