"""A listener that kills itself (SIGKILL) at one of the moments at which that could matter.

Usage: killed_listener.py ROOT BROKER_URL [MOMENT]

Moments are before and after each step that is to be durable, after an acknowledgement, and in the middle of a line.
Without one it ends with SIGTERM.
"""

from __future__ import annotations

import io
import os
import signal
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from sam3edge.core.backoff import Backoff
from sam3edge.subscriber.broker_url import Broker, BrokerUrl
from sam3edge.subscriber.connection import Arrived, Connection
from sam3edge.subscriber.journal import DiskJournal
from sam3edge.subscriber.listener import Listener, Sink
from sam3edge.subscriber.reading import DeviceMessage
from sam3edge.subscriber.sinks.geojson_files import GeoJsonFiles
from sam3edge.subscriber.sinks.geopackages import GeoPackages
from sam3edge.subscriber.sinks.ndjson import NdjsonFile

CLIENT = "killed-listener"
MOMENTS = (
    "before DiskJournal.add",
    "after DiskJournal.add",
    "acknowledged",
    "before GeoJsonFiles.write",
    "after GeoJsonFiles.write",
    "before Torn.write",
    "within a line",
    "after Torn.write",
    "before GeoPackages.write",
    "after GeoPackages.write",
    "before DiskJournal.settle",
    "after DiskJournal.settle",
)
Moment = Callable[[str], None]


class Watched:
    """An object around each of whose calls with something to do there are moments."""

    def __init__(self, inner: Any, moment: Moment, *calls: str) -> None:
        self._inner, self._moment, self._calls = inner, moment, calls

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._inner, name)
        return partial(self._call, name, attribute) if name in self._calls else attribute

    def _call(self, name: str, method: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        if not any([*arguments, *named.values()]):
            return method(*arguments, **named)
        what = f"{type(self._inner).__name__}.{name}"
        self._moment(f"before {what}")
        result = method(*arguments, **named)
        self._moment(f"after {what}")
        return result


class InParts(io.FileIO):
    """A file that is written in two parts, between which there is a moment."""

    moment: Moment

    def write(self, data: Any) -> int:
        first = len(data) * 2 // 3 - 5  # frames are of one size: not at the end of one
        super().write(data[:first])
        self.moment("within a line")
        return first + super().write(data[first:])


class Torn(NdjsonFile):
    """Its lines can be torn."""

    moment: Moment

    def _open(self) -> io.FileIO:
        stream = InParts(self._path, "a+b")
        stream.moment = self.moment
        return stream


def copy_lines(path: Path, messages: Iterable[DeviceMessage]) -> None:
    """In place of a GeoPackage: the frames' ids."""
    path.write_text("".join(f"{message['frame']['id']}\n" for message in messages))


def main(root: Path, url: str, kill_at: str = "") -> None:
    def moment(what: str) -> None:
        if what == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def connect(topics: Mapping[str, int], take: Callable[[Arrived], None]) -> Connection:
        def watch(arrived: Arrived) -> None:
            def acknowledge() -> None:
                arrived.acknowledge()
                moment("acknowledged")

            take(Arrived(arrived.topic, arrived.payload, arrived.qos, arrived.retained, acknowledge))

        broker = Broker(BrokerUrl.parse(url))
        return Connection(broker, CLIENT, topics, watch, durable=True, backoff=Backoff(0.05, 0.05))

    Torn.moment = staticmethod(moment)  # type: ignore[assignment]
    sinks: Sequence[Sink] = [
        GeoJsonFiles(root / "geojson"),
        Torn(root / "lines.ndjson", ("detections",), max_bytes=20_000, files=100),
        GeoPackages(root / "geopackages", copy_lines, max_bytes=20_000),
    ]
    journal = DiskJournal(root / "journal.db")
    watched = [Watched(sink, moment, "write") for sink in sinks]
    listener = Listener(connect, "sam3edge/+", Watched(journal, moment, "add", "settle"), watched)
    signal.signal(signal.SIGTERM, lambda *_: listener.stop())
    listener.run()
    for sink in sinks:
        sink.close()
    journal.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
