"""The image of a request, however it is named, as checked bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sam3edge.images.headers import HeaderError, read_header
from sam3edge_serving.http import data_url
from sam3edge_serving.http.errors import BadRequest, HttpError, TooLarge
from sam3edge_serving.http.remote_images import AddressRefused, FetchFailed, ImageTooLarge, RemoteImages

MEDIA_TYPES: Mapping[str, str] = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WebP": "image/webp",
    "TIFF": "image/tiff",
    "BMP": "image/bmp",
}
"""What images may be, by the name that their header's reader gives them."""

_TOLERANCE = 256
"""Bytes by which a text may seem too large before it is decoded."""


@dataclass(frozen=True, slots=True, eq=False)
class Image:
    """An image whose header was read and which is whole.

    Attributes:
        data: encoded.
        media_type: what it is, whatever it was said to be.
    """

    data: bytes = field(repr=False)
    media_type: str


@dataclass(frozen=True, slots=True)
class Images:
    """Reads images.

    Attributes:
        max_bytes: of one.
        remote: fetches those that are named by their address.
    """

    max_bytes: int
    remote: RemoteImages

    def from_text(self, text: str, param: str) -> Image:
        """An image as a data URL, as an https address, or as plain base64.

        Raises:
            BadRequest, TooLarge: with ``param``.
        """
        if data_url.is_address(text):
            return self.from_bytes(self._fetched(text, param), param)
        return self.from_bytes(self._decoded(text, param), param)

    def from_bytes(self, data: bytes, param: str) -> Image:
        """An image as it is.

        Raises:
            BadRequest, TooLarge: with ``param``.
        """
        if len(data) > self.max_bytes:
            raise self._too_large(len(data), param)
        try:
            header = read_header(data)
        except HeaderError as error:
            raise BadRequest(f"the image cannot be used: {_shown(error)}", param=param, code="invalid_image") from None
        return Image(data, MEDIA_TYPES[header.format])

    def _decoded(self, text: str, param: str) -> bytes:
        size = len(text) // 4 * 3  # of plain base64; a data URL's head and line breaks are within the tolerance
        if size > self.max_bytes + _TOLERANCE:
            raise self._too_large(size, param)
        try:
            return data_url.decode(text)
        except ValueError as error:
            raise BadRequest(f"{error}; or an https address", param=param, code="invalid_image") from None

    def _fetched(self, text: str, param: str) -> bytes:
        try:
            return self.remote.fetch(text)
        except ImageTooLarge as error:
            raise TooLarge(str(error), param=param, code="image_too_large") from error
        except AddressRefused as error:
            raise BadRequest(str(error), param=param, code="image_address_refused") from error
        except FetchFailed as error:
            raise BadRequest(str(error), param=param, code="image_not_fetched") from error

    def _too_large(self, size: int, param: str) -> HttpError:
        return TooLarge(
            f"an image must have at most {self.max_bytes} bytes here, this one has about {size}; larger ones go by "
            "POST /v1/uploads",
            param=param,
            code="image_too_large",
        )


def _shown(error: HeaderError) -> str:
    """Without the first bytes of what was sent."""
    text = str(error)
    return "expected a whole JPEG, PNG, WebP, TIFF or BMP image" if "begins with" in text else text[:200]
