"""Noticing files: by the kernel's events where there are any, and by looking again where there are none."""

from __future__ import annotations

import logging
import os
import queue
import sys
import threading
import time
from typing import NamedTuple

from watchdog.events import (
    DirCreatedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers.api import BaseObserver

from sam3edge.sources.folder.listing import FolderScope, Listing, Stamp

logger = logging.getLogger(__name__)


class Closed(NamedTuple):
    """A writer closed the file, or it was renamed to this."""

    relative: str


class Seen(NamedTuple):
    """The file is new or has changed."""

    relative: str
    stamp: Stamp


class Gone(NamedTuple):
    """The file is not there any more."""

    relative: str


Sighting = Closed | Seen | Gone

_PATIENCE = 5.0
"""Seconds to wait for a thread that may hang on a share which no longer answers."""

_REST = 20
"""Listing a folder of 100,000 files takes a second; it may not take more than a twentieth of the time."""

_FOLDER_EVENTS: dict[bool, list[type[FileSystemEvent]]] = {True: [DirCreatedEvent, DirMovedEvent], False: []}


class FolderWatch:
    """Reports what happens in a folder.

    inotify reports files that were closed after writing and files that were renamed. It knows nothing of what other
    machines do to a network share, drops events when its queue is full and may have no watch to spare; so the folder is
    also listed every ``rescan_seconds``, in a thread of its own, and compared with the listing before.

    Args:
        scope: which files count.
        rescan_seconds: how often the folder is listed; less often when that takes long.
    """

    def __init__(self, scope: FolderScope, rescan_seconds: float) -> None:
        self._scope = scope
        self._rescan_seconds = rescan_seconds
        self._sightings: queue.SimpleQueue[Sighting] = queue.SimpleQueue()
        self._wake = threading.Event()
        self._stopping = False
        self._observer: BaseObserver | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> Listing:
        """Begin to watch, then list the folder, so that no file falls between.

        Raises:
            OSError: the folder cannot be read.
        """
        self._observer = self._observe()
        try:
            listing = self._scope.listing()
        except OSError:
            self.stop()
            raise
        self._thread = threading.Thread(target=self._rescan, args=(listing,), name="folder-rescan", daemon=True)
        self._thread.start()
        return listing

    def take(self, timeout: float) -> list[Sighting]:
        """What was noticed since the last call; waits up to ``timeout`` seconds when that is nothing."""
        sightings: list[Sighting] = []
        try:
            sightings.append(self._sightings.get(timeout=timeout) if timeout > 0 else self._sightings.get_nowait())
            while True:
                sightings.append(self._sightings.get_nowait())
        except queue.Empty:
            return sightings

    def stop(self) -> None:
        """End both threads. Idempotent."""
        self._stopping = True
        self._wake.set()
        if self._observer is not None:
            self._observer.stop()
            self._observer.join(_PATIENCE)
            self._observer = None
        if self._thread is not None:
            self._thread.join(_PATIENCE)
            self._thread = None

    def _observe(self) -> BaseObserver | None:
        if sys.platform != "linux":
            return None
        from watchdog.observers.inotify import InotifyObserver  # only there on Linux

        observer: BaseObserver | None = None
        try:
            observer = InotifyObserver(generate_full_events=True)
            observer.schedule(
                _Handler(self._scope, self._sightings, self._wake),
                str(self._scope.root),
                recursive=self._scope.recursive,
                event_filter=[FileClosedEvent, FileMovedEvent, *_FOLDER_EVENTS[self._scope.recursive]],
            )
            observer.start()
        except OSError as error:
            logger.warning(
                "Folder %r cannot be watched (%s), only listed every %g s; raise fs.inotify.max_user_watches "
                "or max_user_instances if it is a local one",
                str(self._scope.root), error, self._rescan_seconds,
            )  # fmt: skip
            if observer is not None:
                observer.stop()
            return None
        return observer

    def _rescan(self, last: Listing) -> None:
        failing = False
        pause = self._rescan_seconds
        while True:
            self._wake.wait(pause)
            self._wake.clear()  # before the question, so that a stop which comes after it is not slept through
            if self._stopping:
                return
            begin = time.monotonic()
            try:
                current = self._scope.listing()
            except OSError as error:
                if not failing:
                    logger.warning("Folder %r cannot be read: %s; trying on", str(self._scope.root), error)
                failing = True
                continue
            failing = False
            last = self._compare(last, current)
            pause = max(self._rescan_seconds, _REST * (time.monotonic() - begin))

    def _compare(self, last: Listing, current: Listing) -> Listing:
        for relative, stamp in current.changes_since(last):
            self._sightings.put(Seen(relative, stamp))
        if current.folder_identity != last.folder_identity:
            logger.warning("Folder %r was replaced, mounted or taken away", str(self._scope.root))
            return current
        missing = last.files.keys() - current.files.keys()
        if not current.complete:
            return Listing(last.files | current.files, False, current.folder_identity)
        for relative in missing:
            self._sightings.put(Gone(relative))
        return current


class _Handler(FileSystemEventHandler):
    def __init__(
        self, scope: FolderScope, sightings: queue.SimpleQueue[Sighting], changed_folders: threading.Event
    ) -> None:
        self._scope = scope
        self._sightings = sightings
        self._changed_folders = changed_folders

    def on_any_event(self, event: FileSystemEvent) -> None:
        if event.is_directory:
            # Files may have been put into it before it was watched.
            self._changed_folders.set()
            return
        path = event.dest_path if isinstance(event, FileMovedEvent) else event.src_path
        relative = self._scope.relative(os.fsdecode(path)) if path else None
        if relative is not None:
            self._sightings.put(Closed(relative))
