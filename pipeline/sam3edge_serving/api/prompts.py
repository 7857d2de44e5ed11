"""What to look for: phrases that can be asked."""

from __future__ import annotations

from collections.abc import Sequence

from sam3edge.core.phrases import single_spaced
from sam3edge_serving.http.errors import BadRequest

MAX_CHARACTERS = 256
"""Of a phrase. The model reads 32 tokens of it."""


def check_phrases(phrases: Sequence[str], most: int, param: str) -> tuple[str, ...]:
    """Phrases, none twice.

    Raises:
        BadRequest: none, too many, too long, or no text.
    """
    phrases = tuple(dict.fromkeys(single_spaced(phrase) for phrase in phrases))
    if not phrases or not all(phrases):
        raise BadRequest(
            "the request must say in words what to look for, such as 'scratch, dent'; it has no text",
            param=param,
            code="missing_prompt",
        )
    if len(phrases) > most:
        raise BadRequest(f"at most {most} phrases can be asked of an image, these are {len(phrases)}", param=param)
    for phrase in phrases:
        if len(phrase) > MAX_CHARACTERS or not phrase.isprintable():
            raise BadRequest(
                f"a phrase must be at most {MAX_CHARACTERS} printable characters; several are separated by commas or "
                f"line breaks; one of these has {len(phrase)}",
                param=param,
            )
    return phrases
