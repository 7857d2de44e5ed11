"""What is kept of every camera, in bounded room: a device that has more loses its own, not those of others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

Kept = TypeVar("Kept")


@dataclass(frozen=True, slots=True)
class Camera:
    """A source of frames of a device."""

    device: str
    source: str


@dataclass(frozen=True, slots=True)
class Room:
    """How much is kept at most, in all and of one device."""

    cameras: int
    sources: int = 16
    total_bytes: int = 0
    device_bytes: int = 0


class Cameras(Generic[Kept]):
    """By camera, the one that was heard of longest ago first."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._kept: dict[Camera, tuple[Kept, int]] = {}

    def get(self, camera: Camera) -> Kept | None:
        """What is kept of a camera."""
        kept = self._kept.get(camera)
        return kept and kept[0]

    def put(self, camera: Camera, kept: Kept, size: int = 0) -> list[Camera]:
        """Keep this of a camera, which takes that many bytes.

        Returns:
            Cameras that gave way: those that were heard of longest ago, of this device first.
        """
        self._kept.pop(camera, None)
        self._kept[camera] = kept, size
        same = [one for one in self._kept if one.device == camera.device]
        gone = self._remove(self._excess(same, self._room.sources, self._room.device_bytes))
        return gone + self._remove(self._excess(list(self._kept), self._room.cameras, self._room.total_bytes))

    def forget(self, camera: Camera) -> None:
        """As if it had never been heard of."""
        self._kept.pop(camera, None)

    def items(self) -> list[tuple[Camera, Kept]]:
        """All of them."""
        return [(camera, kept) for camera, (kept, _) in self._kept.items()]

    def _remove(self, cameras: Iterable[Camera]) -> list[Camera]:
        gone = list(cameras)
        for camera in gone:
            del self._kept[camera]
        return gone

    def _excess(self, cameras: list[Camera], number: int, size: int) -> Iterator[Camera]:
        count, total = len(cameras), sum(self._kept[camera][1] for camera in cameras)
        for camera in cameras:
            if count <= number and total <= size:
                return
            yield camera
            count, total = count - 1, total - self._kept[camera][1]
