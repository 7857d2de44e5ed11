"""A device runs for months: memory after 1,000 images is what it was after 200."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path

import cv2
import pytest

from sam3edge.bundle.manifest import read_manifest
from sam3edge.bundle.verify import model_files
from sam3edge.core.flow import DetectionOptions, Flow
from sam3edge.core.gate import OpenGate
from sam3edge.core.messages.detections import FrameResult
from sam3edge.core.messages.topics import Topics
from sam3edge.core.types import Frame, Message, Prompt
from sam3edge.engines.fake import FakeEngine
from sam3edge.engines.onnx import OnnxEngine, OnnxOptions
from sam3edge.outbox.delivery import Delivery
from sam3edge.outbox.outbox import Outbox
from sam3edge.publishers.fake import FakePublisher
from sam3edge.segmenter.status import Statistics
from sam3edge.sources.fake import ListSource
from sam3edge.sources.folder.source import FolderOptions, FolderSource
from sam3edge_pipeline.synthetic import draw_scene
from support.samples import red_square

pytestmark = pytest.mark.long

WARM, ALL = 200, 1000


def resident_megabytes() -> float:
    """Resident set size of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmRSS")


class Forgetful(FakePublisher):
    """Takes everything and keeps nothing, as a broker would."""

    def publish(self, message: Message) -> None:
        return


class Counting(Statistics):
    """Stops the flow after all images, and notes the memory on the way."""

    def __init__(self, stop: threading.Event, refill: Sequence[bytes], folder: Path) -> None:
        super().__init__()
        self.count, self.memory = 0, {}
        self._stop, self._refill, self._folder = stop, refill, folder
        for i in range(20):
            self._put(i)

    def _put(self, i: int) -> None:
        content = self._refill[i % len(self._refill)]
        (self._folder / f".{i}.part").write_bytes(content)
        (self._folder / f".{i}.part").rename(self._folder / f"{i}.png")

    def detected(self, result: FrameResult, messages: int) -> None:
        super().detected(result, messages)
        self.count += 1
        self._put(self.count + 19)
        if self.count in (WARM, ALL):
            self.memory[self.count] = resident_megabytes()
        if self.count == ALL:
            self._stop.set()


@pytest.mark.timeout(900)
def test_memory_is_flat_over_1000_images(demo_bundle: Path, tmp_path: Path, figure: Callable[[str], None]) -> None:
    watched = tmp_path / "watched"
    watched.mkdir()
    pictures = [cv2.imencode(".png", draw_scene(3_100_000 + i).image)[1].tobytes() for i in range(8)]
    stop = threading.Event()
    engine = OnnxEngine(
        model_files(demo_bundle, read_manifest(demo_bundle)), OnnxOptions(("CPUExecutionProvider",), threads=1)
    )
    source = FolderSource(FolderOptions(watched, tmp_path / "journal.sqlite", tmp_path / "quarantine"))
    outbox = Outbox(tmp_path / "outbox.sqlite")
    delivery = Delivery(outbox, Forgetful(), on_lost=lambda error: stop.set())
    delivery.start()
    observer = Counting(stop, pictures, watched)
    prompts = (Prompt("metal tag"), Prompt("tree"))
    topics = Topics("p")
    flow = Flow(
        "line-7", source, OpenGate(), lambda: engine, lambda: DetectionOptions(prompts), outbox, topics, observer
    )
    flow.run(stop)
    for part in (source, delivery, outbox, engine):
        part.close()
    growth = observer.memory[ALL] / observer.memory[WARM] - 1
    figure(
        f"resident memory: {observer.memory[WARM]:.1f} MB after {WARM} images, "
        f"{observer.memory[ALL]:.1f} MB after {ALL}, growth {growth:.2%}"
    )
    assert growth < 0.05


def test_a_frame_lives_no_longer_than_its_turn() -> None:
    """The flow, the observer and the gate keep no picture."""

    class Memory:
        def put(self, messages: Sequence[Message]) -> None: ...

        def wait_for_room(self, timeout: float) -> bool:
            return True

    image = red_square()
    alive = weakref.ref(image)
    frame = Frame("1", "s", "1", image, datetime.now(timezone.utc), "sha256:0")
    source = ListSource([frame])
    del image, frame
    options = DetectionOptions((Prompt("red"),))
    parts = (source, OpenGate(), FakeEngine, lambda: options, Memory(), Topics("d"), Statistics())
    Flow("d", *parts).run(threading.Event())  # type: ignore[arg-type]
    gc.collect()
    assert alive() is None
