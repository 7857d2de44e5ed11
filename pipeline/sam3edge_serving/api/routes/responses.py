"""``POST /v1/responses``: the output is one message of the assistant whose text is JSON."""

from __future__ import annotations

import time
import uuid
from typing import Any

from sam3edge_serving.api.dependencies import Parts
from sam3edge_serving.api.exchange import Reply, Request, dump, json_reply
from sam3edge_serving.api.routes import conversation
from sam3edge_serving.api.routes.chat import EVENTS
from sam3edge_serving.api.routes.conversation import Answer
from sam3edge_serving.api.routes.responses_request import ResponsesQuestion, read_responses

USAGE = {
    "input_tokens": 0,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 0,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 0,
}
"""Nothing is counted in tokens here."""


def respond(parts: Parts, request: Request) -> Reply:
    """Raises HttpError."""
    asked = read_responses(request.json())
    form = ("responses", asked.stream, asked.metadata)
    return conversation.answer(parts, request, asked.question, form, lambda answer: _reply(asked, answer))


def _reply(asked: ResponsesQuestion, answer: Answer) -> Reply:
    part = {"type": "output_text", "text": answer.text, "annotations": [], "logprobs": []}
    message = {
        "id": f"msg_{uuid.uuid4().hex}",
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": [part],
    }
    response: dict[str, Any] = {
        "id": f"resp_{uuid.uuid4().hex}",
        "object": "response",
        "created_at": int(time.time()),
        "status": "completed",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "metadata": asked.metadata,
        "model": asked.question.model,
        "output": [message],
        "parallel_tool_calls": False,
        "previous_response_id": None,
        "store": False,
        "temperature": None,
        "text": asked.text,
        "tool_choice": "none",
        "tools": [],
        "top_p": None,
        "truncation": "disabled",
        "usage": USAGE,
    }
    return _stream(response, message, part) if asked.stream else json_reply(response)


def _stream(response: dict[str, Any], message: dict[str, Any], part: dict[str, Any]) -> Reply:
    """Server-sent events, all at once: the model finds everything in one step, so there is nothing to wait for."""
    begun = {**response, "status": "in_progress", "output": [], "usage": None}
    item = {"item_id": message["id"], "output_index": 0, "content_index": 0}
    events: list[tuple[str, dict[str, Any]]] = [
        ("response.created", {"response": begun}),
        ("response.in_progress", {"response": begun}),
        (
            "response.output_item.added",
            {"output_index": 0, "item": {**message, "status": "in_progress", "content": []}},
        ),
        ("response.content_part.added", {**item, "part": {**part, "text": ""}}),
        ("response.output_text.delta", {**item, "delta": part["text"], "logprobs": []}),
        ("response.output_text.done", {**item, "text": part["text"], "logprobs": []}),
        ("response.content_part.done", {**item, "part": part}),
        ("response.output_item.done", {"output_index": 0, "item": message}),
        ("response.completed", {"response": response}),
    ]
    lines = [
        f"event: {kind}\ndata: {dump({'type': kind, 'sequence_number': number, **event})}\n\n"
        for number, (kind, event) in enumerate(events)
    ]
    return Reply(200, "".join(lines), EVENTS, {"Cache-Control": "no-cache"})
