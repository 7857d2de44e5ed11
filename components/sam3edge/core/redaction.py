"""Takes passwords out of texts that leave the device: messages, status, logs.

Configurations hold addresses with passwords, which come back in the errors of those who could not use them: in a
wrong place, misspelt, or quoted by a library. So every reported text goes through here, whatever it is about.
"""

from __future__ import annotations

import re

HIDDEN = "***"

_USER = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*:/+)?[^\s/'\"=@,;]*:\S*@|(?<=//)[^\s/@]+@")
"""``user:password@``, to the last ``@`` of the word because passwords may hold slashes and ``@``; or ``token@`` after
the slashes of an address."""

_NAMED = re.compile(
    r"(?P<name>(?:pass(?:word|wd|phrase)?|pwd|user-pw|secret|token|signature|credential|api[_-]?key)[\w-]*)=[^\s&'\"<>,;]+",
    re.IGNORECASE,
)
"""``password=...`` and ``X-Amz-Signature=...`` of an address's query, or of a command line."""


def redact(text: str) -> str:
    """The text without anything that looks like ``user:password@`` or ``password=...``."""
    if "@" in text:
        text = _USER.sub(lambda found: f"{found['scheme'] or ''}{HIDDEN}@", text)
    return _NAMED.sub(rf"\g<name>={HIDDEN}", text) if "=" in text else text
