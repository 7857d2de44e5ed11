"""One labelled image, as datasets hold it, training learns from it and evaluation judges by it.

A label says three things of a phrase in an image: where its objects are, whether these are all of them, and, when there
are none and these are all, that it is absent. Only what is known in full may be counted as a mistake.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from shapely.geometry import MultiPolygon, Polygon

Split: TypeAlias = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)


@dataclass(frozen=True, slots=True)
class LabeledObject:
    """One object.

    Attributes:
        phrase: what it is, as a prompt would say it (``normalize_text``).
        outline: valid and not empty, in pixels of the image; origin at the top left corner of the top left pixel, x to
            the right, y down.
        ignored: neither to be found nor to be missed: a crowd, or an object that the labeler was not sure of.
    """

    phrase: str
    outline: Polygon | MultiPolygon
    ignored: bool = False


@dataclass(frozen=True, slots=True)
class Example:
    """One image and all that is known of it.

    Attributes:
        id: SHA-256 of the encoded image, 64 hexadecimal digits.
        image: the encoded image, a file.
        width: pixels from left to right, upright.
        height: pixels from top to bottom.
        group: what must not be torn apart by a split, since its images resemble each other: a scene, or a camera and an
            hour.
        captured_at: when the image was taken, UTC.
        objects: in no particular order.
        exhaustive: phrases of which every object is outlined; those without an object are absent. Phrases that are not
            listed are unknown, whether or not they have objects.
        split: what the example is for.
    """

    id: str
    image: Path
    width: int
    height: int
    group: str
    captured_at: datetime
    objects: tuple[LabeledObject, ...]
    exhaustive: tuple[str, ...]
    split: Split

    def of(self, phrase: str) -> tuple[LabeledObject, ...]:
        """Its objects of one phrase."""
        return tuple(one for one in self.objects if one.phrase == phrase)

    @property
    def absent(self) -> tuple[str, ...]:
        """Phrases that are known to have no object."""
        present = {one.phrase for one in self.objects}
        return tuple(phrase for phrase in self.exhaustive if phrase not in present)
