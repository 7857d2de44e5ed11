"""Image file directories: the tables of tags in TIFF files and in EXIF blocks.

TIFF 6.0 section 2; BigTIFF (https://www.awaresystems.be/imaging/tiff/bigtiff.html).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from sam3edge.images.headers.header import HeaderError

_SIGNATURES: Mapping[bytes, tuple[str, bool]] = {
    b"II*\0": ("<", False),
    b"MM\0*": (">", False),
    b"II+\0": ("<", True),
    b"MM\0+": (">", True),
}
_ASCII, _RATIONAL = 2, 5
_INTEGERS: Mapping[int, str] = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
_SIZES: Mapping[int, int] = {
    1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8,
}  # fmt: skip

_MAX_VALUES = 1_000_000
"""A strip for every row of the tallest image that anyone decodes is a tenth of this."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One tag: its TIFF type, how many values, and where in the data they lie."""

    type: int
    count: int
    start: int

    @property
    def span(self) -> slice:
        """The bytes of the values."""
        return slice(self.start, self.start + self.count * _SIZES[self.type])

    @property
    def first(self) -> slice:
        """The bytes of the first value."""
        return slice(self.start, self.start + _SIZES[self.type])


class TagReader:
    """Reads the directories of one TIFF structure.

    Args:
        data: the structure from its byte-order mark on; offsets count from there.

    Raises:
        HeaderError: no TIFF structure. The methods raise it for whatever is outside the data.
    """

    def __init__(self, data: memoryview) -> None:
        self._data = data
        try:
            self.order, self._big = _SIGNATURES[bytes(data[:4])]
        except KeyError as error:
            raise HeaderError(f"expected a TIFF byte-order mark, got {bytes(data[:4])!r}") from error

    @staticmethod
    def recognises(data: bytes) -> bool:
        """Whether the data begin like a TIFF structure."""
        return data[:4] in _SIGNATURES

    def first_directory(self) -> dict[int, Entry]:
        """The tags of the first directory."""
        return self.directory(self._unpack("Q", 8) if self._big else self._unpack("I", 4))

    def directory(self, offset: int) -> dict[int, Entry]:
        """The tags of the directory at an offset; tags of unknown types are left out."""
        count = self._unpack("Q" if self._big else "H", offset)
        start = offset + (8 if self._big else 2)
        length = 20 if self._big else 12
        if start + count * length > len(self._data):
            raise HeaderError("a TIFF directory reaches beyond the end of the file")
        entries: dict[int, Entry] = {}
        for at in range(start, start + count * length, length):
            entry = self._entry(at)
            if entry is not None:
                entries.setdefault(self._unpack("H", at), entry)
        return entries

    def integers(self, entry: Entry) -> tuple[int, ...]:
        """The values of an unsigned integer tag."""
        if entry.type not in _INTEGERS:
            raise HeaderError(f"expected a TIFF tag of integers, got type {entry.type}")
        if entry.count > _MAX_VALUES:
            raise HeaderError(f"expected at most {_MAX_VALUES} values in a TIFF tag, got {entry.count}")
        return struct.unpack(f"{self.order}{entry.count}{_INTEGERS[entry.type]}", self._bytes(entry))

    def rationals(self, entry: Entry) -> tuple[float, ...]:
        """The values of a tag of unsigned fractions; raises ZeroDivisionError, too."""
        if entry.type != _RATIONAL or entry.count > _MAX_VALUES:
            raise HeaderError(f"expected a TIFF tag of fractions, got type {entry.type}")
        numbers = struct.unpack(f"{self.order}{2 * entry.count}I", self._bytes(entry))
        return tuple(above / below for above, below in zip(numbers[::2], numbers[1::2], strict=True))

    def text(self, entry: Entry) -> str:
        """The value of a text tag, up to the first zero byte."""
        if entry.type != _ASCII:
            raise HeaderError(f"expected a TIFF tag of text, got type {entry.type}")
        return bytes(self._bytes(entry)).split(b"\0")[0].decode("ascii", "replace")

    def _entry(self, at: int) -> Entry | None:
        kind = self._unpack("H", at + 2)
        if kind not in _SIZES:
            return None
        count = self._unpack("Q", at + 4) if self._big else self._unpack("I", at + 4)
        value = at + (12 if self._big else 8)
        if count * _SIZES[kind] > (8 if self._big else 4):
            value = self._unpack("Q" if self._big else "I", value)
        return Entry(kind, count, value)

    def _bytes(self, entry: Entry) -> memoryview:
        if entry.span.stop > len(self._data):
            raise HeaderError("a TIFF tag reaches beyond the end of the file")
        return self._data[entry.span]

    def _unpack(self, code: str, offset: int) -> int:
        layout = struct.Struct(self.order + code)
        if offset + layout.size > len(self._data):
            raise HeaderError("a TIFF offset points beyond the end of the file")
        return int(layout.unpack_from(self._data, offset)[0])
