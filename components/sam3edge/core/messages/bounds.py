"""How long the variable parts of a message may be, so that no input makes one that cannot be sent.

A message must fit into what the nucleus carries, ``max_bytes``, however long paths, phrases and errors are and whatever
characters they hold. Lengths are bytes of JSON: a control character takes six. What is cut ends with an ellipsis, and
what is left out is counted in a member beside it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Literal

from sam3edge.core.redaction import redact

MIN_PAYLOAD = 4000
"""The smallest ``max_bytes``: nucleus lite carries 7,300 bytes up and 4,800 down. Every fixed bound fits below it."""

MAX_REASON = 1000
"""Bytes of a reason or an error."""

MAX_NAME = 250
"""Bytes of a frame's name in messages that do not know ``max_bytes``."""

MAX_WORD = 100
"""Bytes of what is a word: the version, the provider or the name of a model, the id of a frame."""

_ELLIPSIS = "…"


def json_size(text: str) -> int:
    """Bytes of a text in JSON, without its quotation marks."""
    return len(json.dumps(text, ensure_ascii=False).encode("utf-8", "replace")) - 2


def bounded(text: str, max_bytes: int, keep: Literal["start", "end"] = "start") -> str:
    """The text, or as much of its start or end as ``max_bytes`` bytes of JSON hold.

    Lone surrogates, which UTF-8 cannot write, become question marks.
    """
    clean = text.encode("utf-8", "replace").decode()
    if json_size(clean) <= max_bytes:
        return clean
    room = max_bytes - len(_ELLIPSIS.encode())
    kept: list[str] = []
    for character in clean[:max_bytes] if keep == "start" else reversed(clean[-max_bytes:]):
        room -= json_size(character)
        if room < 0:
            break
        kept.append(character)
    return "".join([*kept, _ELLIPSIS] if keep == "start" else [_ELLIPSIS, *reversed(kept)])


def reason_of(error: object, max_bytes: int = MAX_REASON) -> str:
    """What an error says, bounded and without passwords."""
    return bounded(redact(str(error)), max_bytes)


def as_many_as_fit(entries: Iterable[tuple[str, str]], max_bytes: int) -> dict[str, str]:
    """The first of these members that fit into ``max_bytes`` bytes of a JSON object.

    A name may have a quarter of it, a value a tenth.
    """
    fitting: dict[str, str] = {}
    most = max_bytes
    for name, value in entries:
        name, value = bounded(name, most // 4), bounded(value, most // 10)
        max_bytes -= json_size(name) + json_size(value) + len('"":"",')
        if max_bytes < 0:
            break
        fitting[name] = value
    return fitting
