"""What OpenAI's clients ask of ``POST /v1/chat/completions``, and what of it means something here.

- The prompt is the text of the last user message that has text; several phrases are separated by commas or line breaks.
- The image is that of the last user message that has one, so that a conversation can go on about it.
- Messages of other roles are left alone: the model takes no instructions.
- What steers the sampling of a language model (``temperature``, ``top_p``, ``seed``, ``max_tokens``, ``stop``, tools)
  is checked as far as OpenAI would refuse it and then left alone.
- What would have to change the answer and cannot is refused: ``n`` above 1, ``logprobs``, audio, a tool that must be
  called, a strict JSON schema that is not this answer's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StrictBool, TypeAdapter, ValidationError

from sam3edge_serving.api.prompts import split_phrases
from sam3edge_serving.api.validation import bad_request, read
from sam3edge_serving.http.errors import BadRequest

SCHEMA_ID = "urn:sam3edge:detections:1.0"
"""``$id`` of ``sam3edge/core/messages/schemas/detections.schema.json``."""


class _Open(BaseModel):
    """Members that are not known are left alone: clients grow faster than this."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class ImageUrl(_Open):
    """Where the image is: a data URL or an https address. ``detail`` is left alone."""

    url: str = Field(min_length=1)


class TextPart(_Open):
    """Text of a message."""

    type: Literal["text"]
    text: str


class ImagePart(_Open):
    """Image of a message."""

    type: Literal["image_url"]
    image_url: ImageUrl


Content: TypeAlias = list[Annotated[TextPart | ImagePart, Field(discriminator="type")]]
_CONTENT: TypeAdapter[Content] = TypeAdapter(Content)


class Message(_Open):
    """One message; the content is looked at where the user speaks."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: JsonValue = None


class JsonSchema(_Open):
    """A schema that the answer should follow."""

    name: str = ""
    strict: bool | None = None
    schema_: dict[str, JsonValue] = Field(default_factory=dict, alias="schema")


class ResponseFormat(_Open):
    """The answer is JSON in any case."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class StreamOptions(_Open):
    """What a stream says beside the answer."""

    include_usage: bool = False


class ChatRequest(_Open):
    """The members of a request that are read. ``threshold`` and ``image_id`` are ours (``extra_body``)."""

    model: str
    messages: list[Message] = Field(min_length=1)
    stream: StrictBool | None = None
    stream_options: StreamOptions | None = None
    response_format: ResponseFormat | None = None
    n: int | None = Field(None, ge=1, le=128)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2, allow_inf_nan=False)
    top_p: float | None = Field(None, ge=0, le=1, allow_inf_nan=False)
    logprobs: bool | None = None
    modalities: list[str] | None = None
    tool_choice: JsonValue = None
    threshold: float | None = Field(None, ge=0, le=1, allow_inf_nan=False)
    image_id: str = Field("", max_length=256)


@dataclass(frozen=True, slots=True)
class Chat:
    """What is asked.

    Attributes:
        phrases: may be empty.
        phrases_at: the member that holds it.
        image: a data URL or an address.
        image_at: the member that holds it.
        usage_in_stream: whether a stream ends with the usage.
    """

    model: str
    phrases: tuple[str, ...] = field(repr=False)
    phrases_at: str
    image: str = field(repr=False)
    image_at: str
    threshold: float | None
    image_id: str
    stream: bool
    usage_in_stream: bool


def read_chat(body: dict[str, Any]) -> Chat:
    """Raises BadRequest."""
    request = read(ChatRequest, body)
    _refuse_what_cannot_be(request)
    text, text_at, image, image_at = "", "messages", "", "messages"
    for at, parts in _user_contents(request):
        words = "\n".join(part.text for part in parts if isinstance(part, TextPart))
        if words.strip():
            text, text_at = words, at
        images = [(i, part) for i, part in enumerate(parts) if isinstance(part, ImagePart)]
        if len(images) > 1:
            raise BadRequest(f"{at} has {len(images)} images; ask about one image at a time", param=at)
        for i, part in images:
            image, image_at = part.image_url.url, f"{at}[{i}].image_url.url"
    if not image:
        raise BadRequest(
            "a user's message must have an image: a part of type image_url with a data URL or an https address",
            param="messages",
            code="missing_image",
        )
    usage = bool(request.stream_options and request.stream_options.include_usage)
    return Chat(
        request.model,
        split_phrases(text),
        text_at,
        image,
        image_at,
        request.threshold,
        request.image_id,
        bool(request.stream),
        usage,
    )


def _user_contents(request: ChatRequest) -> Iterator[tuple[str, Content]]:
    for number, message in enumerate(request.messages):
        if message.role != "user":
            continue
        at, content = f"messages[{number}].content", message.content
        if not isinstance(content, str | list):
            raise BadRequest(f"{at}: must be a text or a list of parts", param=at)
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        try:
            yield at, _CONTENT.validate_python(parts)
        except ValidationError as error:
            raise bad_request(error, at) from None


def _refuse_what_cannot_be(request: ChatRequest) -> None:
    def refuse(param: str, message: str) -> BadRequest:
        return BadRequest(message, param=param, code="unsupported_value")

    if request.n not in (None, 1):
        raise refuse("n", "n must be 1: there is one answer to an image")
    if request.logprobs:
        raise refuse("logprobs", "logprobs cannot be given; every feature of the answer has a score")
    if request.modalities is not None and request.modalities != ["text"]:
        raise refuse("modalities", "the answer is text; modalities must be ['text']")
    if request.tool_choice not in (None, "auto", "none"):
        raise refuse("tool_choice", "no tool is ever called; tool_choice must be 'auto' or 'none'")
    schema = request.response_format.json_schema if request.response_format else None
    if schema and schema.strict and schema.schema_.get("$id") != SCHEMA_ID:
        raise refuse(
            "response_format",
            f"the answer always follows the schema with $id {SCHEMA_ID}; send that one, or strict: false, or the type "
            "json_object",
        )
