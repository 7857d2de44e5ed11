"""How a large file comes down: beside its place, in as many attempts as it takes, and into its place when it is right.

What has come so far is kept in ``.<name>.<identity>.part``, where the identity is that of the content, so that a later
attempt continues with the same content or starts over.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from pathlib import Path

from sam3edge.bundle.manifest import sha256_of
from sam3edge.core.errors import Sam3EdgeError
from sam3edge_export.checkpoint.record import Consent, FetchRecord, read_record, write_record

logger = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Told (bytes that are here, bytes of the whole) as they come."""

MARGIN = 64 * 2**20
"""Bytes that are to stay free on the disk."""


class FetchError(Sam3EdgeError):
    """A file could not be brought."""


def no_progress(done: int, total: int) -> None:
    """For who does not watch."""


def part_path(target: Path, identity: str) -> Path:
    """Where the content with that identity gathers on its way to ``target``."""
    return target.with_name(f".{target.name}.{identity[:16]}.part")


def arrived(part: Path) -> int:
    """Bytes of an earlier attempt."""
    return part.stat().st_size if part.exists() else 0


def require_space(target: Path, missing: int) -> None:
    """Refuse to begin what the disk cannot hold.

    Raises:
        FetchError: less than ``missing`` bytes and a margin are free.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(target.parent).free
    if free < missing + MARGIN:
        raise FetchError(
            f"{target.name} needs {_gigabytes(missing)} more in {target.parent}, where {_gigabytes(free)} are free; "
            "make room, or choose another folder"
        )


def gather(part: Path, chunks: Iterable[bytes], size: int, progress: Progress) -> None:
    """Append what comes.

    Raises:
        FetchError: the disk does not take it. Errors of the connection pass through; what came before them is kept.
    """
    done = arrived(part)
    progress(done, size)
    with part.open("ab") as file:
        for chunk in chunks:
            try:
                file.write(chunk)
            except OSError as error:
                raise FetchError(f"{part.parent} takes no more after {done} of {size} bytes: {error}") from error
            done += len(chunk)
            progress(done, size)


def is_here(target: Path, sha256: str) -> bool:
    """Whether the very content is in its place already.

    Raises:
        FetchError: something else is there.
    """
    if not target.exists():
        return False
    digest = sha256_of(target)
    if digest != sha256:
        raise FetchError(
            f"{target} already exists and is another file: its SHA-256 is {digest}, to be fetched is {sha256}; "
            "move it out of the way"
        )
    return True


def land(part: Path, target: Path, size: int, sha256: str | None) -> str:
    """Move a part that is whole and right into its place.

    Args:
        sha256: hex digest that it must have; None where the source knows none.

    Returns:
        Its hex digest.

    Raises:
        FetchError: it is not whole, and is kept; or it is wrong, and is removed.
    """
    came = arrived(part)
    if came < size:
        raise FetchError(f"{target.name} was interrupted after {came} of {size} bytes; run again to resume")
    digest = sha256_of(part)
    if came > size or (sha256 is not None and digest != sha256):
        part.unlink()
        raise FetchError(
            f"{target.name} is not what its source announced: {came} bytes with SHA-256 {digest}, expected {size} "
            f"bytes with {sha256 or 'any digest'}; it was removed"
        )
    part.replace(target)
    return digest


def remember(target: Path, source: str, sha256: str, consent: Consent | None) -> FetchRecord:
    """Write the record of a fetched file, or keep the one it has."""
    known = read_record(target)
    if known is not None and known.sha256 == sha256:
        return known
    now = datetime.now(timezone.utc)
    record = FetchRecord(source=source, size=target.stat().st_size, sha256=sha256, fetched_at=now, consent=consent)
    write_record(target, record)
    logger.info("fetched %s from %s", target, source)
    return record


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.2f} GB"
