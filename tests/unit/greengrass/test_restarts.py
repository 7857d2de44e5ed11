"""The budget of restarts: three failures within an hour are the end on nucleus lite."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sam3edge.greengrass.restarts import RestartBudget


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def started(file: Path, clock: Clock) -> RestartBudget:
    """A new process."""
    budget = RestartBudget(file, clock=clock)
    budget.started()
    return budget


def test_the_first_failure_may_be_at_once_and_the_next_has_to_wait(tmp_path: Path) -> None:
    clock, file = Clock(), tmp_path / "work/starts.json"
    assert started(file, clock).pause() == 0
    clock.now += 60
    again = started(file, clock)
    assert again.pause() == pytest.approx(3540)
    clock.now += 3541
    assert again.pause() == 0


@given(st.lists(st.floats(0, 2000), min_size=1, max_size=60))
def test_whatever_happens_there_are_never_three_failures_within_an_hour(waits: list[float]) -> None:
    """Each process loses its nucleus some time after its start, waits as it is told, and ends."""
    with tempfile.TemporaryDirectory() as folder:
        clock, failures = Clock(), list[float]()
        for wait in waits:
            budget = started(Path(folder) / "starts.json", clock)
            clock.now += wait
            clock.now += budget.pause()
            failures.append(clock.now)
        for first, third in zip(failures, failures[2:], strict=False):
            assert third - first >= 3600 - 1e-3


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[", b"{}", b'["x", null, true, 1e400]', b"[" * 100_000])
def test_a_damaged_file_counts_as_empty(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "starts.json"
    file.write_bytes(content)
    assert started(file, Clock()).pause() == 0


def test_a_clock_that_was_set_back_does_not_make_it_wait_for_ever(tmp_path: Path) -> None:
    clock, file = Clock(), tmp_path / "starts.json"
    started(file, clock)
    started(file, clock)
    clock.now -= 1e8
    assert started(file, clock).pause() == 0


def test_a_disk_that_refuses_is_no_reason_to_end(tmp_path: Path) -> None:
    (tmp_path / "work").write_text("a file where the folder should be")
    assert started(tmp_path / "work/starts.json", Clock()).pause() == 0
