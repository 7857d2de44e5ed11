"""MQTT topic names and filters, with the limits of AWS IoT Core.

Source: MQTT 3.1.1 section 4.7, and the message broker limits in the AWS IoT Core service quotas.
"""

from __future__ import annotations

MAX_SLASHES = 7
MAX_TOPIC_BYTES = 256


class TopicError(ValueError):
    """A topic or filter that AWS IoT Core does not take."""


def check_topic(topic: str) -> None:
    """Refuse what cannot be published to.

    Raises:
        TopicError: empty, too long, too deep, or with a wildcard.
    """
    _check_size(topic)
    if "+" in topic or "#" in topic:
        raise TopicError(f"expected a topic without wildcards, got {topic!r}")


def check_filter(pattern: str) -> None:
    """Refuse what cannot be subscribed to.

    Raises:
        TopicError: empty, too long, too deep, or with a wildcard where none may stand.
    """
    _check_size(pattern)
    levels = pattern.split("/")
    for number, level in enumerate(levels):
        last = number == len(levels) - 1
        if ("#" in level and (level != "#" or not last)) or ("+" in level and level != "+"):
            raise TopicError(f"expected '+' and '#' as whole levels and '#' at the end only, got {pattern!r}")


def _check_size(topic: str) -> None:
    if not topic or "\0" in topic:
        raise TopicError(f"expected a topic of at least one character and without NUL, got {topic!r}")
    if len(topic.encode()) > MAX_TOPIC_BYTES:
        raise TopicError(f"expected at most {MAX_TOPIC_BYTES} bytes of topic, got {len(topic.encode())}")
    if topic.count("/") > MAX_SLASHES and not topic.startswith("$"):
        raise TopicError(f"expected at most {MAX_SLASHES} slashes in a topic (AWS IoT Core), got {topic!r}")
