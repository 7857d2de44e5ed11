"""The format of a hard example, on the device's disk and in the bucket; the file and its folder are the contract with
labeling.

    <captured>-<frame id>/frame.jpg      the frame's pixels, JPEG quality 95, perhaps fewer than the frame has
    <captured>-<frame id>/example.json   see ``describe``

In the bucket: ``<prefix>/<thing>/<YYYY>/<MM>/<DD>/<frame id>/`` with the same two names, ``example.json`` last.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from sam3edge.core.errors import Sam3EdgeError
from sam3edge.core.messages.detections import encode, frame_result
from sam3edge.core.messages.envelope import timestamp
from sam3edge.core.types import Detections, Frame, Prompt
from sam3edge.durable import sync_folder
from sam3edge.hard_examples.perceptual_hash import to_hex
from sam3edge.hard_examples.selection import Choice

FORMAT = 1
FRAME, EXAMPLE = "frame.jpg", "example.json"

DRAFT, GONE = ".draft", ".gone-"
"""Where an example is written, and what the names of folders begin with that are being deleted."""

MAX_DOCUMENT = 64 << 20
"""Bytes of an ``example.json`` that is read."""

_UNDIVIDED = 1 << 40
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"[0-9a-f]{64}")


class DamagedExample(Sam3EdgeError):
    """A folder does not hold a whole example."""


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """A frame that is to be kept.

    Attributes:
        prompts: what was asked for.
        device: what this device's model found.
        cloud: what the cloud found, where it was asked.
    """

    frame: Frame
    prompts: tuple[Prompt, ...]
    choice: Choice
    device: Detections
    cloud: Detections | None = None


@dataclass(frozen=True, slots=True)
class StoredExample:
    """An example on the disk, as much of it as carrying it away needs.

    Attributes:
        folder: its place.
        frame_id, captured_at: of the frame; UTC.
        image_sha256: of ``frame.jpg``, 64 hexadecimal digits.
        document: the bytes of ``example.json``.
    """

    folder: Path
    frame_id: str
    captured_at: datetime
    image_sha256: str
    document: bytes

    def key(self, prefix: str, thing: str) -> str:
        """Where it belongs in a bucket, with a slash at the end."""
        parts = (prefix, thing, f"{self.captured_at:%Y/%m/%d}", self.frame_id)
        return "/".join(part for part in parts if part) + "/"


def folder_name(frame: Frame) -> str:
    """Of the example of a frame; sorted by name they are in the order of capture."""
    return f"{frame.captured_at:%Y%m%dT%H%M%S%f}-{frame.id}"


def describe(device: str, one: Candidate, jpeg: bytes, perceptual_hash: int) -> dict[str, Any]:
    """The document of an example: everything of it but the pixels.

    Args:
        device: the thing's name.
        jpeg: the bytes of ``frame.jpg``, which has the pixels of ``Frame.image``.
    """
    frame = one.frame
    prompts = [{"text": p.text, "threshold": p.threshold, "label": p.name} for p in one.prompts]
    return {
        "format": FORMAT,
        "frame": {
            "id": frame.id,
            "source": frame.source,
            "name": frame.name.encode("utf-8", "replace").decode(),
            "captured_at": timestamp(frame.captured_at),
            "width": frame.width,
            "height": frame.height,
            "digest": frame.digest,
        },
        "image": {
            "width": int(frame.image.shape[1]),
            "height": int(frame.image.shape[0]),
            "sha256": hashlib.sha256(jpeg).hexdigest(),
        },
        "reason": {"kind": one.choice.kind, "detail": one.choice.detail},
        "model": asdict(one.device.model),
        "prompts": prompts,
        "prompts_digest": prompts_digest(prompts),
        "perceptual_hash": to_hex(perceptual_hash),
        "device": _message(device, one, one.device),
        "cloud": None if one.cloud is None else _message(device, one, one.cloud),
    }


def prompts_digest(prompts: Sequence[Mapping[str, Any]]) -> str:
    """``sha256:<hex>`` of what was asked for, in its order: the same for the same prompts, thresholds and labels."""
    canonical = json.dumps(list(prompts), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return f"sha256:{hashlib.sha256(canonical.encode()).hexdigest()}"


def examples_in(folder: Path) -> list[Path]:
    """The folders of the examples that are kept in a folder, the oldest first; drafts are hidden from it."""
    return sorted(folder.glob("[0-9]*-*"))


def remove(example: Path) -> None:
    """Delete an example, whole or not at all; one that is gone already is no error.

    Raises:
        OSError: it could not be deleted, and is still there.
    """
    gone = example.with_name(GONE + example.name)
    try:
        example.rename(gone)
    except FileNotFoundError:
        return
    sync_folder(example.parent)
    shutil.rmtree(gone, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Clear away what a process that was killed has left: unfinished examples, and half deleted ones."""
    for left in (folder / DRAFT, *folder.glob(f"{GONE}*")):
        shutil.rmtree(left, ignore_errors=True)


def read_example(folder: Path) -> StoredExample:
    """What a folder holds.

    Raises:
        DamagedExample: not a whole example of this format.
        FileNotFoundError: it was taken away.
    """
    path = folder / EXAMPLE
    size = path.stat().st_size
    if size > MAX_DOCUMENT:
        raise DamagedExample(f"expected at most {MAX_DOCUMENT} bytes in {EXAMPLE}, got {size}")
    document = path.read_bytes()
    try:
        body = json.loads(document)
        frame, image = body["frame"], body["image"]
        found = StoredExample(
            folder,
            str(frame["id"]),
            datetime.fromisoformat(str(frame["captured_at"])).astimezone(timezone.utc),
            str(image["sha256"]),
            document,
        )
        version = body["format"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedExample(f"expected the members of format {FORMAT} in {EXAMPLE}: {type(error).__name__}") from error
    if version != FORMAT or not _ID.fullmatch(found.frame_id) or not _DIGEST.fullmatch(found.image_sha256):
        raise DamagedExample(f"expected format {FORMAT}, an id and a digest in {EXAMPLE}, got format {version!r:.40}")
    return found


def stored_hash(folder: Path) -> int | None:
    """The perceptual hash that a stored example names; None where it cannot be read."""
    try:
        return int(json.loads((folder / EXAMPLE).read_bytes())["perceptual_hash"], 16)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _message(device: str, one: Candidate, found: Detections) -> Any:
    [whole] = encode(frame_result(device, one.frame, one.prompts, found), "", _UNDIVIDED, 0.0)
    return json.loads(whole.payload)
