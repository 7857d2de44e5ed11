"""What a request asks, whichever format it came in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from sam3edge.core.phrases import single_spaced
from sam3edge.core.types import EngineOutput, Frame, MaskPrediction, ModelInfo, Prompt, VisualPrompt
from sam3edge_serving.http import data_url
from sam3edge_serving.http.errors import BadRequest, TooLarge, Unanswerable

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
class DetectionQuery:
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
class VisualQuery:
    """Objects that a person points at in one image.

    Attributes:
        image: its encoded bytes, or where they are.
        prompts: an object each; none for everything that there is in the image.
    """

    image: EncodedImage
    prompts: tuple[VisualPrompt, ...]


@dataclass(frozen=True, slots=True, eq=False)
class DetectionResult:
    """What the model found of what was asked."""

    frame: Frame
    model: ModelInfo
    prompts: tuple[Prompt, ...]
    output: EngineOutput


@dataclass(frozen=True, slots=True, eq=False)
class VisualResult:
    """What the model outlined of what was pointed at."""

    frame: Frame
    predictions: tuple[MaskPrediction, ...]


def image_of(image: str | ImageValue) -> EncodedImage:
    """The encoded image of a JSON request, or where it is.

    Raises:
        BadRequest: no base64.
    """
    text = (image if isinstance(image, str) else image.value).strip()
    if (isinstance(image, ImageValue) and image.type == "url") or data_url.is_address(text):
        return Address(text)
    try:
        return data_url.decode(text)
    except ValueError as error:
        raise BadRequest(f"the image: {error}", param="image") from error


def prompts_of(phrases: Sequence[str], threshold: float, most: int) -> tuple[Prompt, ...]:
    """Phrases as prompts; repetitions, in whichever letters, are asked once: the model reads lower case.

    Raises:
        BadRequest: a phrase is empty, too long, or no text.
        TooLarge: more than ``most``.
    """
    once: dict[str, Prompt] = {}
    for prompt in checked(tuple(Prompt(single_spaced(phrase), threshold) for phrase in phrases), most):
        once.setdefault(prompt.text.lower(), prompt)
    return tuple(once.values())


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


def require_supported(found: DetectionResult) -> DetectionResult:
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
