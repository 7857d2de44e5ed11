"""A segmenter with the fake engine, run by a thread, over the fake nucleus."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import jsonschema
import numpy as np
import pytest

from sam3edge.bundle.proof import ProvenEngine
from sam3edge.bundle.store import Store
from sam3edge.core.errors import EngineError
from sam3edge.core.messages import topics
from sam3edge.core.messages.schemas import schema
from sam3edge.engines.fake import FakeEngine
from sam3edge.greengrass.fake import FakeNucleus
from sam3edge.greengrass.restarts import RestartBudget
from sam3edge.segmenter import wiring
from sam3edge.segmenter.context import ComponentContext, NucleusLimits
from sam3edge.segmenter.serve import serve
from sam3edge.segmenter.settings import Settings
from support.samples import red_square

PATIENCE = 20.0


class Device:
    """A segmenter with the fake engine, run by a thread, over the fake nucleus."""

    def __init__(self, root: Path, **keys: Any) -> None:
        self.images, self.root = root / "images", root
        self.images.mkdir()
        source = {"Type": "folder", "Path": str(self.images), "SettleSeconds": 0.05, "RescanSeconds": 0.3}
        self.nucleus = FakeNucleus({"Prompts": ["red"], "Source": source, "HeartbeatSeconds": 1, **keys})
        self.where = ComponentContext(
            "line-7",
            root / "work",
            root / "store",
            NucleusLimits(50_000, 2, 200_000, 100),
            RestartBudget(root / "work/starts.json"),
        )
        (root / "work").mkdir()
        self.stop = threading.Event()
        self.error: Exception | None = None
        self.thread = threading.Thread(target=self._serve)
        self.use("1.0.0")

    def use(self, version: str) -> None:
        """Point the store at another bundle."""
        bundle = self.where.store / "bundles" / version
        bundle.mkdir(parents=True)
        Store(self.where.store, keep=5).activate(bundle)

    def start(self) -> None:
        self.thread.start()

    def put(self, name: str, image: np.ndarray | None = None) -> None:
        picture = red_square() if image is None else image
        (self.images / f".{name}.part").write_bytes(cv2.imencode(".png", picture[..., ::-1])[1].tobytes())
        (self.images / f".{name}.part").rename(self.images / name)

    def published(self, topic: str) -> list[dict[str, Any]]:
        return [json.loads(p) for t, p in self.nucleus.published if t == f"sam3edge/line-7/{topic}"]

    def wait(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < deadline, (
                f"waited {PATIENCE} s; published on {[t for t, _ in self.nucleus.published]}"
            )
            assert self.thread.is_alive(), f"the component ended: {self.error!r}"
            time.sleep(0.02)

    def command(self, **members: Any) -> None:
        self.nucleus.deliver("sam3edge/line-7/commands", json.dumps(members).encode())

    def _serve(self) -> None:
        try:
            serve(self.nucleus, self.where, self.stop)
        except Exception as error:
            self.error = error

    def close(self) -> None:
        self.stop.set()
        if self.thread.ident is not None:
            self.thread.join(PATIENCE)
        assert not self.thread.is_alive()
        self.nucleus.close()
        self.validate()

    def validate(self) -> None:
        """Everything that was published follows the schema of its topic."""
        for topic, payload in self.nucleus.published:
            name = topic.removeprefix(topics.topics_of(self.where.device).prefix + "/")
            jsonschema.Draft202012Validator(schema(name)).validate(json.loads(payload))


def use_fake_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every bundle loaded as the fake engine; one that is called ``broken`` does not load."""

    def load(bundle: Path, settings: Settings, store: Store) -> ProvenEngine:
        if bundle.name == "broken":
            raise EngineError("broken does not load")
        return ProvenEngine(FakeEngine(version=bundle.name))

    monkeypatch.setattr(wiring, "load_engine", load)
