"""Zip archives whose bytes depend on their members only, and how files are spread over several of limited size."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from sam3edge.bundle.artifacts import chunk_name

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""Time of every member: zip files that differ in nothing else must not differ in this."""

_BLOCK = 1 << 20
_END_BYTES = 128
"""More than the records at the end of an archive take, those of ZIP64 included."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file, or a piece of one, in an archive.

    Attributes:
        name: path in the archive.
        source: where its content is.
        start, length: which bytes of it.
    """

    name: str
    source: Path
    start: int
    length: int

    def most_bytes(self) -> int:
        """Bytes that it may take in an archive: content that does not compress grows a little, and has headers."""
        return self.length + self.length // 2000 + _header_bytes(self.name)


def whole_file(name: str, source: Path) -> Member:
    """All of ``source``."""
    return Member(name, source, 0, source.stat().st_size)


def spread(members: Iterable[Member], limit: int) -> tuple[tuple[Member, ...], ...]:
    """Decide which archive each file goes into, so that none has more than ``limit`` bytes.

    One archive when all fit; else the largest come first, each into the first archive that has room (first-fit
    decreasing). A file that does not even fit alone is cut into pieces that are named by ``chunk_name``.

    Raises:
        ValueError: the limit is too small for any content.
    """
    pieces = [piece for member in members for piece in _cut(member, limit - _END_BYTES)]
    archives: list[list[Member]] = []
    rooms: list[int] = []
    for piece in sorted(pieces, key=lambda piece: (-piece.most_bytes(), piece.name)):
        needed = piece.most_bytes()
        place = next((i for i, room in enumerate(rooms) if room >= needed), None)
        if place is None:
            place = len(archives)
            archives.append([])
            rooms.append(limit - _END_BYTES)
        archives[place].append(piece)
        rooms[place] -= needed
    return tuple(tuple(sorted(archive, key=lambda piece: piece.name)) for archive in archives)


def write_zip(path: Path, members: Sequence[Member]) -> None:
    """Write an archive.

    Everything is deflated: weights in half precision lose 14 % by it, at 30 MB/s here and 180 MB/s on the way back.
    """
    with zipfile.ZipFile(path, "w") as archive:
        for member in members:
            entry = zipfile.ZipInfo(member.name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = 0o644 << 16
            with member.source.open("rb") as content, archive.open(entry, "w", force_zip64=True) as target:
                content.seek(member.start)
                left = member.length
                while piece := content.read(min(_BLOCK, left)):
                    target.write(piece)
                    left -= len(piece)


def _cut(member: Member, room: int) -> Sequence[Member]:
    """The member, or its pieces if it takes more than ``room`` bytes."""
    if member.most_bytes() <= room:
        return (member,)
    longest = (room - _header_bytes(chunk_name(member.name, 0))) * 2000 // 2001
    if longest <= 0 or member.length > 1000 * longest:
        raise ValueError(
            f"{member.name} has {member.length} bytes and would take more than 1000 artifacts of {room + _END_BYTES} "
            "bytes; raise the limit"
        )
    starts = range(member.start, member.start + member.length, longest)
    end = member.start + member.length
    return [
        Member(chunk_name(member.name, i), member.source, start, min(longest, end - start))
        for i, start in enumerate(starts)
    ]


def _header_bytes(name: str) -> int:
    """More than a local header, a central header and their ZIP64 fields take."""
    return 256 + 2 * len(name.encode())
