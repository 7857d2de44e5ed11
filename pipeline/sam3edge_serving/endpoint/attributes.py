"""The header X-Amzn-SageMaker-Custom-Attributes: OSML's pairs with commas between them, JumpStart's with semicolons.

Values are URL-decoded, the last of several equal keys wins. A comma or semicolon that belongs to a value is written
%2C or %3B. Keys that mean nothing here are left alone: clients send trace ids in the same header.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from urllib.parse import unquote

from sam3edge_serving.endpoint.problems import BadRequest

HEADER = "X-Amzn-SageMaker-Custom-Attributes"

BETWEEN_PHRASES = "|"
"""Several phrases in one ``text_prompt``; a bar that belongs to a phrase is written %7C."""

MAX_CHARACTERS = 256
"""Of an image's name."""


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a request says beside its body.

    Attributes:
        phrases: ``text_prompt``, one phrase or several with bars between them; empty when there is none.
        threshold: ``threshold`` or ``confidence_threshold``, 0..1.
        latency_mean: ``mock_latency_mean``, milliseconds that are waited before the model is asked.
        latency_std: ``mock_latency_std``, their standard deviation.
        image_id: what the image is called in the answer.
    """

    phrases: tuple[str, ...] = ()
    threshold: float | None = None
    latency_mean: float = 0.0
    latency_std: float = 0.0
    image_id: str = ""


def read_attributes(header: str) -> Attributes:
    """Parse the header's value; an empty one gives the defaults.

    Raises:
        BadRequest: a value is not of its kind.
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
            threshold = _number(key, pairs[key], 1.0)
    image_id = _decoded("image_id", pairs.get("image_id", ""))
    if len(image_id) > MAX_CHARACTERS:
        raise BadRequest(f"image_id in {HEADER} must have at most {MAX_CHARACTERS} characters", param="image_id")
    return Attributes(
        tuple(_decoded("text_prompt", p) for p in pairs.get("text_prompt", "").split(BETWEEN_PHRASES) if p.strip()),
        threshold,
        _number("mock_latency_mean", pairs.get("mock_latency_mean", "0"), math.inf),
        _number("mock_latency_std", pairs.get("mock_latency_std", "0"), math.inf),
        image_id,
    )


def _decoded(key: str, value: str) -> str:
    try:
        return unquote(value, errors="strict").strip()
    except UnicodeDecodeError as error:
        raise BadRequest(f"{key} in {HEADER} is not URL-encoded UTF-8") from error


def _number(key: str, text: str, most: float) -> float:
    try:
        value = float(unquote(text))
    except ValueError:
        value = math.nan
    if not (0 <= value <= most and math.isfinite(value)):
        bounds = "from 0 to 1" if most == 1.0 else "of milliseconds, 0 or more"
        raise BadRequest(f"{key} in {HEADER} must be a number {bounds}, it is {text[:40]!r}")
    return value
