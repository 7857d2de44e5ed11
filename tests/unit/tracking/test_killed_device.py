"""SIGKILL at every moment: a subscriber hears of the same detections, events and counts, none lost and none twice.

The device is a process of its own with the real flow, ``tracks.json``, outbox and folder (``support.killed_device``),
started again after each kill until its source has ended.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sam3edge.segmenter.tracking import TRACKS
from support import killed_device, media
from support.killed_device import Kind, Network, Thread
from support.moving_scenes import START

WIDTH, HEIGHT = 160, 90
NEVER = 10**9


def people(at: int) -> Iterator[tuple[tuple[int, int, int], int, int]]:
    """Colour and place of those who are there. Two come in over the left edge of an empty scene, one right behind the
    other, and cross the line; one rests; one is there for a moment. After a gap, two come in the same way."""
    for start in (2, 3, 301, 302):
        if start <= at < start + 11:
            yield media.RED, 8 + 14 * (at - start), 50
    if 2 <= at < 200:
        yield media.GREEN, 130, 70
    if 4 <= at < 6:
        yield media.BLUE, 40, 20


LONG = (*range(10), *range(300, 304))
SHORT = (1, 2, 3, 300)
"""Seconds."""

AFTERWARDS = 304

ALL = (".", "in", "work", "done")
"""Folders of a device."""

SLOW = pytest.mark.slow

pytestmark = pytest.mark.timeout(900)


def fill(folder: Path, times: Sequence[int]) -> None:
    """Put the pictures of these moments there, as old as they would be."""
    folder.mkdir(parents=True, exist_ok=True)
    for at in times:
        image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        image[0, at % WIDTH] = 50  # no two are the same file
        for color, x, y in people(at):
            image[y - 12 : y + 12, x - 4 : x + 4] = color
        path = folder / f"{at:03d}.png"
        path.write_bytes(media.encode(image, ".png"))
        written = int(START.timestamp() + at) * 10**9
        os.utime(path, ns=(written, written))


@dataclass(frozen=True)
class Heard:
    """What a subscriber keeps, who drops repetitions by id: bodies by id, without what a repetition may say otherwise,
    in the order in which they arrived."""

    detections: dict[str, Any] = field(default_factory=dict)
    events: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, log: Path) -> Heard:
        heard = cls()
        kept = {"detections": heard.detections, "event": heard.events, "counts": heard.counts}
        for line in log.read_text().splitlines():
            body = json.loads(line)
            identity = body.pop("id")
            for otherwise in ("time", "timing"):
                body.pop(otherwise, None)
            assert kept[body["message_type"]].setdefault(identity, body) == body, "what is said again is the same"
        return heard

    def by_track(self) -> dict[str, list[tuple[str, str]]]:
        """Types and times of the events of each track, in the order in which they arrived."""
        tracks: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for event in self.events.values():
            tracks[event["after"]["id"]].append((event["type"], event["event_time"]))
        return tracks

    def numbers(self) -> list[tuple[str, Any]]:
        """Of the counts: when, and what."""
        return [(c["event_time"], (c["objects"], c["zones"], c["lines"])) for c in self.counts.values()]


@dataclass(frozen=True)
class Kill:
    """When a process is killed, and under which circumstances; see ``killed_device.work``."""

    thread: Thread
    moment: int
    forgotten: tuple[str, ...] = ()
    network: Network = "up"


ALIVE = Kill("flow", NEVER)


@dataclass
class Device:
    """What outlives the processes of one device.

    Attributes:
        worked_on: times of the frames whose outcome was kept, as far as it is known yet.
    """

    root: Path
    kind: Kind
    processes: subprocess.Popen[str]
    worked_on: set[int] = field(default_factory=set)

    def start(self, kill: Kill = ALIVE) -> bool:
        """Start it; whether it came to its end."""
        assert self.processes.stdin is not None
        assert self.processes.stdout is not None
        self.processes.stdin.write(json.dumps({"root": str(self.root), "kind": self.kind, **asdict(kill)}) + "\n")
        self.processes.stdin.flush()
        status = int(self.processes.stdout.readline())
        assert status in (0, -signal.SIGKILL)
        file = self.root / "work" / TRACKS
        if self.kind == "camera" and file.exists():
            self._count_in(json.loads(file.read_text())["frame"])
        return status == 0

    def run(self, kills: Sequence[Kill]) -> bool:
        """Start it until its source has ended; whether one of these was survived."""
        survived = any(self.start(kill) for kill in kills)
        assert self.start()
        if self.kind == "camera":  # its last events come with its next frame
            fill(self.root / "in", [AFTERWARDS])
            assert self.start()
        return survived

    def heard(self) -> Heard:
        """So far."""
        heard = Heard.read(self.root / "heard")
        for detections in heard.detections.values():
            self._count_in(detections["frame"]["id"])
        return heard

    def misses_until(self, at: int) -> None:
        """A camera shows to nobody what is before this time."""
        seen = sum(int(path.stem) < at for path in (self.root / "in").iterdir())
        shown = self.root / "shown"
        shown.write_bytes(b"." * max(seen, shown.stat().st_size if shown.exists() else 0))

    def _count_in(self, frame_id: str) -> None:
        for path in (self.root / "in").iterdir():
            if hashlib.sha256(path.read_bytes()).hexdigest().startswith(frame_id):
                self.worked_on.add(int(path.stem))


class Bench:
    """Makes devices that see the same; knows what is heard of those that nobody kills."""

    def __init__(self, folder: Path, processes: subprocess.Popen[str]) -> None:
        self._folder, self._processes, self._numbers = folder, processes, count()
        self._undisturbed: dict[tuple[Kind, tuple[int, ...]], Heard] = {}

    def device(self, kind: Kind, times: Sequence[int]) -> Device:
        root = self._folder / str(next(self._numbers))
        fill(root / "in", times)
        return Device(root, kind, self._processes)

    def undisturbed(self, kind: Kind, times: Iterable[int]) -> Heard:
        key = kind, tuple(sorted(times))
        if key not in self._undisturbed:
            device = self.device(*key)
            assert device.start(Kill("flow", NEVER, network="awaited"))
            self._undisturbed[key] = device.heard()
        return self._undisturbed[key]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, killed_device.__file__]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as processes:
        yield Bench(tmp_path_factory.mktemp("devices"), processes)
        assert processes.stdin is not None
        processes.stdin.close()


def same_events_and_counts(heard: Heard, expected: Heard) -> None:
    assert heard.events == expected.events
    assert heard.by_track() == expected.by_track()
    numbers = expected.numbers()
    for when, what in heard.numbers():  # more often than needed, perhaps, and undelivered ones have given way
        assert what == [number for at, number in numbers if at <= when][-1]
    assert [what for _, what in heard.numbers()][-1:] == [what for _, what in numbers][-1:]


def every_moment(
    bench: Bench, kind: Kind, times: Sequence[int], kills: Callable[[int], Sequence[Kill]]
) -> Iterator[Device]:
    """Devices that were killed at their first moment, at their second, and so on, until one came to its end first."""
    for moment in count(1):
        device = bench.device(kind, times)
        survived = device.run(kills(moment))
        yield device
        shutil.rmtree(device.root)
        if survived:
            return


def once(thread: Thread, forgotten: tuple[str, ...] = (), network: Network = "up") -> Callable[[int], Sequence[Kill]]:
    return lambda moment: [Kill(thread, moment, forgotten, network)]


def then_without_power(second: int) -> Callable[[int], Sequence[Kill]]:
    return lambda moment: [Kill("flow", moment), Kill("flow", second, ("work",), "down")]


def again_and_again(moment: int) -> Sequence[Kill]:
    return [Kill("flow", moment)] * 4


def test_they_see_all_that_can_happen(bench: Bench) -> None:
    events = list(bench.undisturbed("keep", LONG).events.values())
    reasons = {reason["kind"] for event in events for reason in event["reasons"]}
    assert {event["type"] for event in events} == {"new", "update", "end"}
    assert {"dwelt", "line_crossed", "stationary", "zone_left", "gone", "interrupted"} <= reasons
    short = list(bench.undisturbed("keep", SHORT).events.values())
    assert [event["type"] for event in short] == ["new"] * 2 + ["end"] * 2


@pytest.mark.parametrize(
    ("kind", "times", "kills"),
    [
        pytest.param("keep", SHORT, once("flow"), id="flow"),
        pytest.param("delete", SHORT, once("flow", ALL, "down"), id="power cut, no network"),
        pytest.param("keep", LONG, once("flow"), id="flow, long", marks=SLOW),
        pytest.param("keep", LONG, once("delivery"), id="delivery, long", marks=SLOW),
        pytest.param("keep", LONG, again_and_again, id="again and again", marks=SLOW),
        pytest.param("keep", LONG, once("flow", ALL), id="power cut, long", marks=SLOW),
        pytest.param("delete", SHORT, once("flow", (".",), "down"), id="the device's folders, no network", marks=SLOW),
        pytest.param("delete", SHORT, once("flow", ("in",)), id="the watched folder", marks=SLOW),
        pytest.param("delete", SHORT, once("delivery", ALL), id="power cut, delivery", marks=SLOW),
        pytest.param("move", SHORT, once("flow", ALL, "down"), id="power cut, moved", marks=SLOW),
        pytest.param("move", SHORT, once("flow", ("done",), "down"), id="where files are moved", marks=SLOW),
    ],
)
def test_of_a_folder_nothing_is_lost_and_nothing_is_doubled(
    kind: Kind, times: Sequence[int], kills: Callable[[int], Sequence[Kill]], bench: Bench
) -> None:
    expected, devices = bench.undisturbed(kind, times), 0
    for device in every_moment(bench, kind, times, kills):
        heard = device.heard()
        assert heard.detections == expected.detections
        same_events_and_counts(heard, expected)
        if kind != "keep":
            assert not list((device.root / "in").iterdir())
        devices += 1
    assert devices > 2 * len(times)


@SLOW
def test_nor_when_the_power_is_cut_after_a_kill(bench: Bench) -> None:
    """What the killed process left in the system's memory, its successor must not take for what the medium has."""
    times = (1, 2, 3)
    expected = bench.undisturbed("keep", times)
    for second in range(1, 22):  # to the end of the first frame, and a little farther
        for device in every_moment(bench, "keep", times, then_without_power(second)):
            same_events_and_counts(device.heard(), expected)


