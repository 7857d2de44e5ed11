"""An endpoint without a network: some engine, asked as if it were far away."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sam3edge.core.errors import EndpointError
from sam3edge.core.flow import DetectionOptions, detect
from sam3edge.core.ports import Engine
from sam3edge.core.types import Detections, Frame, Prompt


class FakeEndpoint:
    """Answers as an engine does.

    Args:
        before: called with the number of the request, from 1; raises what the request is to fail with.
    """

    def __init__(self, engine: Engine, before: Callable[[int], None] = lambda number: None) -> None:
        self._engine = engine
        self._before = before
        self.requests = 0
        self.closed = False

    def ask(self, frame: Frame, prompts: Sequence[Prompt], seconds: float) -> Detections:
        """See ``Endpoint``."""
        if seconds <= 0:
            raise EndpointError("no time is left")
        self.requests += 1
        self._before(self.requests)
        found = detect(self._engine, frame, DetectionOptions(tuple(prompts)))
        return Detections(found.model, found.detections, {}, found.unsupported_prompts)

    def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True
