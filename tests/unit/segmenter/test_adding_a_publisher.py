"""A publisher that is not ours, as docs/adding.md says it: its class, its settings with ``build``, one entry."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest

from sam3edge.core.errors import PublishError
from sam3edge.core.ports import Publisher
from sam3edge.core.types import Message
from sam3edge.greengrass.nucleus import Nucleus
from sam3edge.segmenter.publishers import PUBLISHERS, PublisherSettings
from support.segmenter import Device, use_fake_engines

# -- publishers/printer.py --------------------------------------------------------------------------------------------


class PrintingPublisher:
    """Appends one line a message; the first attempt jams."""

    def __init__(self, paper: Path) -> None:
        self._paper = paper
        self._jammed = True

    def publish(self, message: Message) -> None:
        if self._jammed:
            self._jammed = False
            raise PublishError("paper jam")
        with self._paper.open("a") as paper:
            paper.write(f"{message.id} {message.topic}\n")

    def close(self) -> None: ...


# -- segmenter/publishers.py ------------------------------------------------------------------------------------------


class PrintingSettings(PublisherSettings):
    """Prints on ``Paper``."""

    type: Literal["printer"]
    paper: Path

    def build(self, nucleus: Nucleus, max_payload: int) -> Publisher:
        return PrintingPublisher(self.paper)


# -- its test ---------------------------------------------------------------------------------------------------------


def test_messages_leave_by_it_and_none_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PUBLISHERS, "printer", PrintingSettings)
    use_fake_engines(monkeypatch)
    paper = tmp_path / "paper.txt"
    device = Device(tmp_path, Publisher={"Type": "printer", "Paper": str(paper)})
    try:
        device.start()
        device.put("a.png")
        device.wait(lambda: paper.exists() and "sam3edge/line-7/detections" in paper.read_text())
    finally:
        device.close()
    assert device.published("detections") == []
