"""Engines for tests of what stands before them."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from sam3edge.core.errors import EngineError
from sam3edge.core.ports import InteractiveSegmenter
from sam3edge.core.types import EngineOutput, Frame, Prompt
from sam3edge.engines.fake import FakeEngine, FakeInteractiveSegmenter


class Watched(FakeEngine):
    """Notes what it is asked, waits until it may continue, and fails where it is told to.

    Args:
        fails_at: prompts whose presence makes the whole call fail.
    """

    def __init__(self, fails_at: Sequence[str] = (), error: Exception | None = None) -> None:
        super().__init__()
        self.asked: list[tuple[str, tuple[str, ...]]] = []
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.has_begun = threading.Event()
        self._fails_at = set(fails_at)
        self._error = error or EngineError("no memory left")

    def segment(self, frame: Frame, prompts: Sequence[Prompt]) -> EngineOutput:
        """See ``Engine``."""
        self.asked.append((frame.digest, tuple(p.text for p in prompts)))
        self.has_begun.set()
        assert self.may_go_on.wait(60)
        if self._fails_at & {p.text for p in prompts}:
            raise self._error
        return super().segment(frame, prompts)


class Pointing(Watched):
    """Answers clicks, too."""

    def interactive_segmenter(self) -> InteractiveSegmenter:
        """See ``InteractiveEngine``."""
        return FakeInteractiveSegmenter()


class Together(Watched):
    """Answers several frames in one run."""

    def __init__(self, fails_at: Sequence[str] = (), error: Exception | None = None) -> None:
        super().__init__(fails_at, error)
        self.runs: list[int] = []

    def segment_many(self, frames: Sequence[Frame], prompts_of_each: Sequence[Sequence[Prompt]]) -> list[EngineOutput]:
        """See ``BatchEngine``."""
        self.runs.append(len(frames))
        return [self.segment(frame, prompts) for frame, prompts in zip(frames, prompts_of_each, strict=True)]
