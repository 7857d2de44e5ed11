"""What OpenAI's clients ask of ``POST /v1/chat/completions``, and what of it means something here.

What is asked, and of which image, is read as ``conversation.py`` says.

- What steers the sampling of a language model (``temperature``, ``top_p``, ``seed``, ``max_tokens``, ``stop``, tools)
  is checked as far as OpenAI would refuse it and then left alone.
- What would have to change the answer and cannot is refused: ``n`` above 1, ``logprobs``, audio, a tool that must be
  called, a strict JSON schema that detections do not fit.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StrictBool, TypeAdapter

from sam3edge_serving.api.routes.conversation import Question, Turn, Wanted, read_parts, read_question, read_wanted
from sam3edge_serving.api.validation import read
from sam3edge_serving.http.errors import BadRequest


class Open(BaseModel):
    """Members that are not known are left alone: clients grow faster than this."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class ImageUrl(Open):
    """Where the image is: a data URL or an https address. ``detail`` is left alone."""

    url: str = Field(min_length=1)


class TextPart(Open):
    """Text of a message."""

    type: Literal["text"]
    text: str


class ImagePart(Open):
    """Image of a message."""

    type: Literal["image_url"]
    image_url: ImageUrl


Content: TypeAlias = list[Annotated[TextPart | ImagePart, Field(discriminator="type")]]
_CONTENT: TypeAdapter[Content] = TypeAdapter(Content)


class Message(Open):
    """One message; the content is looked at where the user speaks."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: JsonValue = None


class JsonSchema(Open):
    """A schema that the answer should follow."""

    name: str = ""
    strict: bool | None = None
    schema_: dict[str, JsonValue] = Field(default_factory=dict, alias="schema")


class ResponseFormat(Open):
    """The answer is JSON in any case."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class StreamOptions(Open):
    """What a stream says beside the answer."""

    include_usage: bool = False


class ChatRequest(Open):
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
    """What is asked, and how it is answered.

    Attributes:
        usage_in_stream: whether a stream ends with the usage.
    """

    question: Question
    stream: bool
    usage_in_stream: bool


def read_chat(body: dict[str, Any]) -> Chat:
    """Raises BadRequest."""
    request = read(ChatRequest, body)
    _refuse_what_cannot_be(request)
    turns = list(_turns(request))
    question = read_question(
        request.model, turns, "messages", request.threshold, request.image_id, _wanted(request.response_format)
    )
    usage = bool(request.stream_options and request.stream_options.include_usage)
    return Chat(question, bool(request.stream), usage)


def _turn(at: str, parts: Content) -> Turn:
    text = "\n".join(part.text for part in parts if isinstance(part, TextPart))
    images = [(f"{at}[{i}].image_url.url", p.image_url.url) for i, p in enumerate(parts) if isinstance(p, ImagePart)]
    return Turn(at, text, tuple(images))


def _wanted(form: ResponseFormat | None) -> Wanted | None:
    if form is None or form.type != "json_schema":
        return None
    schema, path = form.json_schema or JsonSchema(), "response_format.json_schema.schema"
    return read_wanted(schema.schema_, path, schema.strict)


def _turns(request: ChatRequest) -> Iterator[Turn]:
    for number, message in enumerate(request.messages):
        if message.role != "user":
            continue
        at = f"messages[{number}].content"
        yield _turn(at, read_parts(message.content, "text", _CONTENT, at))


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
