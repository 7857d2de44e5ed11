"""What is known of a fetched file: where it came from, its digest, and whose consent to which licence it rests on.

The record is a small JSON file beside it, ``sam3.pt.origin.json``. It never holds a token.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from sam3edge.durable import write_file
from sam3edge_export.checkpoint.errors import CheckpointError

SUFFIX = ".origin.json"


class Consent(BaseModel):
    """Somebody's agreement to a licence.

    Attributes:
        license: its name.
        url: its text, in the version that was agreed to.
        accepted_by: who agreed, as they named themselves.
        accepted_at: when.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    license: str
    url: str
    accepted_by: str = Field(min_length=1)
    accepted_at: AwareDatetime


class FetchRecord(BaseModel):
    """Origin of one file.

    Attributes:
        source: address without credentials: ``https://…/resolve/<commit>/sam3.pt`` or ``s3://bucket/key``.
        size: bytes.
        sha256: hex digest of the file.
        fetched_at: when.
        consent: None for files of the user's own bucket.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    size: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    fetched_at: AwareDatetime
    consent: Consent | None = None


def record_path(path: Path) -> Path:
    """Where the record of a file is."""
    return path.with_name(path.name + SUFFIX)


def read_record(path: Path) -> FetchRecord | None:
    """The record of a file; None when it was not fetched by us.

    Raises:
        CheckpointError: there is one, and it is damaged.
    """
    place = record_path(path)
    if not place.exists():
        return None
    try:
        return FetchRecord.model_validate_json(place.read_bytes())
    except (OSError, ValidationError) as error:
        raise CheckpointError(f"{place} is not the record of a fetched file; fetch again: {error}") from error


def write_record(path: Path, record: FetchRecord) -> None:
    """Write the record of a file, whole or not at all."""
    write_file(record_path(path), (record.model_dump_json(indent=1) + "\n").encode())
