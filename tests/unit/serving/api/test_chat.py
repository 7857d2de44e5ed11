"""``/v1/chat/completions`` and ``/v1/models``: what OpenAI's clients ask, and what they are told."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from sam3edge_serving.api.model import DetectionQuery
from sam3edge_serving.api.routes.conversation import SCHEMA_ID
from support.api_rig import DATA_URL, GEOJSON, JPEG, PNG, Api, chat

PATH = "/v1/chat/completions"


def test_the_content_is_the_geojson(api: Api) -> None:
    heard = api.post(PATH, chat("red car,  dent\nscratch", threshold=0.4, image_id="a.png"))
    assert heard.status == 200
    answer = heard.json
    assert answer["object"] == "chat.completion"
    assert answer["model"] == "sam3edge"
    assert answer["system_fingerprint"] == "demo-1.2.3"
    assert answer["usage"] == {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    (choice,) = answer["choices"]
    assert choice["finish_reason"] == "stop"
    assert choice["message"] == {"role": "assistant", "content": GEOJSON, "refusal": None}
    ((image, looking),) = api.model.asked
    assert (image.data, image.media_type) == (PNG, "image/png")
    assert looking == DetectionQuery(("red car", "dent", "scratch"), 0.4, "a.png")


def test_the_last_user_message_is_the_prompt_and_the_last_image_the_image(api: Api) -> None:
    jpeg = "data:image/jpeg;base64," + base64.b64encode(JPEG).decode()
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "Answer in French."},
        chat("scratch", DATA_URL)["messages"][0],
        {"role": "assistant", "content": "{}"},
        chat("dent", jpeg)["messages"][0],
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "user", "content": "and now hole"},
    ]
    assert api.post(PATH, {"model": "sam3edge", "messages": messages}).status == 200
    ((image, looking),) = api.model.asked
    assert image.data == JPEG
    assert looking.phrases == ("and now hole",)


@pytest.mark.parametrize("usage", [False, True])
def test_a_stream_is_made_of_events(api: Api, usage: bool) -> None:
    options = {"stream_options": {"include_usage": True}} if usage else {}
    heard = api.post(PATH, chat(stream=True, **options))
    assert heard.headers["content-type"] == "text/event-stream"
    events = heard.text.split("\n\n")
    assert events[-2:] == ["data: [DONE]", ""]
    chunks = [json.loads(event.removeprefix("data: ")) for event in events[:-2]]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({chunk["id"] for chunk in chunks}) == 1
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    assert "".join(delta.get("content", "") for delta in deltas) == GEOJSON
    assert chunks[2]["choices"][0]["finish_reason"] == "stop"
    assert [chunk.get("usage") for chunk in chunks[3:]] == ([answer_usage()] if usage else [])


def answer_usage() -> dict[str, int]:
    """What a request costs in tokens."""
    return {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}


@pytest.mark.parametrize(
    "harmless",
    [
        {
            "n": 1,
            "temperature": 0.0,
            "top_p": 1,
            "max_tokens": 10,
            "max_completion_tokens": 5,
            "seed": 4,
            "stop": ["x"],
        },
        {"n": None, "stream": None, "logprobs": False, "modalities": ["text"], "tool_choice": "auto", "tools": []},
        {"response_format": {"type": "text"}},
        {"response_format": {"type": "json_object"}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "mine", "schema": {"type": "array"}}}},
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "detections", "strict": True, "schema": {"$id": SCHEMA_ID}},
            }
        },
    ],
)
def test_what_steers_a_language_model_is_left_alone(api: Api, harmless: dict[str, Any]) -> None:
    assert api.post(PATH, chat(**harmless)).json["choices"][0]["message"]["content"] == GEOJSON


@pytest.mark.parametrize(
    ("wrong", "param", "code"),
    [
        ({"n": 2}, "n", "unsupported_value"),
        ({"n": 0}, "n", "invalid_request"),
        ({"temperature": 2.1}, "temperature", "invalid_request"),
        ({"max_tokens": 0}, "max_tokens", "invalid_request"),
        ({"logprobs": True}, "logprobs", "unsupported_value"),
        ({"modalities": ["text", "audio"]}, "modalities", "unsupported_value"),
        ({"tool_choice": "required"}, "tool_choice", "unsupported_value"),
        ({"stream": "yes"}, "stream", "invalid_request"),
        ({"threshold": 1.5}, "threshold", "invalid_request"),
        ({"response_format": {"type": "xml"}}, "response_format.type", "invalid_request"),
        (
            {"response_format": {"type": "json_schema", "json_schema": {"strict": True, "schema": {"type": "array"}}}},
            "response_format.json_schema.schema",
            "unsupported_value",
        ),
        ({"messages": []}, "messages", "invalid_request"),
        ({"messages": "find dents"}, "messages", "invalid_request"),
        ({"messages": [{"role": "boss", "content": "x"}]}, "messages[0].role", "invalid_request"),
        (
            {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]},
            "messages[0].content[0]",
            "invalid_request",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            "messages[0].content[0].image_url.url",
            "invalid_request",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
            "messages[0].content[0].text",
            "invalid_request",
        ),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content", "invalid_request"),
        ({"messages": [{"role": "user", "content": "scratch"}]}, "messages", "missing_image"),
        ({"messages": [{"role": "system", "content": "scratch"}]}, "messages", "missing_image"),
    ],
)
def test_what_cannot_be_is_refused_by_name(api: Api, wrong: dict[str, Any], param: str, code: str) -> None:
    assert api.post(PATH, {**chat(), **wrong}).refusal() == (400, code, param)
    assert not api.model.asked


@pytest.mark.parametrize("text", ["", "  \n , ,"])
def test_an_image_without_text_is_refused(api: Api, text: str) -> None:
    status, code, _ = api.post(PATH, chat(text)).refusal()
    assert (status, code) == (400, "missing_prompt")


def test_several_images_in_one_message_are_refused(api: Api) -> None:
    request = chat()
    request["messages"][0]["content"].append({"type": "image_url", "image_url": {"url": DATA_URL}})
    assert api.post(PATH, request).refusal() == (400, "invalid_request", "messages[0].content")


@pytest.mark.parametrize("text", ["a, b, c, d, e", "x" * 257, "bell\x07"])
def test_phrases_are_bounded(api: Api, text: str) -> None:
    assert api.post(PATH, chat(text)).refusal() == (400, "invalid_request", "messages[0].content")


def test_models(api: Api) -> None:
    model = {"id": "sam3edge", "object": "model", "created": 1_790_000_000, "owned_by": "sam3edge"}
    assert api.get("/v1/models").json == {"object": "list", "data": [model]}
    assert api.get("/v1/models/sam3edge").json == model
    assert api.get("/v1/models/gpt-4o").refusal() == (404, "model_not_found", "model")
    assert api.post(PATH, {**chat(), "model": "gpt-4o"}).refusal() == (404, "model_not_found", "model")


LABELS = {
    "type": "object",
    "properties": {"labels": {"type": "array", "items": {"type": "string"}}, "count": {"type": "integer"}},
    "required": ["labels", "count"],
    "additionalProperties": False,
}


def schema_format(schema: dict[str, Any], strict: bool) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "mine", "strict": strict, "schema": schema}}


@pytest.mark.parametrize("strict", [True, False])
def test_the_content_follows_the_clients_schema(api: Api, strict: bool) -> None:
    heard = api.post(PATH, chat(response_format=schema_format(LABELS, strict)))
    content = json.loads(heard.json["choices"][0]["message"]["content"])
    [feature] = json.loads(GEOJSON)["features"]
    assert content == {"labels": [feature["properties"]["prompt"]], "count": 1}


def test_a_schema_that_cannot_be_followed_costs_nothing_and_is_a_wish_without_strict(api: Api) -> None:
    wish = {**LABELS, "properties": {**LABELS["properties"], "mood": {"type": "string"}}, "required": ["mood"]}
    refused = api.post(PATH, chat(response_format=schema_format(wish, strict=True)))
    where = "response_format.json_schema.schema.properties.mood"
    assert refused.refusal() == (400, "unsupported_value", where)
    assert "'mood' of this type means nothing here" in refused.json["error"]["message"]
    assert api.model.asked == []
    content = api.post(PATH, chat(response_format=schema_format(wish, strict=False))).json["choices"][0]["message"]
    assert content["content"] == GEOJSON


def test_a_sentence_is_read(api: Api) -> None:
    assert api.post(PATH, chat("Please find all scratches and dents in this image.")).status == 200
    [(_, looking)] = api.model.asked
    assert looking.phrases == ("scratch", "dent")


def test_an_idempotency_key_belongs_to_one_form(api: Api) -> None:
    headers = {"Idempotency-Key": "k"}
    assert api.post(PATH, chat(), headers).status == 200
    other = api.post(PATH, chat(response_format=schema_format(LABELS, strict=True)), headers)
    assert other.refusal()[:2] == (422, "idempotency_key_reused")


@pytest.mark.parametrize("number", ["1e999", "-1e999", "NaN", "-Infinity"])
def test_numbers_that_are_not_finite_are_a_clients_fault(api: Api, number: str) -> None:
    body = json.dumps(chat(response_format=schema_format({**LABELS, "minimum": "?"}, strict=True))).replace(
        '"?"', number
    )
    heard = api.send("POST", PATH, body.encode(), {"Content-Type": "application/json"})
    assert heard.refusal()[:2] == (400, "invalid_request")
    assert api.model.asked == []


@pytest.mark.parametrize("where", ["description", "const", "\ud800"])
def test_text_that_is_not_unicode_is_a_clients_fault(api: Api, where: str) -> None:
    schema = {**LABELS, "properties": {**LABELS["properties"], "x": {where: "\ud800"}}}
    assert api.post(PATH, chat(response_format=schema_format(schema, strict=False))).refusal()[0] == 400


def test_the_name_of_a_member_in_a_refusal_is_bounded(api: Api) -> None:
    schema = {"type": "object", "properties": {"x" * 1_000_000: 5}}
    heard = api.post(PATH, chat(response_format=schema_format(schema, strict=True)))
    assert heard.status == 400
    assert len(heard.text) < 3000


def test_without_strict_what_does_not_fit_is_geojson(api: Api) -> None:
    none = {**LABELS, "properties": {"count": {"type": "integer", "maximum": 0}}, "required": ["count"]}
    assert api.post(PATH, chat(response_format=schema_format(none, strict=True))).refusal()[:2] == (422, "unanswerable")
    content = api.post(PATH, chat(response_format=schema_format(none, strict=False))).json["choices"][0]["message"]
    assert content["content"] == GEOJSON


def test_a_schema_must_be_there_where_one_is_announced(api: Api) -> None:
    for strict in (True, False):
        heard = api.post(PATH, chat(response_format=schema_format({}, strict=strict)))
        assert heard.refusal() == (400, "invalid_request", "response_format.json_schema.schema")