@pytest.mark.parametrize(
    ("times", "kills"),
    [
        pytest.param(SHORT, once("flow"), id="flow"),
        pytest.param(LONG, once("flow"), id="flow, long", marks=SLOW),
        pytest.param(LONG, once("delivery"), id="delivery, long", marks=SLOW),
        pytest.param(LONG, again_and_again, id="again and again", marks=SLOW),
        pytest.param(LONG, once("flow", ALL), id="power cut, long", marks=SLOW),
    ],
)
def test_of_a_camera_no_event_is_lost_of_frames_that_were_worked_on(
    times: Sequence[int], kills: Callable[[int], Sequence[Kill]], bench: Bench
) -> None:
    """As if it had not taken the others."""
    devices = 0
    for device in every_moment(bench, "camera", times, kills):
        heard = device.heard()
        expected = bench.undisturbed("camera", device.worked_on)
        assert heard.detections.items() <= expected.detections.items()
        same_events_and_counts(heard, expected)
        devices += 1
    assert devices > 2 * len(times)


@pytest.mark.parametrize("times", [pytest.param(SHORT, id="short"), pytest.param(LONG, id="long", marks=SLOW)])
def test_who_was_there_has_gone_once_when_the_device_was_down_for_long(times: Sequence[int], bench: Bench) -> None:
    for moment in count(1):
        device = bench.device("camera", times)
        survived = device.start(Kill("flow", moment))
        device.misses_until(300)
        device.run([])
        heard = device.heard()
        same_events_and_counts(heard, bench.undisturbed("camera", device.worked_on))
        for events in heard.by_track().values():
            types = [kind for kind, _ in events]
            assert types.count("new") == 1
            assert types.count("end") <= 1
        if survived:
            return
