"""Folders as transformers writes them: ``config.json`` and ``model.safetensors``, whole or in shards.

``facebook/sam3`` on the Hub holds the video model (``Sam3VideoModel``), in which the detector's parameters stand under
``detector_model.``, the tracker's under ``tracker_model.`` and its feature pyramid under ``tracker_neck.``. A folder of
``Sam3Model.save_pretrained`` has the detector's parameters only, with or without the prefix.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import Sam3Config

from sam3edge_export.checkpoint.assembly import Source
from sam3edge_export.checkpoint.errors import CheckpointError
from sam3edge_export.checkpoint.names import Layout, Origin

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"

DETECTOR, TRACKER, TRACKER_NECK = "detector_model.", "tracker_model.", "tracker_neck."
TWICE = TRACKER + TRACKER
"""How transformers 5.23 itself writes the video model's tracker; the file on the Hub has the prefix once."""

NECK = "vision_encoder.neck."

SHARED_POSITIONS = "shared_image_embedding.positional_embedding"
"""Held twice by the tracker; transformers may have written it once."""


def read_folder_config(folder: Path) -> tuple[Sam3Config, dict[str, Any]]:
    """The detector's configuration, and what is said of the tracker's.

    Raises:
        CheckpointError: ``config.json`` is not there, is not JSON, or is of another model.
    """
    path = folder / CONFIG
    if not path.is_file():
        inside = ", ".join(sorted(entry.name for entry in folder.iterdir())[:6]) or "nothing"
        raise CheckpointError(
            f"{folder} has no {CONFIG} (it holds {inside}); pass a transformers folder, or sam3.pt itself"
        )
    return read_config_file(path)


def read_config_file(path: Path) -> tuple[Sam3Config, dict[str, Any]]:
    """As ``read_folder_config``, of a ``config.json`` that is anywhere."""
    stated = _json(path)
    kind = stated.get("model_type")
    if kind == "sam3_video":
        return Sam3Config.from_dict(stated.get("detector_config", {})), stated.get("tracker_config", {})
    if kind == "sam3":
        return Sam3Config.from_dict(stated), {}
    raise CheckpointError(f"{path} is of the model {kind!r}; expected 'sam3' or 'sam3_video'")


def weight_files(folder: Path) -> tuple[Path, ...]:
    """The files that hold the weights, in order of their names.

    Raises:
        CheckpointError: there are none, or one of the shards is not there.
    """
    if (folder / WEIGHTS).is_file():
        return (folder / WEIGHTS,)
    if not (folder / INDEX).is_file():
        raise CheckpointError(f"{folder} has neither {WEIGHTS} nor {INDEX}; expected weights in the safetensors format")
    names = sorted({str(name) for name in _json(folder / INDEX).get("weight_map", {}).values()})
    absent = [name for name in names if not (folder / name).is_file()]
    if absent or not names:
        raise CheckpointError(
            f"{folder / INDEX} names {len(names)} files, of which {', '.join(absent) or 'none'} are missing"
        )
    return tuple(folder / name for name in names)


def open_folder(folder: Path) -> Source:
    """Map the entries of a transformers folder into memory.

    Raises:
        CheckpointError: the weights are not there, or are damaged.
    """
    entries: dict[str, Tensor] = {}
    for path in weight_files(folder):
        try:
            with safe_open(path, framework="pt") as file:
                entries.update({key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path} is truncated or no safetensors file; fetch it again: {error}") from error
    detector = DETECTOR if any(key.startswith(DETECTOR) for key in entries) else ""
    interactive = any(key.startswith(TRACKER) for key in entries)
    return Source(
        folder, entries, lambda name: _single(detector + name), _tracker_origin(entries) if interactive else None
    )


def _tracker_origin(entries: dict[str, Tensor]) -> Callable[[str], Origin]:
    tracker = TWICE if any(key.startswith(TWICE) for key in entries) else TRACKER

    def origin(name: str) -> Origin:
        if name.startswith(NECK):
            return _single(TRACKER_NECK + name.removeprefix(NECK))
        if name == SHARED_POSITIONS and tracker + name not in entries:
            return _single(f"{tracker}prompt_encoder.shared_embedding.positional_embedding")
        return _single(tracker + name)

    return origin


def _single(key: str) -> Origin:
    return Origin((key,), Layout.SAME)


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, expected an object")
    return content
