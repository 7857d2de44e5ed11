from __future__ import annotations

import contextlib

import pytest


@pytest.fixture(autouse=True)
def _moves_are_reported_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """watchdog holds a move out of the folder back for half a second, and stopping waits for that: patience to save."""
    with contextlib.suppress(ImportError):  # older versions keep it elsewhere
        from watchdog.observers.inotify_move_event_grouper import InotifyMoveEventGrouper

        monkeypatch.setattr(InotifyMoveEventGrouper, "delay", 0.01)
