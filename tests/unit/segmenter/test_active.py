"""The engine of the current bundle: what cannot be loaded is tried again, and never ends the watching."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sam3edge.bundle.manifest import MANIFEST
from sam3edge.core.backoff import Backoff
from sam3edge.core.errors import BundleError, EngineError, ModelMissing
from sam3edge.core.ports import Engine
from sam3edge.engines.fake import FakeEngine
from sam3edge.segmenter import active
from sam3edge.segmenter.active import ActiveEngine


class Loads:
    """Loads a bundle whose manifest says ``good``; else raises what it is told to."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.attempts = 0

    def __call__(self, bundle: Path) -> Engine:
        self.attempts += 1
        if (bundle / MANIFEST).read_text() != "good":
            raise self.error
        return FakeEngine()


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(active, "POLL_SECONDS", 0.01)


@pytest.fixture
def watch() -> Iterator[Callable[..., ActiveEngine]]:
    watching: list[ActiveEngine] = []

    def begin(pointer: Callable[[], Path | None], load: Loads, reports: list[Exception], pause: float) -> ActiveEngine:
        watching.append(ActiveEngine(pointer, load, reports.append, Backoff(pause, pause)))
        watching[-1].start()
        return watching[-1]

    yield begin
    for engine in watching:
        engine.close()


def make(bundle: Path, content: str) -> Path:
    bundle.mkdir(exist_ok=True)
    (bundle / MANIFEST).write_text(content)
    return bundle


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


@pytest.mark.parametrize(
    "error", [BundleError("damaged"), EngineError("no memory"), ValueError("npz"), MemoryError(), RecursionError()]
)
def test_whatever_a_bundle_makes_a_library_raise_it_is_reported_once_and_tried_again(
    watch: Callable[..., ActiveEngine], tmp_path: Path, error: Exception
) -> None:
    bundle, load, reports = make(tmp_path / "one", "bad"), Loads(error), list[Exception]()
    engine = watch(lambda: bundle, load, reports, 0.02)
    eventually(lambda: load.attempts > 3)
    assert len(reports) == 1
    assert isinstance(reports[0], BundleError | EngineError)
    with pytest.raises(ModelMissing):
        engine()
    make(bundle, "good")
    assert engine.wait(30)
    assert engine() is not None


def test_a_current_that_is_missing_at_the_start_is_loaded_when_it_is_there(
    watch: Callable[..., ActiveEngine], tmp_path: Path
) -> None:
    load = Loads(BundleError("damaged"))
    engine = watch(lambda: tmp_path / "one", load, [], 3600.0)
    eventually(lambda: load.attempts == 1)
    make(tmp_path / "one", "good")
    assert engine.wait(30)


def test_an_exchanged_folder_is_tried_at_once(watch: Callable[..., ActiveEngine], tmp_path: Path) -> None:
    bundle, load = make(tmp_path / "one", "bad"), Loads(BundleError("damaged"))
    engine = watch(lambda: bundle, load, [], 3600.0)
    eventually(lambda: load.attempts == 1)
    make(tmp_path / "fresh", "good")
    bundle.rename(tmp_path / "old")
    (tmp_path / "fresh").rename(bundle)
    assert engine.wait(30)


def test_the_engine_before_stays_and_each_reason_is_reported(
    watch: Callable[..., ActiveEngine], tmp_path: Path
) -> None:
    one, two = make(tmp_path / "one", "good"), make(tmp_path / "two", "bad")
    current, load, reports = [one], Loads(BundleError("damaged")), list[Exception]()
    engine = watch(lambda: current[0], load, reports, 0.02)
    assert engine.wait(30)
    before = engine()
    current[0] = two
    eventually(lambda: len(reports) == 1)
    load.error = BundleError("damaged elsewhere")
    eventually(lambda: len(reports) == 2)
    assert engine() is before


def test_a_loaded_bundle_is_not_loaded_again(watch: Callable[..., ActiveEngine], tmp_path: Path) -> None:
    bundle, load = make(tmp_path / "one", "good"), Loads(BundleError("damaged"))
    engine = watch(lambda: bundle, load, [], 0.02)
    assert engine.wait(30)
    time.sleep(0.2)
    assert load.attempts == 1


def test_a_device_that_sees_nothing_says_which_model_it_has(watch: Callable[..., ActiveEngine], tmp_path: Path) -> None:
    one, two = make(tmp_path / "one", "good"), make(tmp_path / "two", "good")
    current = [one]
    engine = watch(lambda: current[0], Loads(BundleError("damaged")), [], 0.02)
    assert engine.wait(30)
    before = engine()
    current[0] = two
    eventually(lambda: engine.current() is not before)
    assert engine() is engine.current()
