"""What a reviewer says of an image, as a list of actions.

Replaying them gives the state; dropping the last one undoes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, TypeAlias

from shapely.geometry import MultiPolygon, Polygon

from sam3edge.core.errors import Sam3EdgeError
from sam3edge_pipeline.datasets.examples import LabeledObject
from sam3edge_pipeline.datasets.labels import LabelEvent
from sam3edge_pipeline.labeling.prelabels import PreLabeled

ActionKind: TypeAlias = Literal["accept", "accept_all", "reject", "correct", "add", "absent", "incomplete", "done"]
Verdict: TypeAlias = Literal["open", "accepted", "rejected"]
Completeness: TypeAlias = Literal["open", "complete", "absent", "incomplete"]

MAX_ACTIONS = 20_000
"""On one image."""


class ReviewError(Sam3EdgeError):
    """An action that cannot be taken now; nothing has changed."""


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that a reviewer did.

    Attributes:
        at: UTC.
        object: index of an object, for ``accept``, ``reject`` and ``correct``.
        phrase: for ``add``, ``absent`` and ``incomplete``, which says that not all of its objects are outlined.
        outline: in pixels of the image, for ``correct`` and ``add``.
    """

    kind: ActionKind
    reviewer: str
    at: datetime
    object: int | None = None
    phrase: str | None = None
    outline: Polygon | MultiPolygon | None = None


@dataclass(frozen=True, slots=True)
class ReviewedObject:
    """A proposal, or what a reviewer added, and what was decided.

    Attributes:
        score: of the model; None for what a reviewer outlined.
    """

    phrase: str
    outline: Polygon | MultiPolygon
    score: float | None
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Review:
    """What has been decided so far.

    Attributes:
        objects: the proposals in their order, then what was added.
        absent: phrases of which there is nothing.
        incomplete: phrases of which there is more than is outlined.
        done: the action that ended it, or None.
    """

    phrases: tuple[str, ...]
    objects: tuple[ReviewedObject, ...]
    absent: frozenset[str] = frozenset()
    incomplete: frozenset[str] = frozenset()
    done: Action | None = None

    def completeness(self, phrase: str) -> Completeness:
        """Whether a phrase is decided. One without accepted objects is only when it is said to be absent."""
        objects = [one for one in self.objects if one.phrase == phrase]
        if any(one.verdict == "open" for one in objects):
            return "open"
        if phrase in self.incomplete:
            return "incomplete"
        if any(one.verdict == "accepted" for one in objects):
            return "complete"
        return "absent" if phrase in self.absent else "open"

    @property
    def undecided(self) -> tuple[str, ...]:
        """Phrases that are not decided yet."""
        return tuple(phrase for phrase in self.phrases if self.completeness(phrase) == "open")


def replay(item: PreLabeled, actions: Sequence[Action]) -> Review:
    """The state after some actions.

    Raises:
        ReviewError: one of them cannot be taken.
    """
    objects = tuple(ReviewedObject(p.phrase, p.outline, p.score, "open") for p in item.proposals)
    review = Review(item.phrases, objects)
    for action in actions:
        review = after(review, action)
    return review


def after(review: Review, action: Action) -> Review:
    """The state after one more action.

    Raises:
        ReviewError: it cannot be taken now.
    """
    if review.done is not None:
        raise ReviewError("this image is done; undo that first")
    match action.kind:
        case "accept" | "reject":
            verdict: Verdict = "accepted" if action.kind == "accept" else "rejected"
            return _changed(review, action, verdict=verdict)
        case "accept_all":
            accepted = (replace(one, verdict="accepted") if one.verdict == "open" else one for one in review.objects)
            return replace(review, objects=tuple(accepted))
        case "correct":
            return _changed(review, action, verdict="accepted", outline=_outline(action), score=None)
        case "add":
            phrase = _phrase(review, action)
            added = ReviewedObject(phrase, _outline(action), None, "accepted")
            return replace(review, objects=(*review.objects, added), absent=review.absent - {phrase})
        case "absent":
            phrase = _phrase(review, action)
            objects = (replace(o, verdict="rejected") if o.phrase == phrase else o for o in review.objects)
            incomplete = review.incomplete - {phrase}
            return replace(review, objects=tuple(objects), absent=review.absent | {phrase}, incomplete=incomplete)
        case "incomplete":
            phrase = _phrase(review, action)
            return replace(review, incomplete=review.incomplete ^ {phrase}, absent=review.absent - {phrase})
        case "done":
            if review.undecided:
                names = ", ".join(review.undecided)
                raise ReviewError(f"not decided yet: {names}; accept or reject what is open, or say that there is none")
            return replace(review, done=action)


def events_of(item: PreLabeled, review: Review, job: str, source: str) -> tuple[LabelEvent, ...]:
    """What a finished review states, a phrase an event. Of a phrase with no object that is said to be incomplete,
    nothing is known, and nothing is stated.

    Args:
        source: SHA-256 of the decisions, hexadecimal.

    Raises:
        ReviewError: it is not done.
    """
    if review.done is None:
        raise ReviewError("this image is not done")
    events = []
    for phrase in review.phrases:
        objects = tuple(
            LabeledObject(phrase, one.outline)
            for one in review.objects
            if one.phrase == phrase and one.verdict == "accepted"
        )
        exhaustive = review.completeness(phrase) in ("complete", "absent")
        if objects or exhaustive:
            who, at = review.done.reviewer, review.done.at
            events.append(LabelEvent(item.record.id, phrase, objects, exhaustive, at, True, job, who, source))
    return tuple(events)


def _changed(
    review: Review,
    action: Action,
    *,
    verdict: Verdict,
    outline: Polygon | MultiPolygon | None = None,
    score: float | None = None,
) -> Review:
    index = action.object
    if index is None or not 0 <= index < len(review.objects):
        raise ReviewError(f"expected an object from 0 to {len(review.objects) - 1}, got {index}")
    one = review.objects[index]
    if outline is None:
        changed = replace(one, verdict=verdict)
    else:
        changed = replace(one, verdict=verdict, outline=outline, score=score)
    objects = (*review.objects[:index], changed, *review.objects[index + 1 :])
    absent = review.absent - {one.phrase} if verdict == "accepted" else review.absent
    return replace(review, objects=objects, absent=absent)


def _phrase(review: Review, action: Action) -> str:
    if action.phrase is None or action.phrase not in review.phrases:
        raise ReviewError(f"expected one of {', '.join(review.phrases)}, got {action.phrase}")
    return action.phrase


def _outline(action: Action) -> Polygon | MultiPolygon:
    if action.outline is None or action.outline.is_empty:
        raise ReviewError("there is no object at these clicks; click elsewhere")
    return action.outline
