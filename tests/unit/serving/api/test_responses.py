"""``/v1/responses``: what OpenAI's clients ask, and what they are told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sam3edge_serving.api.model import DetectionQuery
from support.api_rig import DATA_URL, GEOJSON, PNG, Api

PATH = "/v1/responses"


def asked(prompt: str = "scratch", image: str = DATA_URL, **others: Any) -> dict[str, Any]:
    content = [{"type": "input_text", "text": prompt}, {"type": "input_image", "image_url": image, "detail": "auto"}]
    return {"model": "sam3edge", "input": [{"role": "user", "content": content}], **others}


def test_the_output_is_one_message_with_the_geojson(api: Api) -> None:
    heard = api.post(PATH, asked("find all scratches and dents", threshold=0.4, image_id="a.png", metadata={"a": "b"}))
    assert heard.status == 200, heard.text
    answer = heard.json
    assert (answer["object"], answer["status"], answer["error"]) == ("response", "completed", None)
    assert answer["metadata"] == {"a": "b"}
    [message] = answer["output"]
    assert (message["type"], message["role"], message["status"]) == ("message", "assistant", "completed")
    [part] = message["content"]
    assert (part["type"], part["text"], part["annotations"]) == ("output_text", GEOJSON, [])
    [(image, looking)] = api.model.asked
    assert image.data == PNG
    assert looking == DetectionQuery(("scratch", "dent"), 0.4, "a.png")


def test_a_conversation(api: Api) -> None:
    items = [
        {"role": "developer", "content": "Answer in French."},
        asked("scratch")["input"][0],
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "{}"}]},
        {"role": "user", "content": "dent"},
    ]
    assert api.post(PATH, {"model": "sam3edge", "input": items}).status == 200
    [(image, looking)] = api.model.asked
    assert (image.data, looking.phrases) == (PNG, ("dent",))


def test_a_stream_is_made_of_named_events(api: Api) -> None:
    heard = api.post(PATH, asked(stream=True))
    assert heard.headers["content-type"] == "text/event-stream"
    events = [event.split("\n") for event in heard.text.strip().split("\n\n")]
    read = [json.loads(data.removeprefix("data: ")) for _, data in events]
    assert [name.removeprefix("event: ") for name, _ in events] == [event["type"] for event in read]
    assert [event["sequence_number"] for event in read] == list(range(len(read)))
    assert (read[0]["type"], read[-1]["type"]) == ("response.created", "response.completed")
    assert "".join(e["delta"] for e in read if e["type"] == "response.output_text.delta") == GEOJSON
    assert read[-1]["response"]["output"][0]["content"][0]["text"] == GEOJSON


def test_a_schema_is_followed(api: Api) -> None:
    schema = {"type": "object", "properties": {"count": {"type": "integer"}}, "required": ["count"]}
    text = {"format": {"type": "json_schema", "name": "x", "strict": True, "schema": schema}}
    answer = api.post(PATH, asked(text=text)).json
    assert json.loads(answer["output"][0]["content"][0]["text"]) == {"count": 1}
    assert answer["text"] == text
    schema["properties"]["mood"] = {"type": "string"}  # type: ignore[index]
    schema["required"] = ["mood"]
    assert api.post(PATH, asked(text=text)).refusal() == (
        400,
        "unsupported_value",
        "text.format.schema.properties.mood",
    )


@pytest.mark.parametrize(
    ("wrong", "param", "code"),
    [
        ({"input": "scratch"}, "input", "missing_image"),
        ({"input": []}, "input", "missing_image"),
        ({"input": 7}, "input", "invalid_request"),
        ({"model": "gpt-5"}, "model", "model_not_found"),
        ({"background": True}, "background", "unsupported_value"),
        ({"previous_response_id": "resp_1"}, "previous_response_id", "unsupported_value"),
        ({"conversation": "conv_1"}, "conversation", "unsupported_value"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt", "unsupported_value"),
        ({"tool_choice": "required"}, "tool_choice", "unsupported_value"),
        ({"temperature": 3}, "temperature", "invalid_request"),
        ({"input": [{"role": "user", "content": 7}]}, "input[0].content", "invalid_request"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "file-1"}]}]},
            "input[0].content[0].image_url",
            "unsupported_value",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_audio"}]}]},
            "input[0].content[0]",
            "invalid_request",
        ),
        (
            {"input": [{"role": "user", "content": [asked()["input"][0]["content"][1]] * 2}]},
            "input[0].content",
            "invalid_request",
        ),
        ({"input": [{"role": "user", "content": [asked()["input"][0]["content"][1]]}]}, "input", "missing_prompt"),
    ],
)
def test_what_cannot_be_is_refused_by_name(api: Api, wrong: dict[str, Any], param: str, code: str) -> None:
    heard = api.post(PATH, {**asked(), **wrong}).refusal()
    assert heard == (404 if code == "model_not_found" else 400, code, param)
    assert api.model.asked == []
