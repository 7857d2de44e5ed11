"""What reviewers decide, how it is kept, and what it states."""

from __future__ import annotations

from pathlib import Path

import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from sam3edge_pipeline.labeling.prelabels import PreLabeled, Proposal
from sam3edge_pipeline.labeling.review.decisions import Action, ActionKind, ReviewError, after, replay
from sam3edge_pipeline.labeling.review.queue import QueueError, ReviewQueue, create_queue
from support.labeled_images import at, record, square, write_image
from support.reviews import queue

BOX = shapely.box(1, 1, 9, 9)


def action(kind: ActionKind, object: int | None = None, phrase: str | None = None) -> Action:
    return Action(kind, "ann", at(12), object, phrase, BOX if kind in ("add", "correct") else None)


def decide(reviewed: ReviewQueue, *actions: Action) -> str:
    [image] = reviewed.ids
    for number, one in enumerate(actions):
        reviewed.act(image, one, number)
    return image


def test_decisions_become_label_events(tmp_path: Path) -> None:
    reviewed = queue(tmp_path)
    decide(reviewed, action("accept", 0), action("reject", 1), action("absent", phrase="blue"), action("done"))
    [(kept, file, events)] = reviewed.events()
    assert file.read_bytes() == (tmp_path / "0.png").read_bytes()
    assert kept.group == "line"
    said = {event.phrase: event for event in events}
    assert said["red"].objects == (square(100),)
    assert said["red"].exhaustive
    assert said["blue"].objects == ()
    assert said["blue"].exhaustive
    assert {(e.reviewer, e.at, e.job, e.approved) for e in events} == {("ann", at(12), "job-1", True)}


def test_corrections_and_missed_objects(tmp_path: Path) -> None:
    reviewed = queue(tmp_path)
    decide(
        reviewed,
        action("correct", 0),
        action("reject", 1),
        action("absent", phrase="blue"),
        action("add", phrase="blue"),
        action("done"),
    )
    [(_, _, events)] = reviewed.events()
    assert [[one.outline.equals(BOX) for one in event.objects] for event in events] == [[True], [True]]


def test_an_incomplete_phrase_states_its_objects_and_not_that_they_are_all(tmp_path: Path) -> None:
    reviewed = queue(tmp_path)
    decide(
        reviewed,
        action("accept_all"),
        action("incomplete", phrase="red"),
        action("incomplete", phrase="blue"),
        action("done"),
    )
    [(_, _, [event])] = reviewed.events()
    assert event.phrase == "red"
    assert len(event.objects) == 2
    assert not event.exhaustive


def test_nothing_is_done_before_everything_is_decided(tmp_path: Path) -> None:
    reviewed = queue(tmp_path)
    image = decide(reviewed, action("reject", 0), action("reject", 1))
    with pytest.raises(ReviewError, match="not decided yet: red, blue"):
        reviewed.act(image, action("done"), 2)
    assert len(reviewed.actions(image)) == 2
    assert list(reviewed.events()) == []


def test_undo_takes_back_one_action_after_the_other_and_that_it_was_done(tmp_path: Path) -> None:
    reviewed = queue(tmp_path, phrases=("red",))
    image = decide(reviewed, action("accept", 0), action("reject", 1), action("done"))
    with pytest.raises(ReviewError, match="undo that first"):
        reviewed.act(image, action("accept", 1), 3)
    assert reviewed.is_done(image)
    reviewed.undo(image, 3)
    assert not reviewed.is_done(image)
    assert [one.verdict for one in reviewed.undo(image, 4).objects] == ["accepted", "open"]
    reviewed.undo(image, 5)
    with pytest.raises(ReviewError, match="nothing to undo"):
        reviewed.undo(image, 6)


def test_another_window_is_noticed(tmp_path: Path) -> None:
    reviewed = queue(tmp_path)
    image = decide(reviewed, action("accept", 0))
    for attempt in (lambda: reviewed.act(image, action("accept", 1), 0), lambda: reviewed.undo(image, 0)):
        with pytest.raises(ReviewError, match="another window"):
            attempt()


def test_a_queue_survives_its_process(tmp_path: Path) -> None:
    image = decide(queue(tmp_path), action("correct", 0), action("reject", 1))
    again = create_queue(tmp_path / "queue", "job-1")
    assert again.review(image).objects[0].outline.equals(BOX)
    assert [one.verdict for one in again.review(image).objects] == ["accepted", "rejected"]
    queue(tmp_path)  # the same images once more
    assert len(again.actions(image)) == 2


def test_half_written_items_are_not_there(tmp_path: Path) -> None:
    reviewed = queue(tmp_path)
    (tmp_path / "queue" / "items" / ("0" * 64)).mkdir()
    (tmp_path / "queue" / "items" / ("0" * 64) / "image.png").write_bytes(b"half")
    assert len(reviewed.ids) == 1


def test_queues_are_not_mixed(tmp_path: Path) -> None:
    queue(tmp_path)
    with pytest.raises(QueueError, match="job-1, not of job-2"):
        create_queue(tmp_path / "queue", "job-2")
    with pytest.raises(QueueError, match=r"queue\.json"):
        ReviewQueue(tmp_path)
    (tmp_path / "queue" / "queue.json").write_text("[]")
    with pytest.raises(QueueError, match=r"queue\.json"):
        ReviewQueue(tmp_path / "queue")


@pytest.mark.parametrize("image", ["..", "../../x", "a" * 63, "A" * 64, "a" * 64 + "\n"])
def test_ids_are_ids(tmp_path: Path, image: str) -> None:
    with pytest.raises(QueueError, match="64 hexadecimal"):
        queue(tmp_path).item(image)


def test_the_image_must_be_the_items(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    image = write_image(path)
    with pytest.raises(QueueError, match="SHA-256"):
        create_queue(tmp_path / "q", "j").add(PreLabeled(record(path, image), (), ()), b"other")


KINDS: list[ActionKind] = ["accept", "accept_all", "reject", "correct", "add", "absent", "incomplete", "done"]
ACTIONS = st.builds(
    action, st.sampled_from(KINDS), st.none() | st.integers(-1, 4), st.none() | st.sampled_from(["red", "blue", "x"])
)


@given(st.lists(ACTIONS, max_size=12))
def test_whatever_is_done_a_phrase_is_never_absent_and_present(attempts: list[Action]) -> None:
    proposals = tuple(Proposal("red", square(x).outline, 0.5) for x in (10, 100))
    item = PreLabeled(record(Path("a.png"), "0" * 64), ("red", "blue"), proposals)
    taken: list[Action] = []
    review = replay(item, taken)
    for attempt in attempts:
        try:
            review = after(review, attempt)
        except ReviewError:
            continue
        taken.append(attempt)
        for phrase in review.phrases:
            present = any(o.phrase == phrase and o.verdict == "accepted" for o in review.objects)
            assert not (present and review.completeness(phrase) == "absent")
    assert replay(item, taken) == review
    assert (review.done is None) or not review.undecided
