"""Passwords in addresses, wherever they stand in a text."""

from __future__ import annotations

import json
import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam3edge.core.redaction import redact
from sam3edge.logs import JsonLines

SECRETS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), min_size=4, max_size=12).map("S3".__add__)
"""Any without white space: an address has none."""


@pytest.mark.parametrize(
    "text",
    [
        "rtsp://admin:{}@10.0.0.7:554/stream",
        "rtsp:/admin:{}@10.0.0.7",
        "admin:{}@10.0.0.7",
        "Source: expected a mapping, got 'rtsp://admin:{}@cam'",
        'Path: "http://admin:{}@cam/a b" is not a folder',
        "https://{}@endpoint/invocations is not reachable",
        "https://bucket/x?X-Amz-Signature={}&y=1",
        "rtspsrc location=rtsp://h user-id=admin user-pw={}",
        "password={} was refused",
    ],
)
@given(secret=SECRETS)
def test_a_password_is_not_repeated(text: str, secret: str) -> None:
    if any(mark in text for mark in ("?", "=")):
        secret = "".join(c for c in secret if c.isalnum())
    assert secret not in redact(text.format(secret))


@pytest.mark.parametrize(
    "text",
    [
        "expected 3 frames, got 4: give a larger number",
        "2026-01-01T00:00:00 camera-1 at C:\\images\\a.jpg",
        "write to someone@example.org about 12:30",
        "rtsp://10.0.0.7:554/stream cannot be opened",
        "threshold=0.5",
    ],
)
def test_what_is_not_a_password_stays(text: str) -> None:
    assert redact(text) == text


def test_the_host_is_still_said() -> None:
    assert redact("rtsp://a:b@10.0.0.7/1 failed") == "rtsp://***@10.0.0.7/1 failed"


def test_a_log_line_has_none_either() -> None:
    try:
        raise ValueError("http://a:hunter2@h")
    except ValueError as error:
        record = logging.LogRecord("x", logging.INFO, "f", 1, "%s of %s", ("GET", "http://a:hunter2@h/1"), None)
        record.exc_info = (ValueError, error, error.__traceback__)
        line = JsonLines().format(record)
    assert "hunter2" not in line
    assert json.loads(line)["message"] == "GET of http://***@h/1"


def test_a_log_line_can_be_written_whatever_a_file_is_called() -> None:
    record = logging.LogRecord("x", logging.INFO, "f", 1, "bad \ud800 name", (), None)
    record.frame = "\udcff"
    JsonLines().format(record).encode()
