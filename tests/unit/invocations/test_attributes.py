"""The header that SageMaker passes on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam3edge.invocations.attributes import (
    MAX_HEADER,
    Attributes,
    AttributesError,
    read_attributes,
    write_attributes,
    write_unsupported,
)


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
        ("mock_latency_mean=250", Attributes((), None, 250.0, 25.0)),
        ("mock_latency_mean=250,mock_latency_std=0", Attributes((), None, 250.0, 0.0)),
        ("mock_latency_mean=250,mock_latency_std=fast", Attributes((), None, 250.0, 25.0)),
        ("mock_latency_mean=-1,text_prompt=car", Attributes(("car",))),
        ("mock_latency_mean=nan,text_prompt=car", Attributes(("car",))),
        ("mock_latency_mean=inf,mock_latency_std=1e999", Attributes((), None, 60_000.0, 60_000.0)),
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
        ("text_prompt=%ff%fe", "UTF-8"),
        ("image_id=" + "x" * 300, "256"),
    ],
)
def test_what_is_not_of_its_kind_is_refused_by_name(header: str, names: str) -> None:
    with pytest.raises(AttributesError, match=names):
        read_attributes(header)


WORDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20).filter(
    lambda text: text == text.strip()
)


@given(
    st.lists(WORDS, max_size=4).map(tuple),
    st.none() | st.integers(0, 100).map(lambda percent: percent / 100),
    st.just("") | WORDS,
)
def test_what_is_written_is_read_as_it_was_meant(
    phrases: tuple[str, ...], threshold: float | None, image_id: str
) -> None:
    meant = Attributes(phrases, threshold, image_id=image_id)
    header = write_attributes(meant)
    assert header.isascii()
    assert read_attributes(header) == meant


def test_what_a_response_says_could_not_be_answered() -> None:
    assert write_unsupported(()) == ""
    assert write_unsupported(("red car", "a|b", "schlüssel")) == "unsupported_prompts=red%20car|a%7Cb|schl%C3%BCssel"


@given(st.lists(st.text(min_size=1, max_size=300), min_size=1, max_size=60))
def test_no_list_of_unsupported_phrases_is_longer_than_a_header_may_be(phrases: list[str]) -> None:
    phrases = [phrase.encode(errors="replace").decode() for phrase in phrases]
    header = write_unsupported(phrases)
    assert len(header.encode("ascii")) <= MAX_HEADER
    pairs = dict(pair.split("=", 1) for pair in header.split(","))
    named = pairs["unsupported_prompts"].split("|") if "unsupported_prompts" in pairs else []
    assert len(named) + int(pairs.get("unsupported_prompts_omitted", 0)) == len(phrases)
