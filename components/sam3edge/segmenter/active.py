"""The engine of the current bundle, exchanged between two frames when the store's pointer moves."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from sam3edge.core.errors import BundleError, EngineError, ModelMissing
from sam3edge.core.ports import Engine

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0


class ActiveEngine:
    """Gives the flow its engine, and watches the store for another one.

    The next engine is loaded while the current one works on, so there is no gap; for that time both are in memory.

    Args:
        pointer: the folder of the current bundle, or None while there is none.
        load: loads a bundle.
        report: told when a bundle cannot be loaded; the engine before it stays.
    """

    def __init__(
        self, pointer: Callable[[], Path | None], load: Callable[[Path], Engine], report: Callable[[Exception], None]
    ) -> None:
        self._pointer = pointer
        self._load = load
        self._report = report
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._there = threading.Event()
        self._current: Engine | None = None
        self._next: Engine | None = None
        self._seen: Path | None = None
        self._thread = threading.Thread(target=self._watch, name="bundle-watch")

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def wait(self, timeout: float) -> bool:
        """Whether there is an engine, after waiting up to ``timeout`` seconds for the first."""
        return self._there.wait(timeout)

    def __call__(self) -> Engine:
        """The engine for the next frame. Called by the flow's thread, between two frames.

        Raises:
            ModelMissing: no bundle was ever loaded.
        """
        with self._lock:
            if self._next is not None:
                before, self._current, self._next = self._current, self._next, None
                if before is not None:
                    before.close()
                    logger.info("changed to model %s %s", self._current.model.name, self._current.model.version)
            if self._current is None:
                raise ModelMissing("no bundle is active; deploy the model component")
            return self._current

    def current(self) -> Engine | None:
        """The engine that answers now, for the heartbeat."""
        with self._lock:
            return self._current or self._next

    def close(self) -> None:
        """Stop watching and let the engines go. The flow must have ended."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        with self._lock:
            for engine in (self._current, self._next):
                if engine is not None:
                    engine.close()
            self._current = self._next = None

    def _watch(self) -> None:
        while True:
            self._look()
            if self._stop.wait(POLL_SECONDS):
                return

    def _look(self) -> None:
        bundle = self._pointer()
        if bundle is None or bundle == self._seen:
            return
        self._seen = bundle
        try:
            engine = self._load(bundle)
        except (BundleError, EngineError) as error:
            logger.error("the bundle %s cannot be loaded: %s", bundle.name, error)
            self._report(error)
            return
        with self._lock:
            unused, self._next = self._next, engine
        if unused is not None:
            unused.close()
        self._there.set()
