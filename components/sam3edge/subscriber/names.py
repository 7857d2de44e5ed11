"""Names that come from devices, as parts of paths, topics and identifiers elsewhere.

What a device calls itself, its camera or an object is text from outside: it may hold ``../``, MQTT's wildcards, or what
another system does not allow. Different names stay different: where something had to be replaced, a digest is added.
"""

from __future__ import annotations

import hashlib
import re

MAX_LENGTH = 40
"""So that a topic of several of them stays below the 256 bytes that AWS IoT Core allows."""

_PLAIN = re.compile(r"[A-Za-z0-9-]+(?:_[A-Za-z0-9-]+)*")  # without "__", which joins identifiers
_DIGEST = re.compile(r"-[0-9a-f]{8}")
_NOT_IN_TOPICS = r"/+#$\x00-\x1f\x7f-\x9f\ufffe\uffff\ud800-\udfff"
_TOPIC_LEVEL = re.compile(rf"[^{_NOT_IN_TOPICS}]+")


def one_line(text: str, limit: int) -> str:
    """A text for people: printable, in one line, not too long."""
    return " ".join("".join(c if c.isprintable() else " " for c in text[:limit]).split())


def readable(name: str) -> str:
    """What people recognise a name by, of letters, digits, ``-`` and ``_``. Different names may become the same."""
    return re.sub(r"[^A-Za-z0-9-]+", "_", name)[:MAX_LENGTH].strip("_") or "name"


def identifier(name: str) -> str:
    """A name of letters, digits, ``-`` and single ``_`` between them, at most 40 characters. It is a file name, a level
    of a topic, and what Home Assistant allows in identifiers, and may be joined with others by ``__``."""
    return name if _PLAIN.fullmatch(name) and _is_free(name) else _with_digest(readable(name), name)


def topic_level(name: str) -> str:
    """A name as one level of a topic that people read: without slashes, wildcards and control characters."""
    if is_topic_level(name) and _is_free(name):
        return name
    return _with_digest(re.sub(rf"[{_NOT_IN_TOPICS}]+", "_", name), name)


def is_topic_level(text: str) -> bool:
    """Whether a text can be one level of a topic as it is."""
    return _TOPIC_LEVEL.fullmatch(text) is not None


def camera_id(device: str, source: str) -> str:
    """Of a source of frames of a device."""
    return f"{identifier(device)}__{identifier(source)}"


def _is_free(name: str) -> bool:
    """Whether no other name becomes this one."""
    return len(name) <= MAX_LENGTH and _DIGEST.fullmatch(name[-9:]) is None


def _with_digest(cleaned: str, name: str) -> str:
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{cleaned[: MAX_LENGTH - 9].strip('_')}-{digest}"
