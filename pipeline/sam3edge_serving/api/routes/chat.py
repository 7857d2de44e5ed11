"""``POST /v1/chat/completions``: the answer is a message of the assistant whose content is JSON."""

from __future__ import annotations

import time
import uuid
from typing import Any

from sam3edge_serving.api.dependencies import Parts
from sam3edge_serving.api.exchange import Reply, Request, dump, json_reply
from sam3edge_serving.api.routes import conversation
from sam3edge_serving.api.routes.chat_request import Chat, read_chat
from sam3edge_serving.api.routes.conversation import Answer

EVENTS = "text/event-stream"

USAGE = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
"""Nothing is counted in tokens here."""


def complete(parts: Parts, request: Request) -> Reply:
    """Raises HttpError."""
    chat = read_chat(request.json())
    form = ("chat", chat.stream, chat.usage_in_stream)
    return conversation.answer(parts, request, chat.question, form, lambda answer: _reply(chat, answer))


def _reply(chat: Chat, answer: Answer) -> Reply:
    frame = {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "created": int(time.time()),
        "model": chat.question.model,
        "system_fingerprint": answer.fingerprint,
    }
    return _stream(frame, answer.text, chat.usage_in_stream) if chat.stream else _whole(frame, answer.text)


def _whole(frame: dict[str, Any], text: str) -> Reply:
    message = {"role": "assistant", "content": text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return json_reply({**frame, "object": "chat.completion", "choices": [choice], "usage": USAGE})


def _stream(frame: dict[str, Any], text: str, with_usage: bool) -> Reply:
    """Server-sent events, all at once: the model finds everything in one step, so there is nothing to wait for."""
    frame = {**frame, "object": "chat.completion.chunk", **({"usage": None} if with_usage else {})}

    def chunk(delta: dict[str, Any], reason: str | None) -> dict[str, Any]:
        return {**frame, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}]}

    chunks = [
        chunk({"role": "assistant", "content": ""}, None),
        chunk({"content": text}, None),
        chunk({}, "stop"),
    ]
    if with_usage:
        chunks.append({**frame, "choices": [], "usage": USAGE})
    lines = [f"data: {dump(one)}\n\n" for one in chunks]
    return Reply(200, "".join([*lines, "data: [DONE]\n\n"]), EVENTS, {"Cache-Control": "no-cache"})
