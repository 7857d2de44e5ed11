"""Reading the members of a request, with an error that says what was wrong."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping

from sam3edge_simulator.ipc.errors import InvalidArgumentsError


def text(payload: Mapping[str, object], name: str) -> str:
    """A text that must be there and not be empty.

    Raises:
        InvalidArgumentsError: it is missing, empty or no text.
    """
    value = payload.get(name)
    if not isinstance(value, str) or not value:
        raise InvalidArgumentsError(f"expected a text as {name}, got {value!r}")
    return value


def optional_text(payload: Mapping[str, object], name: str) -> str:
    """A text that may be missing; empty then.

    Raises:
        InvalidArgumentsError: it is not text.
    """
    value = payload.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidArgumentsError(f"expected a text as {name}, got {value!r}")
    return value


def mapping(payload: Mapping[str, object], name: str) -> Mapping[str, object]:
    """An object that must be there.

    Raises:
        InvalidArgumentsError: it is missing or no object.
    """
    value = payload.get(name)
    if not isinstance(value, dict):
        raise InvalidArgumentsError(f"expected an object as {name}, got {value!r}")
    return value


def optional_mapping(payload: Mapping[str, object], name: str) -> Mapping[str, object]:
    """An object that may be missing; empty then.

    Raises:
        InvalidArgumentsError: it is not an object.
    """
    return {} if payload.get(name) is None else mapping(payload, name)


def texts(payload: Mapping[str, object], name: str) -> tuple[str, ...]:
    """A list of texts that may be missing; empty then.

    Raises:
        InvalidArgumentsError: it is not a list of texts.
    """
    value = payload.get(name)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise InvalidArgumentsError(f"expected a list of texts as {name}, got {value!r}")
    return tuple(value)


def octets(payload: Mapping[str, object], name: str) -> bytes:
    """Bytes written as base64; empty when missing.

    Raises:
        InvalidArgumentsError: it is not base64.
    """
    try:
        return base64.b64decode(optional_text(payload, name), validate=True)
    except binascii.Error as error:
        raise InvalidArgumentsError(f"expected base64 as {name}: {error}") from error


def base64_text(data: bytes) -> str:
    """Bytes as the wire carries them."""
    return base64.b64encode(data).decode("ascii")
