"""Which rasters there are: files, folders, lists, prefixes in S3, STAC items."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from sam3edge.core.errors import SettingsError
from sam3edge_pipeline.batch import stac

TIFF = frozenset({".tif", ".tiff"})
"""Suffixes, in lower case, of what is taken from S3, where no other format is read."""

RASTERS = TIFF | {".png", ".jpg", ".jpeg"}
"""The same, of folders. Any file that is named itself is taken."""

S3, IN_S3, VIRTUAL = "s3://", "/vsis3/", "/vsi"

LONGEST = 120
"""Bytes of what people call a raster, in the names of its files: a name has room for 255."""


@dataclass(frozen=True, slots=True)
class RasterInput:
    """One raster.

    Attributes:
        path: of a file, from the root, or GDAL's name of one in S3.
        name: of its shard: what people call it, and eight digits that tell it from others of this name.
        captured_at: when it was taken, RFC 3339; empty where only the file's own date is known.
        listed: what the listing of its bucket says of its content, ETag and bytes; empty where it was not found by one.
    """

    path: str
    name: str
    captured_at: str = ""
    listed: str = ""


class ObjectLister(Protocol):
    """What lists a bucket: boto3's S3 client."""

    def get_paginator(self, operation: str) -> Any:
        """See boto3."""


def find_rasters(places: Iterable[str], asset: str, open_s3: Callable[[], ObjectLister]) -> list[RasterInput]:
    """The rasters in all of these places, each once.

    Args:
        places: a raster; a folder, at any depth; ``.txt``, which names one a line, but for those that begin with ``#``;
            ``s3://bucket/prefix``; ``.json`` or ``.geojson``, a STAC item or a collection of items.
        asset: key of the asset of STAC items; empty for the only one that is a raster.
        open_s3: makes a client, where one is needed.

    Raises:
        SettingsError: a place is not there, holds no raster, or cannot be listed.
    """
    found: dict[str, RasterInput] = {}
    for place in places:
        for raster in _rasters_in(place, asset, open_s3):
            found.setdefault(raster.path, raster)
    if not found:
        raise SettingsError("expected rasters, folders, lists, s3:// prefixes or STAC items, got none")
    return list(found.values())


def _rasters_in(place: str, asset: str, open_s3: Callable[[], ObjectLister]) -> Iterator[RasterInput]:
    if place.startswith(S3):
        yield from _in_s3(place, open_s3)
        return
    path = Path(place)
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if _is_raster(file.relative_to(path).as_posix(), RASTERS))
        if not files:
            raise SettingsError(
                f"{path} holds no raster: none of its files ends in {', '.join(sorted(RASTERS))}; make others TIFFs "
                "first, by gdal_translate -of COG"
            )
        yield from (_input(str(file)) for file in files)
    elif path.suffix.lower() == ".txt":
        for line in _lines(path):
            yield from _rasters_in(line, asset, open_s3)
    elif path.suffix.lower() in (".json", ".geojson"):
        for item in stac.read_items(path, asset):
            yield _input(_opened_by_gdal(item.href), item.id, item.captured_at)
    else:
        yield _input(place)


def _in_s3(place: str, open_s3: Callable[[], ObjectLister]) -> Iterator[RasterInput]:
    bucket, _, prefix = place.removeprefix(S3).partition("/")
    if not bucket:
        raise SettingsError(f"expected s3://bucket/prefix, got {place}")
    try:
        pages = open_s3().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        entries = [entry for page in pages for entry in page.get("Contents", ())]
    except (BotoCoreError, ClientError) as error:
        raise SettingsError(
            f"{place} cannot be listed: {error}; check the bucket's name, the region, and that the credentials of the "
            "environment allow s3:ListBucket"
        ) from error
    rasters = [entry for entry in entries if _is_raster(entry["Key"], TIFF)]
    if not rasters:
        raise SettingsError(
            f"{place} holds no raster: none of its {len(entries)} objects is a TIFF by its name, and others are not "
            "read from S3"
        )
    for entry in rasters:
        yield _input(f"{IN_S3}{bucket}/{entry['Key']}", listed=f"{entry.get('ETag', '')} {entry.get('Size', '')}")


def _is_raster(path: str, suffixes: frozenset[str]) -> bool:
    """Whether its name says so; what is hidden is somebody's draft."""
    parts = PurePosixPath(path)
    return parts.suffix.lower() in suffixes and not any(part.startswith(".") for part in parts.parts)


def _lines(path: Path) -> list[str]:
    try:
        lines = [line.strip() for line in path.read_text("utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"expected a raster or a folder a line in {path}, which cannot be read: {error}") from error
    # a list that names a list might name itself
    return [line for line in lines if line and not line.startswith("#") and not line.lower().endswith(".txt")]


def _opened_by_gdal(href: str) -> str:
    if href.startswith(S3):
        return IN_S3 + href.removeprefix(S3)
    return f"/vsicurl/{href}" if href.startswith(("http://", "https://")) else href


def _input(path: str, name: str = "", captured_at: str = "", listed: str = "") -> RasterInput:
    path = path if path.startswith(VIRTUAL) else _from_root(path)
    digits = hashlib.sha256(path.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    called = "".join(c if c.isalnum() or c in "-_" else "-" for c in name or PurePosixPath(path).stem)
    return RasterInput(path, f"{called.encode()[:LONGEST].decode(errors='ignore')}-{digits}", captured_at, listed)


def _from_root(path: str) -> str:
    """One name for a file, however it is reached. A link that is a file keeps its own, as what is beside it counts."""
    folder, name = os.path.split(path)
    try:
        return os.path.join(os.path.realpath(folder), name)  # noqa: PTH118 - pathlib fails where links go round
    except ValueError:  # no file can have such a name, which is found out when it is opened
        return path
