"""A watched folder: every image file that is put there becomes one frame.

Delivery is at least once, with stable ids. A file counts as settled only when ``done`` or ``reject`` has written so to
the journal; whatever the folder holds that the journal does not know is delivered at the next start. Putting the file
away comes after that, and is made up for at the next start when the process died in between.
"""

from __future__ import annotations

import logging
import os
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from sam3edge.core.errors import FrameError, SettingsError
from sam3edge.core.ports import EndOfSource, SourceTraits
from sam3edge.core.types import Frame
from sam3edge.durable import make_folder
from sam3edge.images.decoding import Decoded, DecodeError, DecodeOptions, UnfinishedImage, decode
from sam3edge.images.depth import NARROW, Depth
from sam3edge.images.files import IMAGE_SUFFIXES, to_frame
from sam3edge.sources.folder.content import Content, Fingerprint, StillChanging, fingerprint_of, frame_id, read_content
from sam3edge.sources.folder.disposition import Keep, OnProcessed, Quarantine
from sam3edge.sources.folder.journal import Journal, Settled
from sam3edge.sources.folder.listing import FolderScope, NotAFile, stamp_of
from sam3edge.sources.folder.queue import Arrival, Arrivals
from sam3edge.sources.folder.watcher import Closed, FolderWatch, Gone, Seen

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class FolderOptions:
    """A watched folder.

    Attributes:
        folder: where images arrive. Has to exist. Symbolic links within it are not followed.
        journal: file that remembers what was settled, on a local disk.
        quarantine: where files go that are no usable image, each with a report; made when missing. It and the folder of
            ``MoveTo`` may lie within the watched folder.
        source_id: ``Frame.source``, and part of every frame's id.
        on_processed: what becomes of a file whose frame is done: ``Keep()``, ``MoveTo(folder)`` or ``Delete()``.
        recursive: whether sub-folders are watched too.
        suffixes: endings of the files to read, lower case with the dot; others are left alone.
        max_bytes: larger files are refused unread.
        decode: pixel limit and treatment of 16-bit images.
        settle_seconds: a file that was seen, but not closed or renamed before our eyes, is read when its size and
            modification time have stayed the same for so long. What looks damaged is given the same time to change.
        unfinished_seconds: what ends before its image does may still be written, by a camera that uploads over a slow
            link; it is left where it is and looked at again, less and less often, until it has not changed for so long.
            Then a copy of it goes to quarantine. If it is completed after all, it is a frame.
        rescan_seconds: how often the folder is listed, for network shares and lost events; less often when that takes
            more than a twentieth of the time.
        retry_seconds: how long to wait before a file that could not be read or put away is tried again.
    """

    folder: Path
    journal: Path
    quarantine: Path
    source_id: str = "folder"
    on_processed: OnProcessed = field(default_factory=Keep)
    recursive: bool = False
    suffixes: frozenset[str] = IMAGE_SUFFIXES
    max_bytes: int = 512 * 1024 * 1024
    decode: DecodeOptions = field(default_factory=DecodeOptions)
    settle_seconds: float = 0.5
    unfinished_seconds: float = 120.0
    rescan_seconds: float = 10.0
    retry_seconds: float = 30.0

    def __post_init__(self) -> None:
        for name in ("max_bytes", "settle_seconds", "unfinished_seconds", "rescan_seconds", "retry_seconds"):
            if not getattr(self, name) > 0:
                raise SettingsError(f"{name} must be more than 0, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class _Delivered:
    relative: str
    fingerprint: Fingerprint
    unfinished: bool = False


@dataclass(frozen=True, slots=True)
class _Unfinished:
    """What was seen of a file in the making, and since when it has been like this."""

    fingerprint: Fingerprint | None
    since: float


class FolderSource:
    """A ``Source`` of the images in a folder: the backlog by modification time and name, then what arrives.

    A file that is written again is a new frame when its name, modification time, size or content differs; a copy that
    preserves all four is the frame that it was.

    Args:
        options: see ``FolderOptions``.

    Raises:
        SettingsError: the folder does not exist, another folder cannot be made, or the journal cannot be opened.
    """

    def __init__(self, options: FolderOptions) -> None:
        self._options = options
        self._scope = _scope(options)
        self._quarantine = Quarantine(options.quarantine)
        self._outstanding: dict[str, _Delivered] = {}
        self._unfinished: dict[str, _Unfinished] = {}
        self._warned = False
        self._overdue: OrderedDict[str, Settled] = OrderedDict()
        self._overdue_at = 0.0
        self._closed = False
        self._arrivals = Arrivals(options.settle_seconds)
        self._watch = FolderWatch(self._scope, options.rescan_seconds)
        self._journal = Journal(options.journal)
        try:
            listing = self._watch.start()
        except OSError as error:
            self._journal.close()
            raise SettingsError(f"the folder {options.folder} cannot be read: {error}") from error
        if listing.files and listing.complete:  # an empty one may be a share that is not mounted yet
            self._journal.forget([path for path in self._journal.paths() if path not in listing.files])
        self._arrivals.backlog(listing)
        self._overdue.update((settled.path, settled) for settled in self._journal.unfiled())
        self._file_overdue(float("inf"))

    def next(self, timeout: float) -> Frame | None:
        """The next image; see ``Source.next``."""
        if self._closed:
            raise EndOfSource
        deadline = time.monotonic() + timeout
        self._file_overdue(deadline)
        wait = 0.0
        while True:
            self._notice(wait)
            arrival = self._arrivals.pop()
            if arrival is not None:
                frame = self._frame_of(arrival)
                if frame is not None:
                    return frame
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                return None
            wait = min(remaining, self._arrivals.seconds_until_next())

    def done(self, frame: Frame) -> None:
        """Record the file as done, then put it away; see ``Source.done``."""
        self._settle(frame.id, None)

    def reject(self, error: FrameError) -> None:
        """Record the file as rejected, then move it to the quarantine folder with a report; see ``Source.reject``."""
        self._settle(error.frame_id, str(error))

    @property
    def traits(self) -> SourceTraits:
        """Files wait."""
        return SourceTraits(waits=True)

    @property
    def backlog(self) -> int:
        """Files that were noticed and not read yet."""
        return self._arrivals.waiting

    @property
    def unfinished(self) -> int:
        """Of those, the ones that look as if they were still being written."""
        return len(self._unfinished)

    def close(self) -> None:
        """Stop watching and release the journal; see ``Source.close``."""
        self._closed = True
        self._watch.stop()
        self._journal.close()

    def _notice(self, timeout: float) -> None:
        gone = []
        for sighting in self._watch.take(timeout):
            match sighting:
                case Closed(relative):
                    self._arrivals.closed(relative)
                case Seen(relative, stamp):
                    self._arrivals.seen(relative, stamp)
                case Gone(relative) if not os.path.lexists(self._scope.root / relative):
                    self._arrivals.gone(relative)
                    self._unfinished.pop(relative, None)
                    gone.append(relative)
        if gone:
            self._journal.forget(gone)

    def _frame_of(self, arrival: Arrival) -> Frame | None:
        """Read one file; None when there is nothing to deliver, not yet or not any more."""
        relative = arrival.relative
        path = self._scope.root / relative
        try:
            if arrival.stamp is not None:
                stamp = stamp_of(path)
                if self._journal.knows(relative, stamp):
                    return None
                if arrival.stamp != stamp:
                    self._arrivals.seen(relative, stamp)
                    return None
            content = read_content(path, self._options.max_bytes)
        except FileNotFoundError:
            self._unfinished.pop(relative, None)
            logger.info("File %r has gone before it was read", relative)
        except NotAFile as error:
            logger.warning("%r is skipped: %s", relative, error)
        except StillChanging:
            self._wait_for(relative, None)
        except OSError as error:
            logger.warning("File %r cannot be read: %s; trying again", relative, error)
            self._arrivals.later(relative, self._options.retry_seconds)
        else:
            return self._deliver(arrival, content)
        return None

    def _deliver(self, arrival: Arrival, content: Content) -> Frame | None:
        relative, stamp = arrival.relative, content.fingerprint.stamp
        identity = self._identity(relative, content)
        if identity in self._outstanding or self._journal.knows_id(relative, identity):
            return None
        try:
            if content.problem:
                raise (UnfinishedImage if content.may_pass else DecodeError)(content.problem)
            decoded = decode(content.data, self._options.decode)
        except DecodeError as error:
            unfinished = isinstance(error, UnfinishedImage)
            if unfinished and self._wait_for(relative, content.fingerprint):
                return None
            if not arrival.settled and not unfinished:
                self._arrivals.seen(relative, stamp)
                return None
            self._unfinished.pop(relative, None)
            copied = unfinished and not content.problem  # what may not be read cannot be copied either
            self._outstanding[identity] = _Delivered(relative, content.fingerprint, copied)
            raise FrameError(str(error), frame_id=identity, name=_shown(relative)) from error
        self._unfinished.pop(relative, None)
        self._outstanding[identity] = _Delivered(relative, content.fingerprint)
        self._notice_narrow(relative, decoded)
        options, written_at = self._options, _moment(stamp.mtime_ns)
        return to_frame(decoded, content.sha256, options.source_id, _shown(relative), written_at, identity)

    def _notice_narrow(self, relative: str, decoded: Decoded) -> None:
        """Say once that nothing can be found in images that use a sliver of their range."""
        if self._options.decode.depth.depth is Depth.FULL_RANGE and decoded.used_range < NARROW and not self._warned:
            self._warned = True
            logger.warning(
                "File %r uses %.1f %% of its 65536 counts and is almost uniform at 8 bits; set Source.Depth to "
                "percentiles, min-max or fixed",
                relative,
                100 * decoded.used_range,
            )

    def _wait_for(self, relative: str, fingerprint: Fingerprint | None) -> bool:
        """Look at a file again that seems to be in the making, the later the longer it has not changed.

        Args:
            fingerprint: of the file; None of one that changes right now.

        Returns:
            False when it has not changed for ``unfinished_seconds``, and nobody writes it.
        """
        now = time.monotonic()
        before = self._unfinished.get(relative)
        if fingerprint is None or before is None or before.fingerprint != fingerprint:
            self._unfinished[relative] = before = _Unfinished(fingerprint, now)
        age, patience = now - before.since, self._options.unfinished_seconds
        if age >= patience:
            return False
        self._arrivals.later(relative, max(self._options.settle_seconds, min(age, patience - age)))
        return True

    def _identity(self, relative: str, content: Content) -> str:
        return frame_id(self._options.source_id, relative, content.fingerprint.stamp, content.sha256)

    def _settle(self, identity: str, reason: str | None) -> None:
        delivered = self._outstanding.pop(identity, None)
        if delivered is None:
            logger.debug("Frame %s is not outstanding", identity)
            return
        if not self._is_unchanged(identity, delivered):
            logger.info("File %r was replaced or removed while it was worked on", delivered.relative)
            return
        settled = Settled(delivered.relative, delivered.fingerprint.stamp, identity, reason, delivered.unfinished)
        filed = reason is None and self._options.on_processed.keeps
        self._journal.settle(settled, filed=filed)
        if not filed:
            self._overdue[settled.path] = settled
            self._put_away(settled)

    def _is_unchanged(self, identity: str, delivered: _Delivered) -> bool:
        """Whether the path still holds what was delivered; what took its place is a frame of its own."""
        path = self._scope.root / delivered.relative
        try:
            if fingerprint_of(path) == delivered.fingerprint:
                return True
            content = read_content(path, self._options.max_bytes)
            if content.problem:
                return content.fingerprint.stamp == delivered.fingerprint.stamp
            return self._identity(delivered.relative, content) == identity
        except (FileNotFoundError, NotAFile, StillChanging):
            return False
        except OSError as error:
            logger.warning("File %r cannot be looked at: %s; taken as unchanged", delivered.relative, error)
            return True

    def _file_overdue(self, deadline: float) -> None:
        """Put away what could not be put away when it was settled, one file at least, until one fails again."""
        while self._overdue and time.monotonic() >= self._overdue_at:
            self._put_away(next(iter(self._overdue.values())))
            if time.monotonic() >= deadline:
                return

    def _put_away(self, settled: Settled) -> None:
        try:
            if self._is_there(settled):
                self._move(settled)
        except OSError as error:
            what = "put away" if settled.reason is None else "moved to quarantine"
            logger.error("File %r cannot be %s: %s; it is not lost and is tried again", settled.path, what, error)
            self._overdue.move_to_end(settled.path)
            self._overdue_at = time.monotonic() + self._options.retry_seconds
            return
        del self._overdue[settled.path]
        if settled.unfinished or (settled.reason is None and self._options.on_processed.keeps):
            self._journal.settle(settled, filed=True)
        else:
            self._journal.forget([settled.path])

    def _is_there(self, settled: Settled) -> bool:
        try:
            return stamp_of(self._scope.root / settled.path) == settled.stamp
        except (FileNotFoundError, NotAFile):
            return False

    def _move(self, settled: Settled) -> None:
        path = self._scope.root / settled.path
        if settled.reason is None:
            self._options.on_processed.file(path, settled.path, settled.frame_id)
            return
        report = {
            "source": self._options.source_id,
            "name": _shown(settled.path),
            "frame_id": settled.frame_id,
            "reason": settled.reason,
            "size": settled.stamp.size,
            "modified_at": _moment(settled.stamp.mtime_ns).isoformat(),
            "quarantined_at": datetime.now(timezone.utc).isoformat(),
        }
        logger.warning("File %r goes to quarantine: %s", settled.path, settled.reason)
        self._quarantine.file(path, settled.path, settled.frame_id, report, copy=settled.unfinished)


def _scope(options: FolderOptions) -> FolderScope:
    try:
        root = options.folder.resolve(strict=True)
    except OSError as error:
        raise SettingsError(f"the folder {options.folder} cannot be watched: {error}") from error
    excluded = set()
    for folder in (options.quarantine, options.on_processed.folder):
        if folder is None:
            continue
        try:
            make_folder(folder)
        except OSError as error:
            raise SettingsError(f"the folder {folder} cannot be made: {error}") from error
        if folder.resolve() == root:
            raise SettingsError(f"{folder} is the watched folder itself; name another, or one within it")
        excluded.add(folder.resolve())
    return FolderScope(root, options.recursive, options.suffixes, frozenset(excluded))


def _moment(nanoseconds: int) -> datetime:
    """A file time in UTC. Times that no calendar has (a damaged file system) become the nearest that it has."""
    seconds = min(max(nanoseconds / 1e9, 0.0), _LAST_SECOND)
    return datetime.fromtimestamp(seconds, timezone.utc)


def _shown(relative: str) -> str:
    """The path as text that can be sent: bytes that are not UTF-8 are replaced."""
    return os.fsencode(relative).decode("utf-8", "replace")


_LAST_SECOND = datetime(9999, 12, 31, tzinfo=timezone.utc).timestamp()
