"""A run over a raster that can be killed at any moment: notes every tile that its slow engine is given.

Arguments: raster, checkpoint, file for the notes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from sam3edge.core.types import EngineOutput, Frame, Prompt
from sam3edge.engines.fake import FakeEngine
from sam3edge.rasters.segment import segment_raster
from support.rasters import RED, SMALL


class Noted(FakeEngine):
    """Notes the tiles that it is given, by name, before it looks at them."""

    def __init__(self, notes: Path, seconds: float) -> None:
        super().__init__()
        self._notes, self._seconds = notes, seconds

    def segment(self, frame: Frame, prompts: Sequence[Prompt]) -> EngineOutput:
        """See ``Engine``."""
        with self._notes.open("a") as notes:
            notes.write(f"{frame.id}\n")
        time.sleep(self._seconds)
        return super().segment(frame, prompts)


def main(raster: Path, checkpoint: Path, notes: Path) -> None:
    for _ in segment_raster(raster, Noted(notes, 0.02), [RED], SMALL, checkpoint=checkpoint):
        pass


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
