"""One message a line: to a file that is rotated, or to a pipe."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any, BinaryIO

from pydantic_core import from_json

from sam3edge.core.errors import SettingsError, SubscriptionError
from sam3edge.core.messages.envelope import to_json
from sam3edge.durable import make_folder, sync_folder
from sam3edge.subscriber.listener import BATCH
from sam3edge.subscriber.reading import TOPIC_OF, DeviceMessage
from sam3edge.subscriber.reassembly import key_of
from sam3edge.subscriber.sinks.files import require_folder

logger = logging.getLogger(__name__)

_BLOCK = 1 << 20
_MAX_LINE = 64 << 20
"""Bytes that no message has: a listener holds less of a frame that comes in parts."""

_CONTROLS = re.compile(rb"\x7f|\xc2[\x80-\x9f]")
"""What JSON lets through, in UTF-8: U+009B is to some terminals what ESC [ is."""

_FIRST_MEMBERS = frozenset({"type", "features", "id", "schema_version", "device", "time"})
"""What devices write before ``message_type``."""


class NdjsonPipe:
    """Messages for whoever reads them, as soon as they are there.

    Args:
        stream: as standard output.
        topics: names of topics.
    """

    def __init__(self, stream: BinaryIO, topics: Iterable[str]) -> None:
        self.topics: Mapping[str, int] = dict.fromkeys(topics, 1)
        self._stream = stream

    def write(self, messages: Sequence[DeviceMessage]) -> None:
        """See ``Sink``; raises BrokenPipeError when nobody reads any more."""
        if lines := _lines(m for m in messages if TOPIC_OF.get(m["message_type"]) in self.topics):
            self._stream.write(_CONTROLS.sub(_escaped, lines))
            self._stream.flush()

    def close(self) -> None:
        """The stream is not ours."""


class NdjsonFile:
    """A file to which messages are appended; whole lines at any time, whatever happens. It is made with the first
    ``write``.

    Args:
        path: when it would become larger than ``max_bytes``, it is renamed to ``<name>.1``, that one to ``<name>.2``
            and so on, and the last one is deleted. What is there already has to be lines of an ``NdjsonFile``: no other
            file is written to, cut, renamed or deleted.
        topics: names of topics.
        max_bytes: 0 for no bound. What comes at once stays together, and may be more.
        files: how many there may be.

    Raises:
        SettingsError: it cannot be written, or something else is there.
    """

    def __init__(self, path: Path, topics: Iterable[str], max_bytes: int = 0, files: int = 5) -> None:
        self.topics: Mapping[str, int] = dict.fromkeys(topics, 1)
        self._path = path
        self._max_bytes = max_bytes
        self._files = files
        self._stream: FileIO | None = None
        self._written: frozenset[str] = frozenset()
        try:
            for number in range(files if max_bytes else 1):
                _require_messages(self.rotated(number))
            require_folder(path.parent)
            if path.exists() and not os.access(path, os.W_OK):
                raise SettingsError(f"{path} cannot be written: no permission")
        except OSError as error:
            raise SettingsError(f"{path} cannot be written: {error.strerror}") from error

    @property
    def size(self) -> int:
        """Bytes of the file that is written to."""
        return self._path.stat().st_size if self._path.exists() else 0

    def rotated(self, number: int) -> Path:
        """The file that was rotated so many times."""
        return self._path.with_name(f"{self._path.name}.{number}") if number else self._path

    def write(self, messages: Sequence[DeviceMessage]) -> None:
        """See ``Sink``."""
        self._begin()
        ours = [m for m in messages if TOPIC_OF.get(m["message_type"]) in self.topics]
        lines = _lines(m for m in ours if key_of(m) not in self._written)
        if not lines:
            return
        if self._max_bytes and self.size and self.size + len(lines) > self._max_bytes:
            self.rotate()
        with self._in_words():
            self._append(lines)

    def rotate(self) -> None:
        """Begin a new file.

        Raises:
            SubscriptionError: files cannot be renamed.
        """
        with self._in_words():
            self._begin().close()
            try:
                if self._files == 1:
                    self._path.unlink()
                for number in range(self._files - 1, 0, -1):
                    newer = self.rotated(number - 1)
                    if newer.exists():
                        newer.replace(self.rotated(number))
            finally:
                self._stream = self._open()
            sync_folder(self._path.parent)

    def close(self) -> None:
        """See ``Sink``."""
        if self._stream is not None:
            self._stream.close()

    def _begin(self) -> FileIO:
        """The file, which is opened with the first call."""
        if self._stream is None:
            with self._in_words():
                make_folder(self._path.parent)
                self._stream = self._open()
                self._end_torn_line(self._stream)
                self._written = self._last_keys()
                sync_folder(self._path.parent)
        return self._stream

    def _append(self, lines: bytes) -> None:
        stream, size = self._begin(), self.size
        try:
            rest = memoryview(lines)
            while rest:
                rest = rest[stream.write(rest) or 0 :]
            os.fsync(stream.fileno())
        except OSError:
            stream.truncate(size)
            raise

    def _open(self) -> FileIO:
        return self._path.open("a+b", buffering=0)

    def _end_torn_line(self, stream: FileIO) -> None:
        """What was being written when the process before was killed: a message that only its end of line is missing of
        gets that, any other one is cut."""
        size = end = self.size
        while end:
            start = max(0, end - _BLOCK)
            stream.seek(start)
            newline = stream.read(end - start).rfind(b"\n")
            end = start if newline < 0 else start + newline + 1
            if newline >= 0:
                break
        if end == size:
            return
        stream.seek(end)
        if _is_message(stream.read(min(size - end, _MAX_LINE))):
            self._append(b"\n")
            return
        logger.warning("%s ended within a line, which is cut: it is written again if it is not lost", self._path)
        stream.truncate(end)

    def _last_keys(self) -> frozenset[str]:
        """Of the messages at the end: as many as may have been written without anybody knowing."""
        lines: list[bytes] = []
        for number in range(self._files):
            path = self.rotated(number)
            if len(lines) < BATCH and path.exists():
                lines += _last_lines(path, BATCH - len(lines))
        return frozenset(filter(None, map(_key_of_line, lines)))

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise SubscriptionError(f"{self._path} cannot be written: {error.strerror}") from error


def _lines(messages: Iterable[DeviceMessage]) -> bytes:
    return b"".join(to_json(message) + b"\n" for message in messages)


def _escaped(found: re.Match[bytes]) -> bytes:
    return rb"\u%04x" % ord(found[0].decode())


def _last_lines(path: Path, count: int) -> list[bytes]:
    """The last lines of a file, at most so many."""
    with path.open("rb") as stream:
        end = stream.seek(0, os.SEEK_END)
        tail = b""
        while end and tail.count(b"\n") <= count:
            start = max(0, end - _BLOCK)
            stream.seek(start)
            tail = stream.read(end - start) + tail
            end = start
    return tail.splitlines()[-count:]


def _key_of_line(line: bytes) -> str:
    """Empty for a line that is not ours."""
    try:
        return key_of(json.loads(line))
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""


def _require_messages(path: Path) -> None:
    """Raises SettingsError where a file holds something else, by its first line."""
    if not path.exists():
        return
    if not path.is_file():
        raise SettingsError(f"{path} cannot be written: expected a file, got a folder, a pipe or a device")
    with path.open("rb") as stream:
        line = stream.readline(_MAX_LINE)
    if line and not _is_message(line) and (line.endswith(b"\n") or not _begins_message(line)):
        raise SettingsError(
            f"expected that {path} is new, or has been written by this command, got a file of something else, which "
            "stays as it is; choose another name"
        )


def _is_message(line: bytes) -> bool:
    try:
        return _kind(from_json(line)) in TOPIC_OF
    except ValueError:
        return False


def _begins_message(line: bytes) -> bool:
    """Whether a line is torn, and may become a message. Of a whole one that is none nothing can be said but that."""
    with suppress(ValueError):
        from_json(line)
        return False
    try:
        start = from_json(line.decode("utf-8", "ignore"), allow_partial="trailing-strings")
    except ValueError:
        return False
    if not isinstance(start, dict) or len(line) >= _MAX_LINE:
        return False
    if "message_type" in start:
        return any(kind.startswith(_kind(start)) for kind in TOPIC_OF)
    return start.keys() <= _FIRST_MEMBERS


def _kind(document: Any) -> str:
    return str(document.get("message_type")) if isinstance(document, dict) else ""
