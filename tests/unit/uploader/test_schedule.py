"""What the uploader does in which order, when it waits, and that it deletes only what the bucket has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sam3edge.core.errors import UploadError
from sam3edge.hard_examples.example import EXAMPLE, FRAME, examples_in, remove
from sam3edge.uploader.fake import FakeBucket
from sam3edge.uploader.schedule import IDLE_SECONDS
from unit.uploader.conftest import NOON, World, put_example

OFFLINE = UploadError("the bucket cannot be reached", failure="offline")


def test_an_example_is_uploaded_its_document_last_and_then_deleted(world: World) -> None:
    key = put_example(world.folder, 1)
    frame = (examples_in(world.folder)[0] / FRAME).read_bytes()
    assert world.step() == 0
    assert world.bucket.order == [key + FRAME, key + EXAMPLE]
    assert world.bucket.objects[key + FRAME] == frame
    assert list(world.folder.iterdir()) == []
    assert world.schedule.status.uploaded == 1
    assert world.step() == IDLE_SECONDS


def test_a_folder_that_is_not_there_yet_is_waited_for(world: World) -> None:
    assert world.step() == IDLE_SECONDS
    assert not world.schedule.status.waiting


def test_the_oldest_are_first(world: World) -> None:
    keys = [put_example(world.folder, number, at=NOON - 60 * number) for number in range(3)]
    for _ in range(3):
        world.step()
    assert world.bucket.order[::2] == [key + FRAME for key in reversed(keys)]


def test_a_large_frame_goes_in_parts_and_continues_after_a_restart_with_the_next_one(world: World) -> None:
    key = put_example(world.folder, 1, size=5300)
    world.bucket.put_part, whole = _after(world.bucket, 3), world.bucket.put_part  # type: ignore[method-assign]
    world.step()
    assert world.schedule.status.failures == 1
    world.bucket.put_part = whole  # type: ignore[method-assign]
    before = world.bucket.requests
    world.start()
    world.step()
    assert world.arrived(key)
    assert len(world.bucket.objects[key + FRAME]) == 5300
    assert world.bucket.requests - before == 3 + 1 + 1  # parts 4 to 6, their completion, and the document
    assert world.bucket.uploads == 0


def _after(bucket: FakeBucket, good: int) -> object:
    whole, left = bucket.put_part, [good]

    def put_part(key: str, upload: str, number: int, body: bytes) -> object:
        if not left[0]:
            raise OFFLINE
        left[0] -= 1
        return whole(key, upload, number, body)

    return put_part


def _only_frames(bucket: FakeBucket) -> Callable[[str, bytes, str], None]:
    put = bucket.put

    def only_frames(where: str, body: bytes, content_type: str) -> None:
        if where.endswith(EXAMPLE):
            raise OFFLINE
        put(where, body, content_type)

    return only_frames


def test_a_frame_that_is_there_is_not_sent_again_for_its_document(world: World) -> None:
    key = put_example(world.folder, 1)
    put = world.bucket.put
    world.bucket.put = _only_frames(world.bucket)  # type: ignore[method-assign]
    world.step()
    assert world.waiting == 1
    world.bucket.put = put  # type: ignore[method-assign]
    world.start()
    world.step()
    assert world.bucket.order == [key + FRAME, key + EXAMPLE]


def test_another_bucket_gets_all_of_an_example_that_one_before_has_half_of(world: World) -> None:
    key = put_example(world.folder, 1)
    world.bucket.put, whole = _only_frames(world.bucket), world.bucket.put  # type: ignore[method-assign]
    world.step()
    assert world.bucket.order == [key + FRAME]
    world.bucket.put = whole  # type: ignore[method-assign]
    world.bucket, world.address = FakeBucket(), "https://other-labels"
    world.start()
    world.step()
    assert world.bucket.order == [key + FRAME, key + EXAMPLE]


@pytest.mark.parametrize("size", [300, 5300])
def test_a_response_that_is_lost_at_any_place_costs_a_repeat_and_nothing_else(tmp_path: Path, size: int) -> None:
    for place in range(1, 10):
        world = World(tmp_path / str(place))
        key = put_example(world.folder, 1, size=size)
        world.bucket.lost = {place}
        for _ in range(3):
            world.step()
        assert world.arrived(key)
        assert world.waiting == 0
        assert world.schedule.status.failures <= 2  # one more where an upload is complete and nobody heard it


def test_an_upload_that_the_bucket_has_forgotten_begins_again(world: World) -> None:
    key = put_example(world.folder, 1, size=5300)
    world.bucket.put_part, whole = _after(world.bucket, 3), world.bucket.put_part  # type: ignore[method-assign]
    world.step()
    world.bucket.put_part = whole  # type: ignore[method-assign]
    world.bucket.forget_uploads()
    world.step()
    world.step()
    assert world.arrived(key)


def test_what_was_evicted_in_the_middle_is_given_up_in_the_bucket_too(world: World) -> None:
    put_example(world.folder, 1, size=5300)
    world.bucket.put_part, whole = _after(world.bucket, 3), world.bucket.put_part  # type: ignore[method-assign]
    world.step()
    world.bucket.put_part = whole  # type: ignore[method-assign]
    assert world.bucket.uploads == 1
    remove(examples_in(world.folder)[0])
    world.start()
    assert world.step() == IDLE_SECONDS
    assert world.bucket.uploads == 0
    assert world.bucket.objects == {}


def test_a_damaged_example_stays_and_keeps_nobody_up(world: World, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(3):
        put_example(world.folder, number, at=NOON + number)
    good = put_example(world.folder, 3, at=NOON + 3)
    first, second, third, _ = examples_in(world.folder)
    (first / FRAME).write_bytes(b"other pixels")
    (second / EXAMPLE).write_bytes(b"{")
    (third / FRAME).unlink()
    for _ in range(6):
        world.step()
    assert world.arrived(good)
    assert len(world.bucket.order) == 2
    assert world.waiting == 3
    assert world.schedule.status.refused == 3
    assert caplog.text.count("stays on the device") == 3


def test_what_the_bucket_refuses_stays_and_keeps_nobody_up(world: World) -> None:
    put_example(world.folder, 0, at=NOON)
    good = put_example(world.folder, 1, at=NOON + 1)
    world.bucket.outage = UploadError("the bucket responded 400 InvalidArgument", failure="refused")
    world.step()
    world.bucket.outage = None
    world.step()
    assert world.arrived(good)
    assert (world.waiting, world.schedule.status.refused) == (1, 1)
    world.start()
    world.step()
    assert world.waiting == 0


def test_failures_are_followed_by_growing_pauses_and_bounded_ones(world: World) -> None:
    put_example(world.folder, 1)
    world.bucket.outage = OFFLINE
    pauses = [world.step() for _ in range(12)]
    assert pauses[:4] == [5, 10, 20, 40]
    assert pauses[-1] == 900
    assert world.schedule.status.waiting
    world.bucket.outage = UploadError("the bucket responded 403", failure="denied")
    assert [world.step() for _ in range(8)][-1] == 3600
    world.bucket.outage = UploadError("the bucket responded 503", failure="busy", retry_after=7200)
    assert world.step() == 7200
    world.bucket.outage = None
    assert world.step() == 0
    world.bucket.outage = OFFLINE
    put_example(world.folder, 2)
    assert world.step() == 5


def test_quotas_hold_over_restarts(tmp_path: Path) -> None:
    world = World(tmp_path, per_hour=2)
    for number in range(5):
        put_example(world.folder, number, at=NOON + number)
    world.step()
    world.start()
    world.step()
    assert world.schedule.step() == 3600
    assert world.waiting == 3
    assert "2 examples an hour" in world.schedule.status.last_error
    world.now += 3600
    world.step()
    assert world.waiting == 2


def test_a_day_has_no_more_bytes_than_it_may_and_a_large_frame_takes_several(tmp_path: Path) -> None:
    world = World(tmp_path, bytes_per_day=2500)
    key = put_example(world.folder, 1, size=5300)
    days = 0
    while world.waiting:
        before = world.now
        pause = world.step()
        assert world.budget.sent_bytes.spent.in_day <= 2500
        if pause:
            days += 1
            assert pause == 86_400 - before % 86_400
    assert days == 2
    assert world.arrived(key)


def test_a_disk_that_fails_is_waited_for(world: World) -> None:
    put_example(world.folder, 1)
    (world.root / "work").write_text("no folder")
    assert world.step() == 300
    assert world.waiting == 1


def test_what_cannot_be_deleted_is_not_uploaded_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    key = put_example(world.folder, 1)

    def refuse(path: Path) -> None:
        raise PermissionError(f"{path} belongs to somebody else")

    monkeypatch.setattr("sam3edge.uploader.schedule.remove", refuse)
    world.step()
    world.run(3600)
    assert world.bucket.order == [key + FRAME, key + EXAMPLE]
    assert "belongs to somebody else" in world.schedule.status.last_error


def test_a_damaged_file_of_progress_costs_a_repeat(world: World) -> None:
    key = put_example(world.folder, 1)
    (world.root / "work").mkdir()
    (world.root / "work" / "progress.json").write_bytes(b'{"example": 1')
    world.start()
    world.step()
    assert world.arrived(key)
