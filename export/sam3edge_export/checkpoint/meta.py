"""Meta's ``sam3.pt`` and ``sam3.1_multiplex.pt``."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from sam3edge_export.checkpoint.assembly import Source
from sam3edge_export.checkpoint.errors import CheckpointError
from sam3edge_export.checkpoint.names import detector_origin, is_needless, tracker_origin, tracker_origin_31

ZIP = b"PK\x03\x04"
"""How every file of ``torch.save`` begins since torch 1.6."""

OTHER_BEGINNINGS: tuple[tuple[bytes, str], ...] = (
    (b"version https://git-lfs", "a git-LFS pointer, not the file itself; run `git lfs pull`"),
    (b"<", "a web page, as a download without permission leaves it; use `sam3edge-export fetch`"),
    (
        b"\x80",
        "a bare pickle, which may run code when it is opened; save the state dict with torch.save of torch >= 1.6",
    ),
)

IMAGE_MODEL = "backbone.vision_backbone.trunk."
"""Entries of the image model alone begin so, as Meta's training code saves it; in ``sam3.pt`` it is ``detector.``."""

INTERACTIVE = "inst_interactive_predictor.model."
"""Where the image model alone keeps what is ``tracker.`` in ``sam3.pt``."""

INTERNAL = {"sam3_model.": "detector.", "sam2_predictor.": "tracker."}
"""What Meta calls the two halves among themselves; files with these names are about, and Meta's loader takes them."""

INNER = "tracker.model."
"""How SAM 3.1's tracker begins, and SAM 3's under its internal name."""

MULTIPLEX = "detector.backbone.vision_backbone.interactive_convs."
"""Entries that only SAM 3.1 has: what answers points and boxes has a feature pyramid beside that for tracking."""

COARSEST = "vision_encoder.neck.fpn_layers.3."
"""The level of the pyramid that SAM 3 computes and drops; SAM 3.1 has none."""


def open_meta(path: Path) -> Source:
    """Map the entries of a checkpoint in Meta's layout into memory.

    Raises:
        CheckpointError: it is something else, is truncated, or holds Python objects other than tensors.
    """
    _check_beginning(path)
    try:
        content = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} holds Python objects other than tensors, and opening it could run their code; expected a state "
            f"dict as Meta publishes it. torch says: {_first_line(error)}"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise CheckpointError(
            f"{path} ({path.stat().st_size} bytes) is truncated or damaged; fetch it again. torch says: "
            f"{_first_line(error)}"
        ) from error
    entries = _as_published(_tensors(path, content))
    if any(key.startswith(MULTIPLEX) for key in entries):
        clicks = any(key.startswith("tracker.model.interactive_") for key in entries)
        origin = tracker_origin_31 if clicks else None
        return Source(path, entries, detector_origin, origin, "sam3.1", (COARSEST,), is_needless)
    entries = _renamed(entries, INNER, "tracker.")
    clicks = any(key.startswith("tracker.sam_") for key in entries)
    return Source(path, entries, detector_origin, tracker_origin if clicks else None, needless=is_needless)


def _check_beginning(path: Path) -> None:
    with path.open("rb") as file:
        beginning = file.read(64)
    if beginning.startswith(ZIP):
        return
    for mark, what in OTHER_BEGINNINGS:
        if beginning.lstrip().startswith(mark):
            raise CheckpointError(f"{path} is {what}")
    raise CheckpointError(
        f"{path} is not a file of torch.save: expected {ZIP!r} at its beginning, got {beginning[:16]!r}; fetch sam3.pt "
        "again, or pass the folder of a model.safetensors"
    )


def _tensors(path: Path, content: object) -> dict[str, Tensor]:
    """Tensors of a state dict, which may be under ``model``."""
    if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
        content = content["model"]
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, expected a state dict")
    return {str(key): value for key, value in content.items() if isinstance(value, Tensor)}


def _as_published(entries: dict[str, Tensor]) -> dict[str, Tensor]:
    """Entries of the image model alone, and those with Meta's internal names, as the published files call them."""
    for internal, published in INTERNAL.items():
        entries = _renamed(entries, internal, published)
    if not any(key.startswith(IMAGE_MODEL) for key in entries):
        return entries
    return {
        f"tracker.{key.removeprefix(INTERACTIVE)}" if key.startswith(INTERACTIVE) else f"detector.{key}": value
        for key, value in entries.items()
    }


def _renamed(entries: dict[str, Tensor], before: str, after: str) -> dict[str, Tensor]:
    """The same entries, those that begin with ``before`` beginning with ``after``."""
    return {
        after + key.removeprefix(before) if key.startswith(before) else key: value for key, value in entries.items()
    }


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
