"""A listener on a disk that is really full: a small file system of its own, where this process may mount one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from sam3edge.core.errors import SubscriptionError
from sam3edge.subscriber.journal import DiskJournal
from sam3edge.subscriber.sinks.geojson_files import GeoJsonFiles
from sam3edge.subscriber.sinks.ndjson import NdjsonFile
from support.device_messages import PARTS, of_frame
from support.listener_rig import Feed, Running, whole_lines
from support.small_disk import small_disk
from support.waiting import until


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path, 12) as folder:
        yield folder


@contextmanager
def listening(disk: Path, feed: Feed) -> Iterator[Running]:
    with (
        closing(DiskJournal(disk / "state" / "journal.db")) as journal,
        closing(NdjsonFile(disk / "x.ndjson", ("detections",))) as lines,
    ):
        running = Running(feed, [GeoJsonFiles(disk / "geojson"), lines], journal)
        yield running
        running.stop()


def lines(disk: Path) -> list[str]:
    return [line["frame"]["id"] for line in whole_lines(disk / "x.ndjson")]


def test_a_full_disk_ends_it_with_a_reason_and_when_there_is_room_nothing_is_missing(disk: Path) -> None:
    reserve = disk / "reserve"
    reserve.write_bytes(bytes(10 << 20))
    feed = Feed()
    sent = 0
    with listening(disk, feed) as running:
        while running.error is None:
            for part in PARTS:
                feed.send(of_frame(part, f"frame-{sent:04}"))
            sent += 1
            assert sent < 10_000
    assert isinstance(running.error, SubscriptionError)
    assert "cannot be" in str(running.error)
    assert sent > 20

    reserve.unlink()
    again = Feed()
    acknowledged = set(feed.acknowledged)
    with listening(disk, again) as running:
        for number in range(sent):  # the broker still has what was not acknowledged, and nothing else
            for part in PARTS:
                message = of_frame(part, f"frame-{number:04}")
                if message["id"] not in acknowledged:
                    again.send(message)
        until(lambda: len(lines(disk)) >= sent)
    assert running.error is None
    assert sorted(lines(disk)) == [f"frame-{number:04}" for number in range(sent)]
    assert len(list((disk / "geojson").rglob("*.geojson"))) == sent
