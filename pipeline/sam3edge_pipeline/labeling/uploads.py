"""Uploaded examples in a folder, as a copy of the bucket has them.

hard-examples/<thing>/<YYYY>/<MM>/<DD>/<frame id>/{frame.jpg, example.json}
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sam3edge_pipeline.datasets.formats.annotations import FormatError, read_bytes
from sam3edge_pipeline.labeling.backends import ImageToLabel
from sam3edge_pipeline.labeling.prelabels import EXAMPLE, FRAME, PreLabeled, read_hard_example

_LEVELS = 5
"""From an example's folder up to the one named for the thing: frame id, day, month, year, thing."""


@dataclass(frozen=True, slots=True)
class Upload:
    """One example.

    Attributes:
        image: its image, as labeling takes it.
        example: what is proposed for it.
    """

    image: ImageToLabel
    example: PreLabeled


def uploads_in(folder: Path, on_damaged: Callable[[FormatError], None], address: str = "") -> Iterator[Upload]:
    """Every example below a folder, by path. One without ``example.json`` is not whole yet, and passed over.

    Args:
        on_damaged: told of each one that is damaged; it costs the others nothing.
        address: of the bucket that the folder is a copy of, ``s3://bucket``; empty where no service needs it.

    """
    for path in sorted(folder.rglob(EXAMPLE)):
        try:
            yield _read(path, folder, address)
        except FormatError as error:
            on_damaged(error)


def _read(path: Path, folder: Path, address: str) -> Upload:
    frame, parts = path.with_name(FRAME), path.relative_to(folder).parts
    if not frame.is_file():
        raise FormatError(f"{path}: expected {FRAME} beside it; copy the example again")
    thing = parts[-1 - _LEVELS] if len(parts) > _LEVELS else ""
    where = path.parent.relative_to(folder).as_posix()
    example = read_hard_example(read_bytes(path), read_bytes(frame), where, thing)
    at = f"{address.rstrip('/')}/{where}/{FRAME}" if address else ""
    return Upload(ImageToLabel(example.record, frame, at), example)
