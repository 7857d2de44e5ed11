"""Images that a request gives by address: from the hosts that the operator allows, see ``remote_images.py``."""

from __future__ import annotations

import re

from sam3edge_serving.http.errors import TooLarge, Unanswerable
from sam3edge_serving.http.remote_images import ImageTooLarge, RemoteImageError, RemoteImages, read_hosts

_HOST = re.compile(r"(\*\.)?[a-z0-9]([a-z0-9.-]*[a-z0-9])?", re.ASCII)


def allowed_hosts(text: str) -> tuple[str, ...]:
    """Names with commas between them.

    Raises:
        ValueError: one of them is not the name of a host.
    """
    hosts = read_hosts(text)
    for host in hosts:
        if not _HOST.fullmatch(host):
            raise ValueError(f"{host!r} is not the name of a host such as images.example.org or *.example.org")
    return hosts


class NoFetcher:
    """Where the operator allows no host."""

    def fetch(self, url: str) -> bytes:
        """Raises Unanswerable."""
        raise Unanswerable("this endpoint fetches no addresses; send the image itself, as base64 or as a data URL")


class Fetcher:
    """Fetches images. Used by several threads at once."""

    def __init__(self, images: RemoteImages) -> None:
        self._images = images

    def fetch(self, url: str) -> bytes:
        """The bytes behind an address.

        Raises:
            Unanswerable: it is not allowed, not there, or does not come in time.
            TooLarge: it has more bytes than allowed.
        """
        try:
            return self._images.fetch(url)
        except ImageTooLarge as error:
            raise TooLarge(str(error)) from error
        except RemoteImageError as error:
            raise Unanswerable(str(error)) from error
