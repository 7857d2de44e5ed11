"""A device that can be killed at any moment: puts numbered frames, remembers which it has put, delivers to a folder.

Arguments: folder, number of frames.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

from sam3edge.core.errors import OutboxFull
from sam3edge.core.types import Message
from sam3edge.outbox.delivery import Delivery
from sam3edge.outbox.limits import OutboxOptions
from sam3edge.outbox.outbox import Outbox
from sam3edge.publishers.files import FilesPublisher


class Slow(FilesPublisher):
    """Takes its time, so that the outbox fills up."""

    def publish(self, message: Message) -> None:
        time.sleep(0.002)
        super().publish(message)


def main(folder: Path, frames: int) -> None:
    journal = folder / "journal"
    done = len(journal.read_bytes()) if journal.exists() else 0
    outbox = Outbox(folder / "outbox.db", OutboxOptions(max_bytes=40_000))
    delivery = Delivery(outbox, Slow(folder / "cloud"), on_lost=lambda error: sys.exit(str(error)))
    delivery.start()
    with journal.open("ab", buffering=0) as finished:
        for number in range(done, frames):
            pair = [Message(f"frame-{number}-{part}", "t/detections", b"{}" * 400) for part in "ab"]
            while True:
                try:
                    outbox.put(pair)
                    break
                except OutboxFull:
                    outbox.wait_for_room(1)
            finished.write(b".")
    if not delivery.drain(60):
        sys.exit("not drained")
    delivery.close()
    outbox.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
