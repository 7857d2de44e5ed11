"""A device that kills itself (SIGKILL) at a chosen moment; source, flow, stages, outbox and delivery are the real ones.

As a program it takes orders from its standard input, one a line, and forks a process for each: so what all of them
import is imported once. It says how each has ended, by a line with the exit status.

Moments are before and after each call that changes what a file system holds, each commit of SQLite, and each
publication, counted by thread: the order of a thread's moments is always the same, that of two threads is not.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Literal, TypeAlias

from sam3edge.core.errors import FrameError, PublishError
from sam3edge.core.flow import DetectionOptions, Flow
from sam3edge.core.gate import OpenGate
from sam3edge.core.messages.detections import FrameResult
from sam3edge.core.messages.topics import Topics
from sam3edge.core.ports import EndOfSource, Source, SourceTraits
from sam3edge.core.types import Frame, Message, Prompt
from sam3edge.engines.fake import COLORS, FakeEngine
from sam3edge.images.files import images_in, read_frame
from sam3edge.outbox.delivery import Delivery
from sam3edge.outbox.once import OUTBOX
from sam3edge.outbox.outbox import Outbox
from sam3edge.outbox.retry import DeliveryOptions
from sam3edge.segmenter.sources import FolderSettings
from sam3edge.segmenter.status import Statistics
from sam3edge.segmenter.tracking import PlaceSettings, TrackingSettings, build_tracking
from sam3edge.segmenter.wiring import overflow_of
from sam3edge.tracking.stage import EventChannel
from support.power_cut import Medium

DEVICE = "line-7"
TOPICS = Topics("p")
PROMPTS = tuple(Prompt(color) for color in COLORS)
TRACKING = TrackingSettings(enabled=True, max_lost_seconds=2, stationary_seconds=4)
RULES = PlaceSettings.model_validate(
    {
        "Zones": [{"Name": "left", "Polygon": [[0, 0], [0.5, 0], [0.5, 1], [0, 1]], "DwellSeconds": 3}],
        "Lines": [{"Name": "middle", "From": [0.5, 0], "To": [0.5, 1]}],
    }
).rules()

Thread: TypeAlias = Literal["flow", "delivery"]
Kind: TypeAlias = Literal["keep", "move", "delete", "camera"]
"""Of the source: a folder, by what becomes of its files, or a camera."""

Network: TypeAlias = Literal["up", "awaited", "down"]
"""``awaited``: a frame has to wait until what the one before led to is delivered."""


class Moments:
    """Passes by moments, and kills the process at one of them.

    Args:
        thread: in which; of this thread, ``number`` is counted from 1.
        forgotten: folders of which the medium has nothing that was not synced, for the power is cut at the same time.
    """

    def __init__(self, thread: Thread, number: int, medium: Medium, forgotten: Collection[Path]) -> None:
        self._fate = thread, number
        self._medium = medium
        self._forgotten = forgotten
        self._passed: Counter[Thread] = Counter()
        self._unlink = os.unlink

    def passes(self) -> None:
        thread: Thread = "flow" if threading.current_thread() is threading.main_thread() else "delivery"
        self._passed[thread] += 1
        if (thread, self._passed[thread]) == self._fate:
            if self._forgotten:
                os.unlink = self._unlink
                self._medium.lose_power(self._forgotten)
            else:
                self._medium.survive()
            os.kill(os.getpid(), signal.SIGKILL)

    def watch(self) -> None:
        """From now on, in this process, for good."""
        medium = self._medium
        replace, unlink, mkdir = os.replace, os.unlink, os.mkdir

        def around(change: Callable[[], None]) -> None:
            self.passes()
            change()
            self.passes()

        def fsync_(descriptor: int) -> None:
            around(lambda: medium.synced(descriptor))  # nobody pulls a plug here, so it need not be waited for

        def replace_(source: Any, target: Any) -> None:
            medium.renames(Path(source), Path(target))
            around(lambda: replace(source, target))

        def unlink_(path: Any) -> None:
            medium.changes(Path(path))
            around(lambda: unlink(path))

        def mkdir_(path: Any, mode: int = 0o777) -> None:
            medium.changes(Path(path))
            around(lambda: mkdir(path, mode))

        moments, connect = self, sqlite3.connect

        class Connection(sqlite3.Connection):
            def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
                if sql != "COMMIT":
                    return super().execute(sql.replace("synchronous = FULL", "synchronous = OFF"), *arguments)
                moments.passes()
                cursor = super().execute(sql)
                moments.passes()
                return cursor

            def commit(self) -> None:
                around(super().commit)

        os.fsync, os.replace, os.unlink, os.mkdir = fsync_, replace_, unlink_, mkdir_
        sqlite3.connect = lambda *a, **named: connect(*a, **named, factory=Connection)


class Broker:
    """A ``Publisher``: what it has accepted is in a file, each message a line, in the order of acceptance."""

    def __init__(self, file: Path, network: Network, moments: Moments) -> None:
        self._file = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._network = network
        self._moments = moments

    def publish(self, message: Message) -> None:
        if self._network == "down":
            raise PublishError("no network")
        self._moments.passes()
        os.write(self._file, message.payload + b"\n")
        self._moments.passes()

    def close(self) -> None: ...


class FolderOnce:
    """A folder source that ends when nothing is left."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def next(self, timeout: float) -> Frame | None:
        frame = self._source.next(0.0)
        if frame is None and not self._source.backlog:
            raise EndOfSource
        return frame


