"""What a request asks, whichever format it came in."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from sam3edge.core.phrases import single_spaced
from sam3edge.core.types import EngineOutput, Frame, MaskPrediction, ModelInfo, Prompt, VisualPrompt
from sam3edge_serving.endpoint.problems import BadRequest, TooLarge, Unanswerable

_DATA_URL = re.compile(r"data:(?:[\w.+-]+/[\w.+-]+)?(?:;[\w-]+=[^;,]*)*;base64,", re.IGNORECASE | re.ASCII)
_ADDRESS = re.compile(r"(?:https?|s3|gs|ftp|file):", re.IGNORECASE)

MAX_CHARACTERS = 256
"""Of a phrase. The model reads 32 tokens of it."""


class ImageValue(BaseModel):
    """An image as Roboflow's clients write it."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    type: Literal["base64", "url"] = "base64"
    value: Annotated[str, Field(min_length=1)]


ImageText: TypeAlias = Annotated[
    str, Field(min_length=1, description="base64, a data URL, or an address of an allowed host")
]
Share: TypeAlias = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


@dataclass(frozen=True, slots=True)
class Address:
    """Where an image can be fetched, by a host that the operator allows."""

    url: str


EncodedImage: TypeAlias = bytes | Address


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """Phrases and exemplars about one image.

    Attributes:
        image: its encoded bytes, or where they are.
        prompts: at least one; none twice.
        name: what the image is called in the answer; may be empty.
    """

    image: EncodedImage
    prompts: tuple[Prompt, ...]
    name: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class PointedAt:
    """Objects that a person points at in one image.

    Attributes:
        image: its encoded bytes, or where they are.
        clicks: at least one object.
    """

    image: EncodedImage
    clicks: tuple[VisualPrompt, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What the model found of what was asked."""

    frame: Frame
    model: ModelInfo
    prompts: tuple[Prompt, ...]
    output: EngineOutput


@dataclass(frozen=True, slots=True, eq=False)
class Outlined:
    """What the model outlined of what was pointed at."""

    frame: Frame
    outlines: tuple[MaskPrediction, ...]


def image_of(image: str | ImageValue) -> EncodedImage:
    """The encoded image of a JSON request, or where it lies.

    Raises:
        BadRequest: no base64.
    """
    text = (image if isinstance(image, str) else image.value).strip()
    if (isinstance(image, ImageValue) and image.type == "url") or _ADDRESS.match(text):
        return Address(text)
    encoded = "".join(text[match.end() :].split() if (match := _DATA_URL.match(text)) else text.split())
    try:
        return base64.b64decode(encoded, validate=True)
    except ValueError as error:  # binascii.Error is one, too
        raise BadRequest(f"the image is neither base64 nor a data URL: {error}", param="image") from error


def prompts_of(phrases: Sequence[str], threshold: float, most: int) -> tuple[Prompt, ...]:
    """Phrases as prompts; repetitions are asked once.

    Raises:
        BadRequest: a phrase is empty, too long, or no text.
        TooLarge: more than ``most``.
    """
    return checked(tuple(Prompt(single_spaced(phrase), threshold) for phrase in phrases), most)


def checked(prompts: Sequence[Prompt], most: int) -> tuple[Prompt, ...]:
    """Prompts whose phrases are text, none twice; raises as ``prompts_of``."""
    if len(prompts) > most:
        raise TooLarge(f"at most {most} prompts can be asked of an image, these are {len(prompts)}")
    for prompt in prompts:
        if not 0 < len(prompt.text) <= MAX_CHARACTERS or not prompt.text.isprintable():
            raise BadRequest(
                f"a phrase must be 1 to {MAX_CHARACTERS} printable characters, such as 'red car'; this one has "
                f"{len(prompt.text)}: {prompt.text[:40]!r}"
            )
    return tuple(dict.fromkeys(prompts))


def must_be_answered(found: Found) -> Found:
    """Refuse an answer that answers nothing.

    Raises:
        Unanswerable: the model could answer none of the prompts.
    """
    unsupported_prompts = found.output.unsupported_prompts
    if all(prompt.text in unsupported_prompts for prompt in found.prompts):
        text, reason = next(iter(unsupported_prompts.items()))
        raise Unanswerable(f"the prompt {text!r} cannot be answered: {reason}")
    return found


def named(frame: Frame, name: str) -> Frame:
    """The frame under another name."""
    return replace(frame, name=name) if name else frame
