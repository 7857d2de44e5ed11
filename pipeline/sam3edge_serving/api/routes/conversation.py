"""What the two ways to converse (chat completions, responses) have in common: a question about an image.

- What to look for is the text of the last message of the user that has text, as a list or a sentence
  (``sentences.py``).
- The image is that of the last message of the user that has one, so that a conversation can go on about it.
- Messages of other roles are left alone: the model takes no instructions.
- The answer is the GeoJSON of ``POST /v1/detections``; where the client has a schema, what ``structured`` makes of it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from sam3edge_serving.api.dependencies import Parts
from sam3edge_serving.api.exchange import Reply, Request, dump
from sam3edge_serving.api.model import DetectionQuery
from sam3edge_serving.api.prompts import check_phrases
from sam3edge_serving.api.routes.models import must_be_known
from sam3edge_serving.api.structured.findings import Findings, read_findings
from sam3edge_serving.api.structured.mapping import understand
from sam3edge_serving.api.validation import bad_request
from sam3edge_serving.http.errors import BadRequest, Unanswerable
from sam3edge_serving.sentences import phrases_in

T = TypeVar("T")

SCHEMA_ID = "urn:sam3edge:detections:1.0"
"""``$id`` of ``sam3edge/core/messages/schemas/detections.schema.json``."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of the user.

    Attributes:
        at: where it is in the request.
        text: all of its text; may be empty.
        images: where each of its images is, and its address.
    """

    at: str
    text: str = field(repr=False)
    images: tuple[tuple[str, str], ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Wanted:
    """A schema that the answer should follow.

    Attributes:
        path: where it is in the request.
        strict: whether any other answer is an error.
    """

    schema: Mapping[str, Any]
    path: str
    strict: bool


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked.

    Attributes:
        phrases: may be empty.
        phrases_at, image_at: the members that hold them.
        image: a data URL or an address.
        wanted: None for GeoJSON.
    """

    model: str
    phrases: tuple[str, ...] = field(repr=False)
    phrases_at: str
    image: str = field(repr=False)
    image_at: str
    threshold: float | None
    image_id: str
    wanted: Wanted | None


@dataclass(frozen=True, slots=True)
class Answer:
    """The assistant's text, and which model it is from."""

    text: str = field(repr=False)
    fingerprint: str


def read_wanted(schema: Mapping[str, Any] | None, path: str, strict: bool | None) -> Wanted:
    """The schema of a format of the type ``json_schema``. Raises BadRequest where there is none."""
    if not schema:
        raise BadRequest(f"{path}: expected a JSON Schema with the type json_schema", param=path)
    return Wanted(schema, path, bool(strict))


def read_parts(content: object, text_type: str, adapter: TypeAdapter[T], at: str) -> T:
    """The parts of one message of the user, of which a mere text is one.

    Args:
        text_type: what the client calls a part that is text.
        adapter: the parts that there can be.
        at: the member that holds them.

    Raises:
        BadRequest: it is neither a text nor such parts.
    """
    if not isinstance(content, str | list):
        raise BadRequest(f"{at}: must be a text or a list of parts", param=at)
    parts = [{"type": text_type, "text": content}] if isinstance(content, str) else content
    try:
        return adapter.validate_python(parts)
    except ValidationError as error:
        raise bad_request(error, parts, at) from None


def read_question(
    model: str, turns: Sequence[Turn], at: str, threshold: float | None, image_id: str, wanted: Wanted | None
) -> Question:
    """The question of a conversation.

    Args:
        turns: of the user, in their order.
        at: the member that holds them.

    Raises:
        BadRequest: no image, or several in one message.
    """
    text, text_at, image, image_at = "", at, "", at
    for turn in turns:
        if turn.text.strip():
            text, text_at = turn.text, turn.at
        if len(turn.images) > 1:
            raise BadRequest(f"{turn.at} has {len(turn.images)} images; ask about one image at a time", param=turn.at)
        for where, address in turn.images:
            image, image_at = address, where
    if not image:
        raise BadRequest(
            f"a user's message in {at} must have an image, as a data URL or an https address",
            param=at,
            code="missing_image",
        )
    return Question(model, phrases_in(text), text_at, image, image_at, threshold, image_id, wanted)


def answer(
    parts: Parts, request: Request, question: Question, form: Sequence[object], reply: Callable[[Answer], Reply]
) -> Reply:
    """Ask the model, once for every idempotency key.

    Args:
        form: what else the reply depends on.

    Raises:
        HttpError: why there is no answer.
    """
    must_be_known(parts, question.model)
    phrases = check_phrases(question.phrases, parts.max_prompts, question.phrases_at)
    query = DetectionQuery(phrases, question.threshold, question.image_id)
    write = _writer(question.wanted, phrases)

    def run() -> Reply:
        geojson = parts.model.ask(parts.images.from_text(question.image, question.image_at), query)
        message = json.loads(geojson)
        model = message.get("model", {})
        text = geojson if write is None else _written(write, message, geojson, question.wanted)
        return reply(Answer(text, f"{model.get('name', '')}-{model.get('version', '')}"))

    asked = {
        "image": hashlib.sha256(question.image.encode()).hexdigest(),
        "form": list(form),
        "schema": None
        if question.wanted is None
        else hashlib.sha256(dump(question.wanted.schema).encode()).hexdigest(),
        **asdict(query),
    }
    return parts.once.run(request, asked, run)


def _written(write: Callable[[Findings], Any], message: Mapping[str, Any], geojson: str, wanted: Wanted | None) -> str:
    try:
        return dump(write(read_findings(message)))
    except Unanswerable:
        if wanted is None or wanted.strict:
            raise
        return geojson  # without ``strict`` a schema is a wish


def _writer(wanted: Wanted | None, phrases: Sequence[str]) -> Callable[[Findings], Any] | None:
    """What follows the client's schema; None for GeoJSON."""
    if wanted is None or wanted.schema.get("$id") == SCHEMA_ID:
        return None
    try:
        return understand(wanted.schema, phrases, wanted.path)
    except BadRequest:
        if wanted.strict:
            raise
        return None  # without ``strict`` a schema is a wish
