"""Requests made from the endpoint's own OpenAPI document: no 5xx, and nothing that the document does not say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from support.endpoint_server import Server

pytestmark = pytest.mark.xdist_group("endpoint")

EXAMPLES = 50
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


def test_what_the_document_allows_is_answered_as_it_says(server: Server, figure: Callable[[str], None]) -> None:
    schema = schemathesis.openapi.from_url(server.url + "/openapi.json")
    statuses: Counter[int] = Counter()
    operations = [result.ok() for result in schema.get_all_operations()]
    assert {operation.label for operation in operations} == {
        "GET /ping",
        "GET /metrics",
        "POST /invocations",
        "POST /sam3/concept_segment",
        "POST /sam3/visual_segment",
        "POST /v1/images/segmentations",
    }
    for operation in operations:

        @given(case=operation.as_strategy())
        @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
        def check(case: schemathesis.Case) -> None:
            response = case.call(base_url=server.url, timeout=60)
            statuses[response.status_code] += 1
            case.validate_response(response, checks=CHECKS)

        check()
    assert not [status for status in statuses if status >= 500]
    figure(f"endpoint, requests made from its OpenAPI document: {dict(sorted(statuses.items()))}")
