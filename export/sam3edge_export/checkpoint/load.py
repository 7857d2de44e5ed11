"""Read a SAM 3 checkpoint, whichever layout it has."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from transformers import Sam3Config, Sam3TrackerConfig
from transformers.models.sam3.modeling_sam3 import Sam3Model
from transformers.models.sam3_tracker.modeling_sam3_tracker import Sam3TrackerModel

from sam3edge.bundle.manifest import Family, sha256_of
from sam3edge_export.checkpoint.assembly import assemble
from sam3edge_export.checkpoint.config import published_config, tracker_config
from sam3edge_export.checkpoint.errors import CheckpointError
from sam3edge_export.checkpoint.folder import open_folder, read_folder_config, weight_files
from sam3edge_export.checkpoint.meta import open_meta
from sam3edge_export.checkpoint.record import read_record, record_path


@dataclass(frozen=True, slots=True, eq=False)
class Checkpoint:
    """A checkpoint, read.

    Parameters are float32 and lie in the mapped file wherever it holds float32: do not change or remove the file while
    the models live.

    Attributes:
        kind: ``meta`` for a file of Meta's, ``transformers`` for a folder.
        model: the detector, in evaluation mode.
        tracker: the interactive model, in evaluation mode, on the detector's own vision trunk; None when the checkpoint
            has none. Of it, only the trunk is shared: feature pyramid, prompt encoder and mask decoder are its own.
        sha256: hex digest of the file; of a folder with shards, the digest of their digests (``content_digest``).
        unexpected_keys: entries that went into neither model, in the order of the file.
        family: what it is a checkpoint of.
    """

    kind: Literal["meta", "transformers"]
    model: Sam3Model
    tracker: Sam3TrackerModel | None
    sha256: str
    unexpected_keys: tuple[str, ...]
    family: Family = "sam3"


def read_config(path: Path) -> Sam3Config:
    """Configuration that ``read_checkpoint`` takes by itself: the folder's, or Meta's for a file.

    Raises:
        CheckpointError: ``path`` is not there, or is a folder without a usable ``config.json``.
    """
    _must_exist(path)
    return read_folder_config(path)[0] if path.is_dir() else published_config()


def read_checkpoint(
    path: Path, config: Sam3Config | None = None, interactive: Sam3TrackerConfig | None = None
) -> Checkpoint:
    """Read Meta's ``sam3.pt`` or ``sam3.1_multiplex.pt``, or a transformers folder.

    Args:
        config: sizes of the model where they are not those of ``read_config``: another input size, or a small model.
        interactive: sizes of the tracker where they are not those that ``tracker_config`` derives from ``config``.

    Raises:
        CheckpointError: it is not there, damaged, something else, or of a model with other sizes; or its digest is not
            the one that was recorded when it was fetched.
    """
    _must_exist(path)
    kind: Literal["meta", "transformers"]
    if path.is_dir():
        kind = "transformers"
        own, stated = read_folder_config(path)
        files = weight_files(path)
        source = open_folder(path)
    else:
        kind, files = "meta", (path,)
        own, stated = published_config(), {}
        source = open_meta(path)
    sha256 = content_digest(files)
    config = config or own
    built = assemble(source, config, interactive or tracker_config(config, stated))
    return Checkpoint(kind, built.model, built.tracker, sha256, built.unexpected_keys, source.family)


def content_digest(files: Sequence[Path]) -> str:
    """SHA-256 of one file, or of the lines ``<digest>  <name>`` of several, as ``sha256sum`` prints them.

    Raises:
        CheckpointError: a file is not what its record says was fetched.
    """
    digests = {path.name: _recorded_digest(path) for path in files}
    if len(digests) == 1:
        return next(iter(digests.values()))
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def _recorded_digest(path: Path) -> str:
    digest = sha256_of(path)
    record = read_record(path)
    if record is not None and record.sha256 != digest:
        raise CheckpointError(
            f"{path} has changed since it was fetched on {record.fetched_at:%Y-%m-%d}: its SHA-256 is {digest}, "
            f"recorded is {record.sha256}; fetch it again, or remove {record_path(path).name} if the change is meant"
        )
    return digest


def _must_exist(path: Path) -> None:
    if not path.exists():
        raise CheckpointError(
            f"{path} is not there; expected Meta's sam3.pt or sam3.1_multiplex.pt, or a transformers folder. "
            "`sam3edge-export fetch` brings one"
        )
