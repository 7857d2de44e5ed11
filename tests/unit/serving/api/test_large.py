"""Images that are too large for a request: uploaded, asked about, and looked for."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.exceptions import ClientError

from sam3edge_serving.api.dependencies import Large
from sam3edge_serving.api.uploads.jobs import INLINE_BYTES, Jobs
from sam3edge_serving.api.uploads.offers import Uploads
from sam3edge_serving.api.uploads.storage import Storage
from support.api_rig import GEOJSON, PNG, Api, Aws
from support.async_endpoint import AsyncEndpoint

MAX = 10_000_000


@dataclass
class Clock:
    """A clock that is set."""

    now: float = 1_800_000_000

    def __call__(self) -> float:
        return self.now


@dataclass
class Setting:
    """An API with uploads, and what is behind it."""

    api: Api
    endpoint: AsyncEndpoint
    clock: Clock
    bucket: str
    s3: Any

    def upload(self, data: bytes = PNG, kind: str = "image/png") -> str:
        """What a client does: ask for a form, and send the image as it says. Returns the upload's id."""
        offer = self.api.post("/v1/uploads", {"content_type": kind}).json
        self.s3.put_object(Bucket=self.bucket, Key=offer["fields"]["key"], Body=data, ContentType=kind)
        return str(offer["id"])

    def start(self) -> str:
        """An upload with a question. Returns the detection's id."""
        heard = self.api.post("/v1/detections", {"upload": self.upload(), "text_prompt": "dent"})
        assert heard.status == 202
        return str(heard.json["id"])


def setting_of(aws: Aws, bucket: str, failure: ClientError | None = None) -> Setting:
    """Put together."""
    clock, storage, endpoint = Clock(), Storage(aws.s3, bucket), AsyncEndpoint(aws.s3, bucket, failure)
    jobs = Jobs(storage, endpoint, "my-endpoint", 600, 1200, 900, 5, clock)
    return Setting(Api(large=Large(Uploads(storage, MAX, 900, clock), jobs)), endpoint, clock, bucket, aws.s3)


@pytest.fixture
def setting(aws: Aws, bucket: str) -> Setting:
    """An API with uploads."""
    return setting_of(aws, bucket)


def test_an_upload_is_bounded_by_what_is_signed(setting: Setting) -> None:
    heard = setting.api.post("/v1/uploads", {"content_type": "image/tiff", "bytes": 5_000_000})
    assert heard.status == 201
    offer = heard.json
    assert (offer["object"], offer["method"], offer["max_bytes"]) == ("upload", "POST", 5_000_000)
    assert offer["expires_at"] == 1_800_000_900
    assert offer["fields"]["Content-Type"] == "image/tiff"
    policy = json.loads(base64.b64decode(offer["fields"]["policy"]))
    assert ["content-length-range", 1, 5_000_000] in policy["conditions"]
    assert {"Content-Type": "image/tiff"} in policy["conditions"]
    assert {"bucket": setting.bucket} in policy["conditions"]
    assert {"key": f"uploads/{setting.api.record.id}/{offer['id']}"} in policy["conditions"]


@pytest.mark.parametrize(
    ("body", "refusal"),
    [
        ({"content_type": "image/gif"}, (400, "invalid_request", "content_type")),
        ({"content_type": "image/png", "bytes": MAX + 1}, (413, "too_large", "bytes")),
        ({"content_type": "image/png", "bytes": 0}, (400, "invalid_request", "bytes")),
        ({"content_type": "image/png", "key": "../other"}, (400, "invalid_request", "key")),
        ({}, (400, "invalid_request", "content_type")),
    ],
)
def test_an_upload_that_is_not_taken(setting: Setting, body: dict[str, object], refusal: tuple[int, str, str]) -> None:
    assert setting.api.post("/v1/uploads", body).refusal() == refusal


def test_from_upload_to_answer(setting: Setting) -> None:
    body = {"upload": setting.upload(), "text_prompt": ["red car", "a|b, c"], "threshold": 0.5, "image_id": "a b"}
    heard = setting.api.post("/v1/detections", body)
    assert heard.status == 202
    state = heard.json
    assert heard.headers["location"] == f"/v1/detections/{state['id']}"
    assert heard.headers["retry-after"] == "5"
    (asked,) = setting.endpoint.asked
    assert asked == {
        "EndpointName": "my-endpoint",
        "InputLocation": f"s3://{setting.bucket}/uploads/{setting.api.record.id}/{body['upload']}",
        "ContentType": "image/png",
        "Accept": "application/geo+json",
        "CustomAttributes": "text_prompt=red%20car|a%7Cb%2C%20c,threshold=0.5,image_id=a%20b",
        "InferenceId": state["id"],
        "InvocationTimeoutSeconds": 600,
        "RequestTTLSeconds": 1200,
    }
    path = f"/v1/detections/{state['id']}"
    queued = setting.api.get(path)
    assert queued.json == state == {**state, "status": "queued", "result": None, "result_url": None, "error": None}
    assert queued.headers["retry-after"] == "5"
    setting.endpoint.write(".out", GEOJSON)
    found = setting.api.get(path).json
    assert (found["status"], found["result"]) == ("succeeded", json.loads(GEOJSON))
    address = urlsplit(found["result_url"])
    assert address.path.endswith(f"async/{state['id']}.out")
    assert parse_qs(address.query)["X-Amz-Expires"] == ["900"]


