"""``sam3edge convert``: detections as a file that GIS programs and trainers open."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from sam3edge.vector.documents import Messages
from sam3edge.vector.files import FeatureWriter
from sam3edge.vector.rows import FeatureRefused

MAX_TOLD = 20
"""Reasons that are told one by one."""


@dataclass(slots=True)
class Refused:
    """What could not be taken, and the first reasons."""

    count: int = 0
    reasons: list[str] = field(default_factory=list)

    def __call__(self, reason: str) -> None:
        self.count += 1
        if len(self.reasons) < MAX_TOLD:
            self.reasons.append(reason)


@dataclass(frozen=True, slots=True)
class Converted:
    """What became of the files.

    Attributes:
        features: that were written.
        files: that were written, sidecars included.
        repeated: messages that were left out as repetitions.
        passed_over: messages that are not of detections.
        refused: documents and features that are damaged, or that the format cannot hold.
    """

    features: int
    files: tuple[Path, ...]
    repeated: int
    passed_over: int
    refused: Refused


def convert(inputs: Iterable[Path], out: Path) -> Converted:
    """Write the features of all inputs into one file.

    Raises:
        VectorFileError: ``out`` is of an unknown format or cannot be written.
    """
    refused = Refused()
    messages = Messages(refused)
    with FeatureWriter(out) as writer:
        for path in inputs:
            for feature in messages.features(path):
                try:
                    writer.write([feature])
                except FeatureRefused as error:
                    refused(f"{path}: {error}")
    return Converted(writer.count, writer.files, messages.repeated, messages.passed_over, refused)
