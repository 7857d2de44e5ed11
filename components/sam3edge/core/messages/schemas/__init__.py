"""The JSON Schema (draft 2020-12) of every topic, as data; ``make schema`` writes the files."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

from sam3edge.core.messages.topics import NAMES


def schema_name(topic: str) -> str:
    """How the schema of a topic is called in its ``$id`` and its file, without a slash."""
    return topic.replace("/", "-")


def schema_file(topic: str) -> str:
    """The file of a topic's schema, in this folder."""
    return f"{schema_name(topic)}.schema.json"


def schema(topic: str) -> dict[str, Any]:
    """The JSON Schema of the messages on a topic.

    Args:
        topic: without its prefix: one of ``core.messages.topics.NAMES``, as ``status/model``.

    Raises:
        KeyError: there is no such topic.
    """
    if topic not in NAMES:
        raise KeyError(f"expected one of {', '.join(NAMES)}, got {topic}")
    loaded: dict[str, Any] = json.loads(files(__name__).joinpath(schema_file(topic)).read_text(encoding="utf-8"))
    return loaded
