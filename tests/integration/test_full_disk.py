"""The outbox on a disk that is really full: a small file system of its own, where this process may mount one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from sam3edge.core.errors import OutboxFull
from sam3edge.core.types import Message
from sam3edge.outbox.limits import DropOldest, OutboxOptions, Overflow
from sam3edge.outbox.outbox import Outbox
from support.small_disk import small_disk

OPTIONS = OutboxOptions(max_bytes=1 << 30)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path, 24) as folder:
        yield folder


def message(name: str) -> Message:
    return Message(name, "t/detections", os.urandom(20_000))


def opened(disk: Path, overflow: Overflow | None = None) -> Outbox:
    return Outbox(disk / "outbox.db", OPTIONS, overflow=overflow)


def free(disk: Path) -> int:
    status = os.statvfs(disk)
    return status.f_bavail * status.f_frsize


def fill(disk: Path) -> Path:
    """What other programs write, to the last byte."""
    filler = disk / "filler"
    with filler.open("wb") as file:
        while room := free(disk):
            file.write(bytes(min(room, 1 << 16)))
            file.flush()
    return filler


def deliver(outbox: Outbox, count: int = 10_000) -> None:
    while count and (taken := outbox.take(min(count, 5))):
        count -= len(taken)
        for queued in taken:
            outbox.acknowledge(queued.seq)
        outbox.flush()


def test_an_outbox_that_has_filled_its_disk_takes_messages_again_when_they_are_delivered(disk: Path) -> None:
    outbox, number = opened(disk), 0
    with suppress(OutboxFull):
        while True:
            outbox.put([message(f"first-{number}")])
            number += 1
    assert number > 500
    assert outbox.queued == number
    deliver(outbox)
    assert outbox.queued == 0
    for _ in range(30):
        outbox.flush()
    for n in range(5):
        outbox.put([message(f"second-{n}")])
    assert outbox.queued == 5
    outbox.close()


def test_on_a_disk_that_others_filled_it_opens_delivers_and_waits(disk: Path) -> None:
    outbox = opened(disk)
    outbox.put([message(str(n)) for n in range(20)])
    deliver(outbox, 5)
    filler = fill(disk)
    outbox.close()
    fill(disk)
    again = opened(disk)
    assert again.queued == 15
    with pytest.raises(OutboxFull, match="disk"):
        again.put([message("more")])
    deliver(again)
    assert again.queued == 0
    filler.unlink()
    again.put([message("more")])
    assert again.queued == 1
    again.close()
    last = opened(disk)
    assert [queued.message.id for queued in last.take(100)] == ["more"]
    last.close()


def test_on_a_full_disk_the_oldest_make_room_for_the_newest(disk: Path) -> None:
    outbox = opened(disk, DropOldest())
    for n in range(100):
        outbox.put([message(str(n))])
    fill(disk)
    for n in range(100, 150):
        outbox.put([message(str(n))])
    assert outbox.statistics().evicted >= 50
    assert [queued.message.id for queued in outbox.take(500)][-50:] == [str(n) for n in range(100, 150)]
    outbox.close()
