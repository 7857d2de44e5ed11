"""Every way in which a request can fail, in OpenAI's shape."""

from __future__ import annotations

import base64
import io
import json

import pytest

from sam3edge_serving.api.gateway_responses import GATEWAY_RESPONSES
from sam3edge_serving.http.errors import BadGateway, Busy, GatewayTimeout, HttpError, NotReady, Unanswerable
from sam3edge_simulator.api_gateway.gateway import GATEWAY_BYTES, Gateway, own
from support.api_rig import DATA_URL, MAX_IMAGE_BYTES, PNG, Api, Heard, chat

JSON = {"Content-Type": "application/json"}


def heard(kind: str, authorizer: dict[str, str]) -> Heard:
    """A gateway response."""
    reply = own(kind, authorizer)
    return Heard(reply.status, {name.lower(): value for name, value in reply.headers}, reply.body)


@pytest.mark.parametrize("path", ["/v1/models", "/v1/chat/completions", "/v1/elsewhere"])
def test_no_key(api: Api, path: str) -> None:
    answer = api.get(path, key="")
    assert answer.refusal() == (401, "missing_api_key", None)
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "header",
    ["Bearer nonsense", "Bearer s3e-" + "0" * 24 + "-" + "x" * 43, "Bearer \u00e9\u00e8"],
)
def test_a_bad_key(api: Api, header: str) -> None:
    assert api.get("/v1/models", key="", headers={"Authorization": header}).refusal() == (401, "invalid_api_key", None)


def test_a_key_whose_secret_is_wrong(api: Api) -> None:
    forged = api.key[:-1] + ("A" if api.key[-1] != "A" else "B")
    assert api.get("/v1/models", key=forged).refusal() == (401, "invalid_api_key", None)


def test_a_revoked_key(api: Api) -> None:
    assert api.get("/v1/models", key=api.revoked_key).refusal() == (401, "revoked_api_key", None)


@pytest.mark.parametrize("headers", [{"Authorization": "bearer KEY"}, {"X-Api-Key": "KEY"}, {"x-api-key": "KEY"}])
def test_a_key_in_either_header(api: Api, headers: dict[str, str]) -> None:
    sent = {name: value.replace("KEY", api.key) for name, value in headers.items()}
    assert api.get("/v1/models", key="", headers=sent).status == 200


def test_without_the_authorizer_nothing_is_answered(api: Api) -> None:
    api.gateway._authorizer = lambda event, _: {
        "principalId": "?",
        "policyDocument": {"Statement": [{"Effect": "Allow"}]},
    }
    assert api.get("/v1/models").refusal() == (401, "missing_api_key", None)


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/chat/completions", "POST"),
        ("DELETE", "/v1/detections", "POST"),
        ("PUT", "/v1/uploads", "POST"),
        ("POST", "/v1/models", "GET"),
        ("PATCH", "/v1/detections/det-1", "GET"),
        ("OPTIONS", "/v1/models/sam3edge", "GET"),
        ("HEAD", "/v1/models", "GET"),
    ],
)
def test_a_wrong_method(api: Api, method: str, path: str, allowed: str) -> None:
    answer = api.send(method, path)
    assert answer.refusal() == (405, "method_not_allowed", None)
    assert answer.headers["allow"] == allowed


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/completions", "/v1/detections/a/b", "/v2/models"])
def test_a_wrong_path(api: Api, path: str) -> None:
    assert api.get(path).refusal() == (404, "not_found", None)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/detections", "/v1/uploads"])
