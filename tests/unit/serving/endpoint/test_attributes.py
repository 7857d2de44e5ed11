"""The header that SageMaker hands through."""

from __future__ import annotations

import pytest

from sam3edge_serving.endpoint.attributes import Attributes, read_attributes
from sam3edge_serving.endpoint.problems import BadRequest


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", Attributes()),
        ("text_prompt=cars", Attributes(("cars",))),
        ("text_prompt=detect%20buildings", Attributes(("detect buildings",))),
        ("text_prompt=red car|ship, threshold=0.4,image_id=a%2Cb", Attributes(("red car", "ship"), 0.4, 0, 0, "a,b")),
        ("text_prompt=car;threshold=0.4;image_id=x", Attributes(("car",), 0.4, 0, 0, "x")),
        ("text_prompt=car;text_prompt=ship", Attributes(("ship",))),
        ("TEXT_PROMPT=car,Confidence_Threshold=1", Attributes(("car",), 1.0)),
        ("text_prompt=a%7Cb|c", Attributes(("a|b", "c"))),
        ("text_prompt=sch%C3%BCssel", Attributes(("schüssel",))),
        ("mock_latency_mean=250,mock_latency_std=10.5", Attributes((), None, 250.0, 10.5)),
        ("traceparent=00-abc,lonely,text_prompt=", Attributes()),
    ],
)
def test_pairs_of_both_kinds(header: str, expected: Attributes) -> None:
    assert read_attributes(header) == expected


@pytest.mark.parametrize(
    ("header", "names"),
    [
        ("threshold=high", "threshold"),
        ("threshold=1.5", "from 0 to 1"),
        ("confidence_threshold=nan", "confidence_threshold"),
        ("mock_latency_mean=-1", "milliseconds"),
        ("mock_latency_std=inf", "mock_latency_std"),
        ("text_prompt=%ff%fe", "UTF-8"),
        ("image_id=" + "x" * 300, "256"),
    ],
)
def test_what_is_not_of_its_kind_is_refused_by_name(header: str, names: str) -> None:
    with pytest.raises(BadRequest, match=names):
        read_attributes(header)
