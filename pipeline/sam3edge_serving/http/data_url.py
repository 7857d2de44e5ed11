"""Images in text: as a data URL (RFC 2397), as plain base64, or as an address. Standard library only, for Lambda."""

from __future__ import annotations

import base64
import re

_DATA_URL = re.compile(r"data:(?:[\w.+-]+/[\w.+-]+)?(?:;[\w-]+=[^;,]*)*;base64,", re.IGNORECASE | re.ASCII)
_ADDRESS = re.compile(r"(?!data:)[a-z][a-z0-9+.-]*:", re.IGNORECASE | re.ASCII)
_LONGEST_SCHEME = 20


def is_address(text: str) -> bool:
    """Whether it begins as an address does, of whichever scheme; base64 has no colon."""
    return _ADDRESS.match(text[:_LONGEST_SCHEME]) is not None


def base64_of(text: str) -> str:
    """The base64 of a data URL, or all of the text where it is not one; without white space."""
    match = _DATA_URL.match(text)
    return "".join(text[match.end() if match else 0 :].split())


def decode(text: str) -> bytes:
    """What a data URL or plain base64 holds.

    Raises:
        ValueError: it is neither.
    """
    try:
        return base64.b64decode(base64_of(text), validate=True)
    except ValueError:  # binascii.Error is one, too; what it says helps nobody
        raise ValueError("expected base64, or a data URL with base64 such as data:image/jpeg;base64,...") from None