def test_a_long_answer_has_an_address_only(setting: Setting) -> None:
    job = setting.start()
    setting.endpoint.write(".out", json.dumps({**json.loads(GEOJSON), "filler": "x" * INLINE_BYTES}))
    found = setting.api.get(f"/v1/detections/{job}").json
    assert (found["status"], found["result"]) == ("succeeded", None)
    assert found["result_url"]


@pytest.mark.parametrize(
    ("suffix", "body", "code", "message"),
    [
        ("-error.out", '{"error": {"message": "the image is damaged"}}', "unanswerable", "the image is damaged"),
        ("-error.out", "Traceback: secret", "model_failed", "the model failed on this image; tell the operator"),
        (".out", "<html>", "model_failed", "the model's endpoint responded with something that is not JSON; try again"),
    ],
)
def test_a_job_that_failed(setting: Setting, suffix: str, body: str, code: str, message: str) -> None:
    job = setting.start()
    setting.endpoint.write(suffix, body)
    state = setting.api.get(f"/v1/detections/{job}").json
    assert state["status"] == "failed"
    assert (state["error"]["code"], state["error"]["message"]) == (code, message)
    assert state["result"] is None


def test_a_job_that_nobody_answers_fails_in_the_end(setting: Setting) -> None:
    job = setting.start()
    setting.clock.now += 1800
    assert setting.api.get(f"/v1/detections/{job}").json["status"] == "queued"
    setting.clock.now += 1
    state = setting.api.get(f"/v1/detections/{job}").json
    assert (state["status"], state["error"]["code"]) == ("failed", "timeout")


def test_one_key_does_not_see_what_is_anothers(setting: Setting) -> None:
    job, upload = setting.start(), setting.upload()
    other = setting.api.other_key
    assert setting.api.get(f"/v1/detections/{job}", key=other).refusal() == (404, "detection_not_found", None)
    body = {"upload": upload, "text_prompt": "dent"}
    assert setting.api.post("/v1/detections", body, key=other).refusal() == (404, "upload_not_found", "upload")


@pytest.mark.parametrize("name", ["upl-" + "0" * 32, "upl-1", "../../jobs/x", "upl-" + "0" * 31 + "/"])
def test_an_upload_that_is_not_there(setting: Setting, name: str) -> None:
    body = {"upload": name, "text_prompt": "dent"}
    assert setting.api.post("/v1/detections", body).refusal() == (404, "upload_not_found", "upload")


@pytest.mark.parametrize("name", ["det-" + "0" * 32, "det-1", "..", "%2e%2e%2fx"])
def test_a_detection_that_is_not_there(setting: Setting, name: str) -> None:
    status, code, _ = setting.api.get(f"/v1/detections/{name}").refusal()
    assert (status, code) in [(404, "detection_not_found"), (404, "not_found")]


def test_an_upload_of_another_type_or_size(setting: Setting) -> None:
    for data, kind, refusal in [
        (b"x" * (MAX + 1), "image/png", (413, "too_large", "upload")),
        (PNG, "text/html", (400, "invalid_image", "upload")),
    ]:
        upload = setting.upload()
        key = f"uploads/{setting.api.record.id}/{upload}"
        setting.s3.put_object(Bucket=setting.bucket, Key=key, Body=data, ContentType=kind)
        assert setting.api.post("/v1/detections", {"upload": upload, "text_prompt": "dent"}).refusal() == refusal
    assert not setting.endpoint.asked


def test_more_phrases_than_fit_into_the_attributes(setting: Setting) -> None:
    phrases = [f"{letter}" + "é" * 200 for letter in "abc"]
    body = {"upload": setting.upload(), "text_prompt": phrases}
    assert setting.api.post("/v1/detections", body).refusal() == (400, "invalid_request", "text_prompt")


def test_an_endpoint_that_throttles(aws: Aws, bucket: str) -> None:
    error = ClientError({"Error": {"Code": "ThrottlingException", "Message": "Rate exceeded"}}, "InvokeEndpointAsync")
    setting = setting_of(aws, bucket, error)
    body = {"upload": setting.upload(), "text_prompt": "dent"}
    assert setting.api.post("/v1/detections", body).refusal() == (429, "model_busy", None)


def test_a_bucket_that_is_gone(setting: Setting) -> None:
    setting.s3.delete_bucket(Bucket=setting.bucket)
    heard = setting.api.get(f"/v1/detections/det-{'0' * 32}")
    assert heard.refusal() == (503, "storage_failed", None)
    assert heard.headers["retry-after"] == "5"


def test_the_same_idempotency_key_starts_one_job(setting: Setting) -> None:
    body, headers = {"upload": setting.upload(), "text_prompt": "dent"}, {"Idempotency-Key": "once"}
    first, second = (setting.api.post("/v1/detections", body, headers) for _ in range(2))
    assert first.json == second.json
    assert second.headers["location"] == first.headers["location"]
    assert len(setting.endpoint.asked) == 1