@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "image/png"])
def test_a_wrong_type(api: Api, path: str, kind: str) -> None:
    answer = api.send("POST", path, b"x=1", {"Content-Type": kind})
    assert answer.refusal() == (415, "unsupported_media_type", None)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/detections", "/v1/uploads"])
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7", b'"x"', b"\xff\xfe", b"[" * 100_000])
def test_a_wrong_body(api: Api, path: str, body: bytes) -> None:
    assert api.send("POST", path, body, JSON).refusal() == (400, "invalid_request", None)


@pytest.mark.parametrize(
    "image",
    [
        "data:image/png;base64,????",
        "data:image/png,raw",
        "data:image/png;base64," + base64.b64encode(b"no image").decode(),
        "data:image/png;base64," + base64.b64encode(PNG[:-20]).decode(),
        "data:image/gif;base64," + base64.b64encode(b"GIF89a" + b"\0" * 40).decode(),
        "not base64!",
    ],
)
def test_something_that_is_no_image(api: Api, image: str) -> None:
    status, code, param = api.post("/v1/chat/completions", chat(image=image)).refusal()
    assert (status, param) == (400, "messages[0].content[1].image_url.url")
    assert code in ("invalid_image", "image_address_refused")
    assert not api.model.asked


@pytest.mark.parametrize(
    "address", ["http://example.com/a.png", "file:///etc/passwd", "https://example.com/a.png", "s3://bucket/a.png"]
)
def test_an_address_that_is_not_allowed(api: Api, address: str) -> None:
    status, code, _ = api.post("/v1/chat/completions", chat(image=address)).refusal()
    assert (status, code) == (400, "image_address_refused")


def test_an_image_that_is_too_large(api: Api) -> None:
    image = "data:image/png;base64," + base64.b64encode(PNG + b"\0" * MAX_IMAGE_BYTES).decode()
    answer = api.post("/v1/chat/completions", chat(image=image))
    assert answer.refusal() == (413, "image_too_large", "messages[0].content[1].image_url.url")
    assert "/v1/uploads" in answer.json["error"]["message"]


@pytest.mark.parametrize("size", [GATEWAY_BYTES + 1, 5 * 2**20])
def test_a_request_that_is_too_large_for_gateway_or_function(api: Api, size: int) -> None:
    assert api.send("POST", "/v1/detections", b"x" * size, JSON).refusal() == (413, "too_large", None)


@pytest.mark.parametrize(
    ("problem", "status", "code", "retry_after"),
    [
        (Busy("busy", retry_after=3), 429, "model_busy", "3"),
        (NotReady("cold", retry_after=7), 503, "model_not_ready", "7"),
        (BadGateway("failed"), 502, "model_failed", None),
        (GatewayTimeout("late"), 504, "timeout", None),
        (Unanswerable("no such phrase"), 422, "unanswerable", None),
    ],
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/detections"])
def test_what_the_model_could_not(
    api: Api, path: str, problem: HttpError, status: int, code: str, retry_after: str | None
) -> None:
    api.refuses_with(problem)
    body = chat() if "chat" in path else {"image": DATA_URL, "text_prompt": "scratch"}
    answer = api.post(path, body)
    assert answer.refusal() == (status, code, None)
    assert answer.headers.get("retry-after") == retry_after


def test_an_answer_that_is_too_large_is_refused_unless_it_may_be_compressed(api: Api) -> None:
    api.model.text = json.dumps({**json.loads(api.model.text), "filler": "x" * 7_000_000})
    body = {"image": DATA_URL, "text_prompt": "scratch"}
    assert api.post("/v1/detections", body).refusal() == (422, "response_too_large", None)
    packed = api.post("/v1/detections", body, {"Accept-Encoding": "gzip, deflate"})
    assert packed.status == 200
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.text == api.model.text


def test_an_unexpected_failure_says_nothing_of_itself(
    api: Api, logs: io.StringIO, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    api.model.problem = ValueError(f"broken by {DATA_URL}")
    assert api.post("/v1/chat/completions", chat()).refusal() == (500, "internal_error", None)
    said = capsys.readouterr()
    assert DATA_URL[:60] not in said.out + said.err + logs.getvalue() + caplog.text
    (line,) = [entry for entry in map(json.loads, logs.getvalue().splitlines()) if entry["level"] == "ERROR"]
    assert line["error"] == "ValueError"
    assert any("rig.py" in place for place in line["places"])


def test_a_broken_authorizer_and_a_broken_function(api: Api) -> None:
    def broken(event: object, context: object) -> dict[str, object]:
        raise RuntimeError("no table")

    gateway = api.gateway
    api.gateway = Gateway(gateway._function, broken)
    assert api.get("/v1/models").refusal() == (500, "internal_error", None)
    api.gateway = Gateway(broken, gateway._authorizer)
    assert api.get("/v1/models").refusal() == (502, "internal_error", None)


@pytest.mark.parametrize("kind", sorted(set(GATEWAY_RESPONSES) - {"DEFAULT_4XX"}))
def test_gateway_responses_are_errors_in_the_same_shape(kind: str) -> None:
    reply = heard(kind, {"code": "invalid_api_key", "message": "wrong"})
    status, code, param = reply.refusal()
    assert status == GATEWAY_RESPONSES[kind].status
    assert code
    assert "$" not in code
    assert param is None


def test_the_default_gateway_response_takes_the_gateways_own_words() -> None:
    template = GATEWAY_RESPONSES["DEFAULT_4XX"].template.replace("$context.error.messageString", '"Forbidden"')
    assert json.loads(template)["error"]["message"] == "Forbidden"
    assert GATEWAY_RESPONSES["THROTTLED"].parameters == {
        "gatewayresponse.header.Retry-After": "'1'",
        "gatewayresponse.header.x-request-id": "context.requestId",
    }


def test_a_request_that_the_gateway_answers_can_be_named_too(api: Api) -> None:
    """Whoever asks for help has an id to give, whatever was wrong."""
    answers = [api.get("/v1/models", key=""), api.get("/v1/models"), api.get("/v1/elsewhere")]
    assert [answer.status for answer in answers] == [401, 200, 404]
    ids = [answer.headers["x-request-id"] for answer in answers]
    assert all(ids)
    assert len(set(ids)) == len(ids)


def test_logs_and_metrics_hold_no_key_no_image_no_phrase(
    api: Api, logs: io.StringIO, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    api.post("/v1/chat/completions", chat("a very secret phrase"))
    api.get("/v1/models", key=api.revoked_key)
    api.post("/v1/chat/completions", chat("a very secret phrase", image="data:image/png;base64,QUJDREVGRw=="))
    api.get("/v1/elsewhere")
    said = capsys.readouterr()
    lines = [json.loads(line) for line in logs.getvalue().splitlines()]
    for secret in (api.key, api.key[-43:], api.revoked_key, "secret phrase", DATA_URL[22:60], "QUJDREVGRw"):
        assert secret not in said.out + said.err + logs.getvalue() + caplog.text
    answered = [line for line in lines if line.get("message") == "answered"]
    assert [(line["route"], line["status"]) for line in answered] == [
        ("/v1/chat/completions", 200),
        ("/v1/chat/completions", 400),
        ("other", 404),
    ]
    assert "key_id" not in answered[2]  # of the request before
    assert all(line["request_id"] for line in answered)
    assert answered[0]["key_id"] == api.record.id
    assert answered[1]["request_id"] != answered[0]["request_id"]
    metrics = [json.loads(line) for line in said.out.splitlines() if "_aws" in line]
    assert [line["ClientErrors"] for line in metrics] == [[0.0], [1.0], [1.0]]
