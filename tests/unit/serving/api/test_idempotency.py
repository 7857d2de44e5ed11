"""Idempotency keys, with records in memory and in DynamoDB."""

from __future__ import annotations

import json
import random
import string
from collections.abc import Callable

import pytest
from aws_lambda_powertools.utilities.idempotency import DynamoDBPersistenceLayer

from sam3edge_serving.api.idempotency import IdempotencyStore
from sam3edge_serving.api.uploads.storage import Storage
from sam3edge_serving.http.errors import NotReady
from sam3edge_simulator.api_gateway.memory import MemoryRecords
from support.api_rig import DATA_URL, Api, Aws, Heard, SayingModel

PATH = "/v1/detections"
BODY = {"image": DATA_URL, "text_prompt": "dent"}
ONCE = {"Idempotency-Key": "order 7"}


def long_answer() -> str:
    """A message that cannot be compressed into a record."""
    letters = random.Random(7)
    filler = "".join(letters.choices(string.ascii_letters + string.digits, k=600_000))
    return json.dumps({**json.loads(SayingModel().text), "filler": filler})


@pytest.fixture(params=["memory", "dynamodb"])
def make(request: pytest.FixtureRequest, aws: Aws, table: str, bucket: str) -> Callable[[str], Api]:
    """Makes an API whose model answers that."""

    def make_api(text: str) -> Api:
        records = MemoryRecords() if request.param == "memory" else DynamoDBPersistenceLayer(table_name=table)
        return Api(model=SayingModel(text), once=IdempotencyStore(records, Storage(aws.s3, bucket), 3600))

    return make_api


def same(first: Heard, second: Heard) -> bool:
    """But for what is of the request itself."""
    own = {"x-request-id"}
    heads = [{n: v for n, v in heard.headers.items() if n not in own} for heard in (first, second)]
    return heads[0] == heads[1] and (first.status, first.text) == (second.status, second.text)


@pytest.mark.parametrize("text", [SayingModel().text, long_answer()], ids=["short", "long"])
def test_the_same_request_is_answered_once(make: Callable[[str], Api], text: str) -> None:
    api = make(text)
    first = api.post(PATH, BODY, ONCE)
    assert first.status == 200
    assert first.text == text
    assert same(first, api.post(PATH, BODY, ONCE))
    assert len(api.model.asked) == 1


def test_the_order_of_members_makes_no_difference(make: Callable[[str], Api]) -> None:
    api = make(SayingModel().text)
    api.post(PATH, BODY, ONCE)
    assert api.post(PATH, dict(reversed(BODY.items())), ONCE).status == 200
    assert len(api.model.asked) == 1


def test_another_request_with_the_same_key_is_refused(make: Callable[[str], Api]) -> None:
    api = make(SayingModel().text)
    api.post(PATH, BODY, ONCE)
    other = {**BODY, "text_prompt": "scratch"}
    assert api.post(PATH, other, ONCE).refusal() == (422, "idempotency_key_reused", None)
    assert len(api.model.asked) == 1


def test_keys_of_different_clients_and_paths_are_different(make: Callable[[str], Api]) -> None:
    api = make(SayingModel().text)
    api.post(PATH, BODY, ONCE)
    assert api.post(PATH, {**BODY, "text_prompt": "hole"}, ONCE, key=api.other_key).status == 200
    assert api.post("/v1/chat/completions", {}, ONCE).refusal()[0] == 400
    assert len(api.model.asked) == 2


def test_an_error_is_not_remembered(make: Callable[[str], Api]) -> None:
    api = make(SayingModel().text)
    api.refuses_with(NotReady("cold", retry_after=1))
    assert api.post(PATH, BODY, ONCE).status == 503
    api.model.problem = None
    assert api.post(PATH, BODY, ONCE).status == 200


def test_a_repetition_while_the_first_is_in_work(make: Callable[[str], Api]) -> None:
    """A function of its own answers the repetition: the first is inside its model."""
    api = make(SayingModel().text)
    inner: list[Heard] = []

    def ask_again(image: object, looking: object) -> str:
        gateway, model = api.gateway, api.model
        gateway._one.release()  # another execution environment
        try:
            inner.append(api.post(PATH, BODY, ONCE))
        finally:
            gateway._one.acquire()
        return model.text

    api.model.ask = ask_again  # type: ignore[method-assign, assignment]
    assert api.post(PATH, BODY, ONCE).status == 200
    assert inner[0].refusal() == (409, "idempotency_in_progress", None)
    assert inner[0].headers["retry-after"] == "2"


@pytest.mark.parametrize("key", ["x" * 256, "caf\u00e9", "a\tb"])
def test_a_key_that_cannot_be_used(api: Api, key: str) -> None:
    assert api.post(PATH, BODY, {"Idempotency-Key": key}).refusal() == (400, "invalid_request", None)


def test_a_long_answer_without_a_bucket_is_asked_again() -> None:
    api = Api(model=SayingModel(long_answer()))
    for _ in range(2):
        assert api.post(PATH, BODY, ONCE).status == 200
    assert len(api.model.asked) == 2


def test_a_table_that_is_gone(aws: Aws) -> None:
    api = Api(once=IdempotencyStore(DynamoDBPersistenceLayer(table_name="nowhere"), None, 3600))
    assert api.post(PATH, BODY, ONCE).refusal() == (503, "idempotency_failed", None)


def test_an_api_that_remembers_nothing_says_so() -> None:
    api = Api(once=IdempotencyStore(None, None, 60))
    assert api.post(PATH, BODY, ONCE).refusal() == (400, "no_idempotency", None)
    assert api.post(PATH, BODY).status == 200
