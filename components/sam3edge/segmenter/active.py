"""The engine of the current bundle, exchanged between two frames when the store's pointer moves."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sam3edge.bundle.manifest import MANIFEST
from sam3edge.core.backoff import Backoff
from sam3edge.core.errors import BundleError, EngineError, ModelMissing
from sam3edge.core.ports import Engine

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0

RETRY_SECONDS = 2.0, 300.0
"""The shortest and the longest wait until a bundle that could not be loaded is tried again."""


class ActiveEngine:
    """Gives the flow its engine, and watches the store for another one.

    The next engine is loaded while the current one works on, so there is no gap; for that time both are in memory.

    A bundle that cannot be loaded, for whatever reason, is tried again, less and less often: the model component may
    repair it, memory may become free. It is tried at once when its folder was exchanged.

    Args:
        pointer: the folder of the current bundle, or None while there is none.
        load: loads a bundle.
        report: told when a bundle cannot be loaded, once for each reason; the engine before it stays.
        backoff: seconds between attempts.
    """

    def __init__(
        self,
        pointer: Callable[[], Path | None],
        load: Callable[[Path], Engine],
        report: Callable[[Exception], None],
        backoff: Backoff | None = None,
    ) -> None:
        self._pointer = pointer
        self._load = load
        self._report = report
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._there = threading.Event()
        self._current: Engine | None = None
        self._next: Engine | None = None
        self._loaded: _Place | None = None
        self._failed: _Place | None = None
        self._reported = ""
        self._retry_at = 0.0
        self._backoff = backoff or Backoff(*RETRY_SECONDS)
        self._thread = threading.Thread(target=self._watch, name="bundle-watch")

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def wait(self, timeout: float) -> bool:
        """Whether there is an engine, after waiting up to ``timeout`` seconds for the first."""
        return self._there.wait(timeout)

    def __call__(self) -> Engine:
        """The engine for the next frame. Called by the detector's thread, between two frames.

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
        """The engine that answers the next frame, for the heartbeat: where none comes, nothing is exchanged."""
        with self._lock:
            return self._next or self._current

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
        place = None if bundle is None else _Place.of(bundle)
        if bundle is None or place == self._loaded:
            return
        if place != self._failed:
            self._backoff.reset()
        elif time.monotonic() < self._retry_at:
            return
        try:
            engine = self._load(bundle)
        except Exception as error:  # this thread's supervisor: whatever it is, the engine before it stays
            self._failed = place
            self._not_loaded(bundle, error)
            return
        self._loaded, self._failed, self._reported = place, None, ""
        with self._lock:
            unused, self._next = self._next, engine
        if unused is not None:
            unused.close()
        self._there.set()

    def _not_loaded(self, bundle: Path, error: Exception) -> None:
        pause = self._backoff.next()
        self._retry_at = time.monotonic() + pause
        known = isinstance(error, BundleError | EngineError)
        reason = f"{bundle.name}: {error if known else f'{type(error).__name__}: {error}'}"
        logger.error("the bundle %s cannot be loaded, trying again in %.0f s", reason, pause, exc_info=not known)
        if reason != self._reported:
            self._reported = reason
            self._report(error if known else EngineError(f"the bundle {reason}"))


@dataclass(frozen=True, slots=True)
class _Place:
    """A bundle as it is now: another one in a folder of the same name is another place."""

    path: Path
    inode: int = 0
    written: int = 0

    @classmethod
    def of(cls, bundle: Path) -> _Place:
        """Of a bundle, told by its manifest; of one that is missing, too."""
        try:
            status = (bundle / MANIFEST).stat()
        except OSError:
            return cls(bundle)
        return cls(bundle, status.st_ino, status.st_mtime_ns)
