"""A program that consumes a folder until nothing has come for a second. It is made to be killed.

Usage: killed_consumer.py ROOT keep|move

Appends ``delivered NAME ID`` and ``done NAME ID`` to ROOT/log, each in one write.
"""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path

from sam3edge.core.errors import FrameError
from sam3edge.sources.folder.disposition import Keep, MoveTo, OnProcessed
from support.folders import opened


def main(root: Path, on_processed: OnProcessed) -> None:
    logger = os.open(root / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(what: str, name: str, identity: str) -> None:
        os.write(logger, f"{what} {name} {identity}\n".encode())

    with opened(root, on_processed=on_processed, settle_seconds=0.3) as source:
        idle_since = time.monotonic()
        while time.monotonic() < idle_since + 1.0:
            try:
                frame = source.next(0.1)
            except FrameError as error:
                note("delivered", error.name, error.frame_id)
                source.reject(error)
                note("done", error.name, error.frame_id)
            else:
                if frame is None:
                    continue
                note("delivered", frame.name, frame.id)
                time.sleep(random.uniform(0, 0.004))
                source.done(frame)
                note("done", frame.name, frame.id)
            idle_since = time.monotonic()
    os.close(logger)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    main(folder, Keep() if sys.argv[2] == "keep" else MoveTo(folder / "done"))
