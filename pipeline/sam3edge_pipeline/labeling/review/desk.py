"""What the review page asks for, apart from HTTP: the next image, its pixels, actions, clicks. Used by one thread."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any, Literal

import cv2
import shapely.geometry
from pydantic import BaseModel, ConfigDict, Field
from shapely.geometry import MultiPolygon, Polygon

from sam3edge.core.polygons import TOLERANCE, outline_of, simplify
from sam3edge.core.ports import InteractiveSegmenter
from sam3edge.core.types import Frame, PointPrompt, VisualPrompt
from sam3edge.images.files import read_frame
from sam3edge_pipeline.labeling.review.decisions import Action, ActionKind, Review, ReviewError
from sam3edge_pipeline.labeling.review.queue import ReviewQueue

MAX_CLICKS = 64
JPEG_QUALITY = 92

_Coordinate = Annotated[float, Field(ge=-1e6, le=1e6)]


class ActionRequest(BaseModel):
    """Body of an action. ``points``: x, y in pixels of the image, and whether the point is on the object."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    action: ActionKind | Literal["undo", "skip"]
    revision: int = Field(ge=0)
    object: int | None = Field(None, ge=0)
    phrase: str | None = Field(None, max_length=200)
    points: list[tuple[_Coordinate, _Coordinate, bool]] | None = Field(None, min_length=1, max_length=MAX_CLICKS)


class ReviewDesk:
    """One reviewer at a queue.

    Args:
        reviewer: name that the labels carry.
        segmenter: what outlines objects that are clicked; None where the model has no graphs for it.
        clock: the time, UTC.
    """

    def __init__(
        self, queue: ReviewQueue, reviewer: str, segmenter: InteractiveSegmenter | None, clock: Callable[[], datetime]
    ) -> None:
        self._queue = queue
        self._reviewer = reviewer
        self._segmenter = segmenter
        self._clock = clock
        self._frame: tuple[str, Frame] | None = None
        self._waiting = [image for image in queue.ids if not queue.is_done(image)]
        ended = {image: queue.actions(image)[-1].at for image in queue.ids if queue.is_done(image)}
        self._done = sorted(ended, key=ended.__getitem__)
        self._total = len(queue.ids)
        self._known = frozenset(queue.ids)

    def next(self) -> dict[str, Any]:
        """The first image that is not done, as ``act`` returns it; with ``id`` null when there is none."""
        if not self._waiting:
            return {"id": None, "progress": self._progress(), "previous": self._previous()}
        return self._state(self._waiting[0], self._queue.review(self._waiting[0]))

    def knows(self, image: str) -> bool:
        """Whether an image is in the queue."""
        return image in self._known

    def jpeg(self, image: str) -> bytes:
        """An image's pixels as coordinates mean them: upright, all of them.

        Raises:
            FrameError: it is not a usable image.
        """
        pixels = cv2.cvtColor(self._pixels(image).image, cv2.COLOR_RGB2BGR)
        _, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        return bytes(encoded.tobytes())

    def act(self, image: str, request: ActionRequest) -> dict[str, Any]:
        """Take an action, or ``skip``: then other images come before this one.

        Returns:
            The image's state. Its ``revision`` is to be given with the next action; ``previous`` is the image that was
            done last, and what its revision is.

        Raises:
            ReviewError: it cannot be taken, and nothing has changed.
            PromptError: a click is outside of the image.
            FrameError: the image cannot be processed.
            EngineError: the model cannot run.
        """
        if request.action == "skip":
            return self._skip(image)
        if request.action == "undo":
            review = self._queue.undo(image, request.revision)
        else:
            outline = None
            if request.action in ("correct", "add"):
                outline = self._clicked(image, request)
            action = Action(request.action, self._reviewer, self._clock(), request.object, request.phrase, outline)
            review = self._queue.act(image, action, request.revision)
        if review.done is not None and image in self._waiting:
            self._waiting.remove(image)
            self._done.append(image)
        elif review.done is None and image not in self._waiting:
            self._waiting.insert(0, image)
            self._done.remove(image)
        return self._state(image, review)

    def _skip(self, image: str) -> dict[str, Any]:
        others = [one for one in self._waiting if one != image]
        if image in self._waiting:
            if not others:
                raise ReviewError("this is the last image; there is none to go to")
            self._waiting = [*others, image]
        return self._state(image, self._queue.review(image))

    def _clicked(self, image: str, request: ActionRequest) -> Polygon | MultiPolygon:
        if self._segmenter is None:
            raise ReviewError("this model cannot outline what is clicked; start the review with a bundle that can")
        if not request.points:
            raise ReviewError("expected at least one click")
        frame = self._pixels(image)
        points = tuple(PointPrompt(x, y, positive) for x, y, positive in request.points)
        prompt = VisualPrompt(points, multimask_output=len(points) == 1)  # one click may mean a part or the whole
        [prediction] = self._segmenter.predict(frame, [prompt])
        return simplify(outline_of(prediction.best, frame.width, frame.height), TOLERANCE)

    def _pixels(self, image: str) -> Frame:
        if self._frame is None or self._frame[0] != image:
            self._frame = image, read_frame(self._queue.image_file(image), "review")
        return self._frame[1]

    def _progress(self) -> dict[str, int]:
        return {"done": self._total - len(self._waiting), "total": self._total}

    def _previous(self) -> dict[str, Any] | None:
        return {"id": self._done[-1], "revision": self._queue.revision(self._done[-1])} if self._done else None

    def _state(self, image: str, review: Review) -> dict[str, Any]:
        item = self._queue.item(image)
        return {
            "id": image,
            "name": item.record.origin,
            "note": item.note,
            "width": item.record.width,
            "height": item.record.height,
            "revision": self._queue.revision(image),
            "actions": len(self._queue.actions(image)),
            "done": review.done is not None,
            "phrases": [{"phrase": p, "completeness": review.completeness(p)} for p in review.phrases],
            "objects": [
                {
                    "phrase": one.phrase,
                    "score": one.score,
                    "verdict": one.verdict,
                    "outline": shapely.geometry.mapping(one.outline),
                }
                for one in review.objects
            ],
            "progress": self._progress(),
            "previous": self._previous(),
        }
