"""What OpenAI's clients ask of ``POST /v1/responses``, and what of it means something here.

What is asked, and of which image, is read as ``conversation.py`` says. What steers a language model
(``instructions``, ``reasoning``, ``temperature``, tools) is left alone. Nothing is kept of a response, so what needs a
kept one is refused: ``previous_response_id``, ``conversation``, ``background``, files by id, prompts by id.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, JsonValue, StrictBool, TypeAdapter

from sam3edge_serving.api.routes.chat_request import Open
from sam3edge_serving.api.routes.conversation import Question, Turn, read_parts, read_question, read_wanted
from sam3edge_serving.api.validation import read
from sam3edge_serving.http.errors import BadRequest


class InputText(Open):
    """Text of a message."""

    type: Literal["input_text"]
    text: str


class InputImage(Open):
    """Image of a message: a data URL or an https address. ``detail`` is left alone."""

    type: Literal["input_image"]
    image_url: str | None = Field(None, min_length=1)
    file_id: str | None = None


Content: TypeAlias = list[Annotated[InputText | InputImage, Field(discriminator="type")]]
_CONTENT: TypeAdapter[Content] = TypeAdapter(Content)


class InputItem(Open):
    """A message, or something else of a conversation; only messages of the user are looked at."""

    type: str = "message"
    role: str = ""
    content: JsonValue = None


class TextFormat(Open):
    """The answer is JSON in any case."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    strict: bool | None = None
    schema_: dict[str, JsonValue] | None = Field(None, alias="schema")


class TextOptions(Open):
    """How the answer is written."""

    format: TextFormat | None = None


class ResponsesRequest(Open):
    """The members of a request that are read. ``threshold`` and ``image_id`` are ours (``extra_body``)."""

    model: str
    input: str | list[InputItem]
    stream: StrictBool | None = None
    text: TextOptions | None = None
    background: bool | None = None
    previous_response_id: str | None = None
    conversation: JsonValue = None
    prompt: JsonValue = None
    tool_choice: JsonValue = None
    max_output_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2, allow_inf_nan=False)
    top_p: float | None = Field(None, ge=0, le=1, allow_inf_nan=False)
    metadata: dict[str, str] | None = None
    threshold: float | None = Field(None, ge=0, le=1, allow_inf_nan=False)
    image_id: str = Field("", max_length=256)


@dataclass(frozen=True, slots=True)
class ResponsesQuestion:
    """What is asked, and how it is answered; ``metadata`` is given back."""

    question: Question
    stream: bool
    metadata: dict[str, str]
    text: dict[str, Any]


def read_responses(body: dict[str, Any]) -> ResponsesQuestion:
    """Raises BadRequest."""
    request = read(ResponsesRequest, body)
    _refuse_what_cannot_be(request)
    items = request.input if isinstance(request.input, list) else [InputItem(role="user", content=request.input)]
    form = request.text.format if request.text else None
    wanted = None
    if form is not None and form.type == "json_schema":
        wanted = read_wanted(form.schema_, "text.format.schema", form.strict)
    question = read_question(request.model, list(_turns(items)), "input", request.threshold, request.image_id, wanted)
    asked = body.get("text")
    text = asked if isinstance(asked, dict) else {"format": {"type": "text"}}
    return ResponsesQuestion(question, bool(request.stream), request.metadata or {}, text)


def _turns(items: list[InputItem]) -> Iterator[Turn]:
    for number, item in enumerate(items):
        if item.type != "message" or item.role != "user":
            continue
        at = f"input[{number}].content"
        yield _turn(at, read_parts(item.content, "input_text", _CONTENT, at))


def _turn(at: str, parts: Content) -> Turn:
    images = []
    for number, part in enumerate(parts):
        if isinstance(part, InputImage):
            where = f"{at}[{number}].image_url"
            if part.image_url is None:
                raise BadRequest(
                    f"{where}: expected a data URL or an https address; no files are kept here that an id could name",
                    param=where,
                    code="unsupported_value",
                )
            images.append((where, part.image_url))
    return Turn(at, "\n".join(part.text for part in parts if isinstance(part, InputText)), tuple(images))


def _refuse_what_cannot_be(request: ResponsesRequest) -> None:
    def refuse(param: str, message: str) -> BadRequest:
        return BadRequest(message, param=param, code="unsupported_value")

    if request.background:
        raise refuse("background", "background must be false: the answer is there at once")
    for name in ("previous_response_id", "conversation", "prompt"):
        if getattr(request, name) is not None:
            raise refuse(name, f"{name} must be left out: nothing is kept of a response; send the image again")
    if request.tool_choice not in (None, "auto", "none"):
        raise refuse("tool_choice", "no tool is ever called; tool_choice must be 'auto' or 'none'")
