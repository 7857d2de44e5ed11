"""Images in text."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam3edge_serving.http import data_url

DATA = bytes(range(64))
PLAIN = base64.b64encode(DATA).decode()


@pytest.mark.parametrize(
    "head",
    [
        "",
        "data:;base64,",
        "data:image/jpeg;base64,",
        "DATA:image/svg+xml;charset=utf-8;BASE64,",
        "data:a/b;x=1;y=2;base64,",
    ],
)
def test_data_urls_and_plain_base64(head: str) -> None:
    assert data_url.decode(head + PLAIN) == DATA
    assert not data_url.is_address(head + PLAIN)


def test_lines_may_be_broken() -> None:
    assert data_url.decode("data:image/png;base64,\n" + PLAIN[:20] + "\r\n " + PLAIN[20:]) == DATA


@pytest.mark.parametrize("text", ["data:image/png,abc", "data:image/png;base64", "no base64!", "abc", "é" * 8, "===="])
def test_what_is_neither(text: str) -> None:
    with pytest.raises(ValueError, match=r"^expected base64, or a data URL"):
        data_url.decode(text)
    assert not data_url.is_address(text)


@pytest.mark.parametrize("text", ["https://a.example/x.jpg", "S3://b/k", "ftp://h", "file:/etc/passwd", "gopher:x"])
def test_addresses(text: str) -> None:
    assert data_url.is_address(text)


@given(st.binary(max_size=200))
def test_base64_is_never_taken_for_an_address(data: bytes) -> None:
    text = base64.b64encode(data).decode()
    assert not data_url.is_address(text)
    assert data_url.decode(text) == data
