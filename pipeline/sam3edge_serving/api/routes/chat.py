"""``POST /v1/chat/completions``: the answer is a message of the assistant whose content is GeoJSON."""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from dataclasses import asdict
from typing import Any

from sam3edge_serving.api.dependencies import Parts
from sam3edge_serving.api.exchange import Reply, Request, dump, json_reply
from sam3edge_serving.api.model import DetectionQuery
from sam3edge_serving.api.prompts import check_phrases
from sam3edge_serving.api.routes.chat_request import Chat, read_chat
from sam3edge_serving.api.routes.models import must_be_known

EVENTS = "text/event-stream"

USAGE = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
"""Nothing is counted in tokens here."""


def complete(parts: Parts, request: Request) -> Reply:
    """Raises HttpError."""
    chat = read_chat(request.json())
    must_be_known(parts, chat.model)
    phrases = check_phrases(chat.phrases, parts.max_prompts, chat.phrases_at)
    query = DetectionQuery(phrases, chat.threshold, chat.image_id)

    def answer() -> Reply:
        image = parts.images.from_text(chat.image, chat.image_at)
        return _reply(chat, parts.model.ask(image, query))

    asked = {
        "image": hashlib.sha256(chat.image.encode()).hexdigest(),
        "stream": [chat.stream, chat.usage_in_stream],
        **asdict(query),
    }
    return parts.once.run(request, asked, answer)


def _reply(chat: Chat, geojson: str) -> Reply:
    model = json.loads(geojson).get("model", {})
    frame = {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "created": int(time.time()),
        "model": chat.model,
        "system_fingerprint": f"{model.get('name', '')}-{model.get('version', '')}",
    }
    return _stream(frame, geojson, chat.usage_in_stream) if chat.stream else _whole(frame, geojson)


def _whole(frame: dict[str, Any], geojson: str) -> Reply:
    message = {"role": "assistant", "content": geojson, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
    return json_reply({**frame, "object": "chat.completion", "choices": [choice], "usage": USAGE})


def _stream(frame: dict[str, Any], geojson: str, with_usage: bool) -> Reply:
    """Server-sent events, all at once: the model finds everything in one step, so there is nothing to wait for."""
    frame = {**frame, "object": "chat.completion.chunk", **({"usage": None} if with_usage else {})}

    def chunk(delta: dict[str, Any], reason: str | None) -> dict[str, Any]:
        return {**frame, "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}]}

    chunks = [
        chunk({"role": "assistant", "content": ""}, None),
        chunk({"content": geojson}, None),
        chunk({}, "stop"),
    ]
    if with_usage:
        chunks.append({**frame, "choices": [], "usage": USAGE})
    lines = [f"data: {dump(one)}\n\n" for one in chunks]
    return Reply(200, "".join([*lines, "data: [DONE]\n\n"]), EVENTS, {"Cache-Control": "no-cache"})
