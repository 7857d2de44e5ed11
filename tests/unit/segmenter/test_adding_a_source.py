"""A source that is not ours, as docs/adding.md says it: its class, its settings with ``build``, one entry."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

import pytest

from sam3edge.core.errors import FrameError, SettingsError
from sam3edge.core.ports import Source, SourceTraits
from sam3edge.core.types import Frame
from sam3edge.outbox.limits import Block, DropOldest
from sam3edge.segmenter.settings import read_settings
from sam3edge.segmenter.sources import SOURCES, SourceSettings
from sam3edge.segmenter.wiring import overflow_of
from support.samples import red_square
from support.segmenter import Device, use_fake_engines

# -- sources/slides.py ------------------------------------------------------------------------------------------------


class SlideSource:
    """A red square, again and again, as often as there are slides."""

    def __init__(self, slides: int, waits: bool = True) -> None:
        self.traits = SourceTraits(waits)
        self.backlog, self.unfinished = slides, 0
        self._shown = 0

    def next(self, timeout: float) -> Frame | None:
        if not self.backlog:
            return None
        self.backlog -= 1
        self._shown += 1
        name = f"slide-{self._shown}"
        return Frame(name, "slides", name, red_square(), datetime.now(timezone.utc), f"sha256:{self._shown}")

    def done(self, frame: Frame) -> None: ...

    def reject(self, error: FrameError) -> None: ...

    def close(self) -> None: ...


# -- segmenter/sources.py ---------------------------------------------------------------------------------------------


class SlideSettings(SourceSettings):
    """Slides. ``Count`` is how many."""

    type: Literal["slides"]
    count: int

    def build(self, work: Path) -> Source:
        return SlideSource(self.count)


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SOURCES, "slides", SlideSettings)
    use_fake_engines(monkeypatch)


# -- its test ---------------------------------------------------------------------------------------------------------


def test_its_frames_become_messages(tmp_path: Path) -> None:
    device = Device(tmp_path, Source={"Type": "slides", "Count": "3"})
    try:
        device.start()
        device.wait(lambda: len(device.published("detections")) == 3)
    finally:
        device.close()
    assert [body["source"] for body in device.published("detections")] == ["slides"] * 3


def test_its_configuration_is_checked_as_any_other() -> None:
    for wrong, says in (
        ({"Type": "slides"}, "Source.Count: Field required"),
        ({"Type": "slides", "Count": 1, "Speed": 2}, "Source.Speed"),
        ({"Type": "reels"}, "expected a mapping whose Type is one of camera, folder, slides, got reels"),
        ("rtsp://admin:secret@cam", "Source: expected a mapping"),
    ):
        with pytest.raises(SettingsError, match=says) as caught:
            read_settings({"Prompts": ["red"], "Source": wrong})
        assert "secret" not in str(caught.value)


def test_what_it_is_decides_what_gives_way_in_a_full_outbox() -> None:
    assert isinstance(overflow_of(SlideSource(1, waits=True)), Block)
    assert isinstance(overflow_of(SlideSource(1, waits=False)), DropOldest)
