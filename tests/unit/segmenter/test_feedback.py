"""The component keeps hard examples, and watches for drift, as it is configured."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sam3edge.core.errors import SettingsError
from sam3edge.core.fallback.detector import NoExamples
from sam3edge.core.types import Prompt
from sam3edge.engines.fake import FakeEngine
from sam3edge.hard_examples.example import EXAMPLE, examples_in
from sam3edge.segmenter.feedback import build_feedback
from sam3edge.segmenter.settings import Settings, read_settings
from support.samples import red_square
from support.segmenter import Device, use_fake_engines
from support.stand_in import StandIn

FOLDER = {"Type": "folder", "Path": "/images"}


@pytest.fixture(autouse=True)
def _fake_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    use_fake_engines(monkeypatch)


def settings(**keys: object) -> Settings:
    return read_settings({"Prompts": ["red"], "Source": FOLDER, **keys})


def faint() -> np.ndarray:
    """A square whose red is so pale that the fake engine is not sure of it."""
    image = red_square()
    image[(image == (255, 0, 0)).all(2)] = (255, 95, 95)
    return image


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Device]:
    one = Device(
        tmp_path,
        Threshold=0.6,
        HardExamples={"Enabled": "true", "Kinds": "uncertain", "RandomShare": 0},
        Drift={"SecondsBetween": 0},
    )
    yield one
    one.close()


def test_an_uncertain_frame_is_kept_and_counted_and_a_sure_one_is_not(device: Device) -> None:
    device.start()
    device.put("sure.png")
    device.put("unsure.png", faint())
    device.wait(lambda: device.published("status") and device.published("status")[-1]["hard_examples"]["kept"])
    device.wait(lambda: len(device.published("detections")) == 2)
    [folder] = examples_in(device.where.work / "hard-examples")
    document = json.loads((folder / EXAMPLE).read_bytes())
    assert document["frame"]["name"] == "unsure.png"
    assert document["reason"]["kind"] == "uncertain"
    published = next(m for m in device.published("detections") if m["frame"]["name"] == "unsure.png")
    assert document["device"]["features"] == published["features"]


def test_the_heartbeat_tells_of_drift_and_the_windows_outlive_the_component(device: Device) -> None:
    device.start()
    device.put("a.png")
    device.wait(lambda: device.published("status") and device.published("status")[-1]["drift"]["series"])
    assert device.published("status")[-1]["drift"] == {"series": 1, "collecting": 1, "alarm_count": 0, "alarms": []}
    device.stop.set()
    device.thread.join()
    [[source, prompt, series]] = json.loads((device.where.work / "drift.json").read_bytes())["series"]
    assert (source, prompt, series["seen"]) == ("folder", "red", 1)


def test_by_default_nothing_is_kept_and_drift_is_watched(tmp_path: Path) -> None:
    feedback = build_feedback(settings(), "line-7", tmp_path, tuple[Prompt, ...])
    assert feedback.examples is None
    assert isinstance(feedback.disagreements, NoExamples)
    assert feedback.kept() is None
    assert feedback.drift is not None
    assert len(feedback.stages) == 1
    off = build_feedback(settings(Drift={"Enabled": False}), "line-7", tmp_path, tuple[Prompt, ...])
    assert (off.stages, off.drifted()) == ([], None)


def test_disagreements_are_kept_when_they_are_asked_for(tmp_path: Path) -> None:
    for kinds, kept in (("disagreement", True), ("uncertain, random", False)):
        keys = {"Enabled": True, "Kinds": kinds, "Folder": str(tmp_path / "shared")}
        feedback = build_feedback(settings(HardExamples=keys), "line-7", tmp_path, tuple[Prompt, ...])
        assert (feedback.disagreements is feedback.examples) == kept
        feedback.close()


def test_a_folder_that_depends_on_where_one_stands_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"HardExamples\.Folder: expected an absolute path"):
        build_feedback(
            settings(HardExamples={"Enabled": True, "Folder": "here"}), "line-7", tmp_path, tuple[Prompt, ...]
        )


def test_what_device_and_cloud_see_differently_is_kept_with_both(tmp_path: Path) -> None:
    cloud = StandIn(FakeEngine(version="9.9.9"))
    device = Device(
        tmp_path,
        Fallback={"Endpoint": cloud.url, "Reasons": "uncertain", "UncertainScores": [0, 1], "TimeoutSeconds": 30},
        HardExamples={"Enabled": True, "Kinds": "disagreement"},
    )
    cloud.manner = cloud.lying(lambda document: document["features"].clear())
    try:
        device.start()
        device.put("a.png")
        device.wait(lambda: device.published("status") and device.published("status")[-1]["hard_examples"]["kept"])
        [folder] = examples_in(device.where.work / "hard-examples")
        document = json.loads((folder / EXAMPLE).read_bytes())
        assert document["reason"]["kind"] == "disagreement"
        assert (len(document["device"]["features"]), document["cloud"]["features"]) == (1, [])
    finally:
        device.close()
        cloud.close()