class Passing:
    """A camera that shows the images of a folder, each once, whoever looks.

    Args:
        shown: file whose length is how many it has shown.
    """

    backlog = unfinished = 0
    traits = SourceTraits(waits=False)

    def __init__(self, folder: Path, shown: Path) -> None:
        self._images = images_in(folder)
        self._shown = shown

    def next(self, timeout: float) -> Frame:
        number = self._shown.stat().st_size if self._shown.exists() else 0
        if number >= len(self._images):
            raise EndOfSource
        with self._shown.open("ab") as shown:
            shown.write(b".")
        return read_frame(self._images[number], "camera")

    def done(self, frame: Frame) -> None: ...

    def reject(self, error: FrameError) -> None:
        raise AssertionError(error)

    def close(self) -> None: ...


def source_of(kind: Kind, root: Path) -> Source:
    if kind == "camera":
        return Passing(root / "in", root / "shown")
    keys = {"Type": "folder", "Path": root / "in", "OnProcessed": kind}
    if kind == "move":
        keys["MoveTo"] = root / "done"
    return FolderOnce(FolderSettings.model_validate(keys).build(root / "work"))  # type: ignore[return-value]  # by __getattr__


class Patient(Statistics):
    """Lets the flow continue when all is delivered that the frame led to."""

    def __init__(self, delivery: Delivery) -> None:
        super().__init__()
        self._delivery = delivery

    def detected(self, result: FrameResult, messages: int) -> None:
        assert self._delivery.drain(60)


def work(root: Path, kind: Kind, thread: Thread, moment: int, forgotten: list[str], network: Network) -> None:
    """Work until the source has ended and all is delivered, or until the moment."""
    attic = root / "attic"
    attic.mkdir(exist_ok=True)
    moments = Moments(thread, moment, Medium(attic), [root / name for name in forgotten])
    moments.watch()
    source = source_of(kind, root)
    outbox = Outbox(root / "work" / OUTBOX, overflow=overflow_of(source))
    # one at a time: what is on its way together arrives in any order
    delivery = Delivery(outbox, Broker(root / "heard", network, moments), DeliveryOptions(in_flight=1), on_lost=_raise)
    delivery.start()
    channel = EventChannel(DEVICE, TOPICS.events, 50_000)
    tracking = build_tracking(TRACKING, channel, root / "work", lambda: RULES, lambda: PROMPTS)
    flow = Flow(
        DEVICE, source, tracking.gate(OpenGate()), FakeEngine, lambda: DetectionOptions(PROMPTS), outbox, TOPICS,
        Patient(delivery) if network == "awaited" else Statistics(), stages=tracking.stages,
    )  # fmt: skip
    flow.run(threading.Event())
    assert network == "down" or delivery.drain(60)
    delivery.close()
    outbox.close()  # the source need not be: the process ends


def _raise(error: Exception) -> None:
    raise error


def main() -> None:
    for line in sys.stdin:
        order = json.loads(line)
        process = os.fork()
        if process == 0:
            status = 1
            try:
                work(Path(order.pop("root")), **order)
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(status)
        print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)  # noqa: T201 - the answer


if __name__ == "__main__":
    main()
