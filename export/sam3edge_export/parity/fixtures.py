"""What an export is tried on: images and the phrases asked of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from sam3edge.core.errors import FrameError, Sam3EdgeError
from sam3edge.core.types import Frame, RgbImage
from sam3edge.engines.text_normalization import normalize_text
from sam3edge.images.files import IMAGE_SUFFIXES, images_in, read_frame

GOLDEN_SIDE = 640
"""Pixels of the golden image's longer side, at most: it travels with every bundle."""


MOST_PHRASES = 8
"""Asked of one frame. On a processor each takes half a minute at full size, on both sides together: a vocabulary of
hundreds would take a night if every frame were asked for all of it."""


class FixtureError(Sam3EdgeError):
    """There is nothing to try an export on."""


@dataclass(frozen=True, slots=True)
class Fixtures:
    """Frames, and what they are asked for. The last one is small enough to become the golden image of the bundle."""

    frames: tuple[Frame, ...]
    phrases: tuple[str, ...]

    def asked_of(self, number: int) -> tuple[str, ...]:
        """Phrases that a frame is asked for: all of them, or ``MOST_PHRASES`` in turn, so that each has its frames."""
        count = len(self.phrases)
        if count <= MOST_PHRASES:
            return self.phrases
        return tuple(self.phrases[(number * MOST_PHRASES + i) % count] for i in range(MOST_PHRASES))


def read_fixtures(folder: Path, phrases: tuple[str, ...], limit: int) -> Fixtures:
    """The first ``limit`` images of a folder, by name; the very first is shrunk to ``GOLDEN_SIDE`` and comes last.

    Raises:
        FixtureError: no such folder, no image in it, or one that cannot be read.
    """
    if not folder.is_dir():
        raise FixtureError(f"expected a folder of images to try the export on, {folder} is not a folder")
    paths = images_in(folder)[:limit]
    if not paths:
        suffixes = ", ".join(sorted(IMAGE_SUFFIXES))
        raise FixtureError(f"{folder} holds no image ({suffixes}); give one that shows your prompts")
    try:
        frames = [read_frame(path, "fixtures") for path in paths]
    except FrameError as error:
        raise FixtureError(f"{error.name} cannot be read as an image: {error}") from error
    return Fixtures((*frames[1:], _shrunk(frames[0])), phrases)


def read_phrases(path: Path) -> tuple[str, ...]:
    """Phrases of a text file, one a line; empty lines and lines that begin with ``#`` are left out.

    Raises:
        FixtureError: the file cannot be read or holds none.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise FixtureError(f"expected a text file in UTF-8, a phrase a line; {path} cannot be read: {error}") from error
    phrases = tuple(dict.fromkeys(normal for line in lines if (normal := normalize_text(line)) and normal[0] != "#"))
    if not phrases:
        raise FixtureError(f"{path} holds no phrase; write one a line")
    return phrases


def _shrunk(frame: Frame) -> Frame:
    side = max(frame.width, frame.height)
    if side <= GOLDEN_SIDE:
        return frame
    size = (max(1, round(frame.width * GOLDEN_SIDE / side)), max(1, round(frame.height * GOLDEN_SIDE / side)))
    image: RgbImage = np.asarray(cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA), np.uint8)
    digest = "sha256:" + hashlib.sha256(image.tobytes()).hexdigest()
    return Frame(frame.id, frame.source, frame.name, image, frame.captured_at, digest)
