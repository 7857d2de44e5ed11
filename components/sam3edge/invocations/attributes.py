"""The custom attributes of ``POST /invocations``: what a request says beside its body, in one header.

Written as OversightML writes it: pairs with commas between them, values URL-encoded, several phrases with bars between
them. Read as well with JumpStart's semicolons. Of several equal keys the last one counts. Keys that mean nothing here
are ignored: clients send trace ids in the same header.

Standard library only: Lambda functions carry this module as it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, unquote

HEADER = "X-Amzn-SageMaker-Custom-Attributes"

MAX_HEADER = 1024
"""ASCII characters of the value (``CustomAttributes`` in the API reference of InvokeEndpoint)."""

BETWEEN_PHRASES = "|"
"""A bar that belongs to a phrase is written %7C; a comma or semicolon that belongs to a value %2C or %3B."""

MAX_LATENCY = 60_000.0
"""Milliseconds: what SageMaker waits for a response."""

MAX_IMAGE_ID = 256
"""Characters of an image's name."""


class AttributesError(ValueError):
    """A value is not of its kind.

    Args:
        message: what was expected, got what.
        param: which key it is about; None where the whole header is.
    """

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a request says beside its body.

    Attributes:
        phrases: ``text_prompt``, one phrase or several; empty leaves it to the endpoint.
        threshold: ``threshold`` or ``confidence_threshold``, 0..1; None leaves it to the endpoint.
        latency_mean: ``mock_latency_mean``, milliseconds that are waited before the model is asked. As at OversightML,
            latencies that are none are ignored; they are bounded by ``MAX_LATENCY``.
        latency_std: ``mock_latency_std``, their standard deviation; where it is missing a tenth of the mean.
        image_id: what the image is called in the response.
    """

    phrases: tuple[str, ...] = ()
    threshold: float | None = None
    latency_mean: float = 0.0
    latency_std: float = 0.0
    image_id: str = ""


def write_attributes(attributes: Attributes) -> str:
    """The header's value, ASCII; it may be longer than ``MAX_HEADER``. Mock latencies are for tests and not written."""
    pairs = []
    if attributes.phrases:
        pairs.append("text_prompt=" + BETWEEN_PHRASES.join(quote(phrase, safe="") for phrase in attributes.phrases))
    if attributes.threshold is not None:
        pairs.append(f"threshold={attributes.threshold:g}")
    if attributes.image_id:
        pairs.append(f"image_id={quote(attributes.image_id, safe='')}")
    return ",".join(pairs)


def write_unsupported(phrases: Sequence[str]) -> str:
    """The header's value of a response: ``unsupported_prompts``, the phrases that the model could not answer, and
    ``unsupported_prompts_omitted``, how many of them did not fit. Empty where there are none."""
    if not phrases:
        return ""
    kept: list[str] = []
    room = MAX_HEADER - len(f"unsupported_prompts=,unsupported_prompts_omitted={len(phrases)}")
    for phrase in (quote(phrase, safe="") for phrase in phrases):
        room -= len(phrase) + len(BETWEEN_PHRASES)
        if room < 0:
            break
        kept.append(phrase)
    pairs = [f"unsupported_prompts={BETWEEN_PHRASES.join(kept)}"] if kept else []
    if len(kept) < len(phrases):
        pairs.append(f"unsupported_prompts_omitted={len(phrases) - len(kept)}")
    return ",".join(pairs)


def read_attributes(header: str) -> Attributes:
    """Parse the header's value; an empty one gives the defaults.

    Raises:
        AttributesError: a value is not of its kind.
    """
    separator = ";" if ";" in header else ","
    pairs: dict[str, str] = {}
    for part in header.split(separator):
        key, equals, value = part.partition("=")
        if equals:
            pairs[key.strip().lower()] = value.strip()
    threshold = None
    for key in ("threshold", "confidence_threshold"):
        if key in pairs:
            threshold = _threshold(key, pairs[key])
    image_id = _decoded("image_id", pairs.get("image_id", ""))
    if len(image_id) > MAX_IMAGE_ID:
        raise AttributesError(
            f"image_id in {HEADER}: expected at most {MAX_IMAGE_ID} characters, got {len(image_id)}", "image_id"
        )
    mean = _latency(pairs.get("mock_latency_mean", "")) or 0.0
    std = _latency(pairs.get("mock_latency_std", ""))
    return Attributes(
        tuple(_decoded("text_prompt", p) for p in pairs.get("text_prompt", "").split(BETWEEN_PHRASES) if p.strip()),
        threshold,
        mean,
        mean / 10 if std is None else std,
        image_id,
    )


def _decoded(key: str, value: str) -> str:
    try:
        return unquote(value, errors="strict").strip()
    except UnicodeDecodeError as error:
        raise AttributesError(f"{key} in {HEADER}: expected URL-encoded UTF-8", key) from error


def _threshold(key: str, text: str) -> float:
    try:
        value = float(unquote(text))
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise AttributesError(f"{key} in {HEADER}: expected a number from 0 to 1, got {text[:40]!r}", key)
    return value


def _latency(text: str) -> float | None:
    """Milliseconds; None where there are none."""
    try:
        value = float(unquote(text))
    except ValueError:
        return None
    return min(value, MAX_LATENCY) if value >= 0 else None
