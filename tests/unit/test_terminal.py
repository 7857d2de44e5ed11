"""What command lines say to people."""

from __future__ import annotations

import io
import logging

import pytest
from rich.console import Console
from rich.logging import RichHandler

from sam3edge import terminal


def record(text: str, *arguments: object) -> logging.LogRecord:
    return logging.LogRecord("x", logging.WARNING, "x.py", 1, text, arguments, None)


def test_what_is_logged_moves_no_cursor_and_begins_no_line() -> None:
    said = terminal.Printable("%(message)s").format(
        record("refused %s", "\x1b[2J\x1b]0;x\x07\nWARNING all is well\u202e")
    )
    assert said == "refused  [2J ]0;x  WARNING all is well "


def test_a_traceback_keeps_its_lines() -> None:
    try:
        raise ValueError("a\x1bb")
    except ValueError as error:
        failed = logging.LogRecord(
            "x", logging.ERROR, "x.py", 1, "failed", None, (ValueError, error, error.__traceback__)
        )
    lines = terminal.Printable("%(message)s").format(failed).splitlines()
    assert (lines[0], lines[-1]) == ("failed", "ValueError: a b")


@pytest.mark.parametrize("at_a_terminal", [True, False])
def test_logs_are_in_columns_for_people_and_in_whole_lines_for_files(
    monkeypatch: pytest.MonkeyPatch, at_a_terminal: bool
) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(terminal, "console", Console(file=stream, force_terminal=at_a_terminal, width=80))
    monkeypatch.setattr("sys.stderr", stream)
    handler = terminal._log_handler()
    assert isinstance(handler, RichHandler) == at_a_terminal
    handler.handle(record("%s", "a long line " * 20 + "\x1b]0;x\x07"))
    assert "\x1b]0" not in stream.getvalue()
    assert (("a long line " * 20) in stream.getvalue()) != at_a_terminal
