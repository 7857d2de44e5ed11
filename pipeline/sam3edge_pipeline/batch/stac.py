"""STAC items (https://github.com/radiantearth/stac-spec, version 1): where an image is, and when it was taken."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sam3edge.core.errors import SettingsError

MAX_BYTES = 64 << 20
RASTER_TYPE = "image/tiff"
"""What its media type begins with. JPEG 2000 is not read."""


@dataclass(frozen=True, slots=True)
class Item:
    """What is taken from an item.

    Attributes:
        href: of the asset; of a file, where it was relative to the item.
        captured_at: RFC 3339, the start of a range; empty where the item does not say.
    """

    id: str
    href: str
    captured_at: str


def read_items(path: Path, asset: str) -> list[Item]:
    """An item, or the items of an ItemCollection.

    Args:
        asset: its key; empty for the only asset that is a TIFF by its type, and not only a preview by its roles.

    Raises:
        SettingsError: it is neither, or an item has no such asset.
    """
    document = _read(path)
    kind = document.get("type")
    items = document.get("features") if kind == "FeatureCollection" else [document]
    if kind not in ("Feature", "FeatureCollection") or not isinstance(items, list):
        raise SettingsError(f"expected a STAC item or a collection of items in {path}, got type {kind!r:.40}")
    return [_item(path, item, asset) for item in items]


def _read(path: Path) -> Mapping[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        document = json.loads(data) if len(data) <= MAX_BYTES else None
    except (OSError, ValueError, RecursionError) as error:
        raise SettingsError(f"expected a STAC item in {path}, which cannot be read: {error}") from error
    if not isinstance(document, Mapping):
        raise SettingsError(f"expected a JSON object of at most {MAX_BYTES} bytes in {path}")
    return document


def _item(path: Path, item: Any, asset: str) -> Item:
    if not isinstance(item, Mapping) or not isinstance(item.get("id"), str) or not isinstance(item.get("assets"), dict):
        raise SettingsError(f"expected STAC items with id and assets in {path}, got {str(item)[:80]}")
    assets = {key: one for key, one in item["assets"].items() if isinstance(one, Mapping)}
    chosen = [asset] if asset else [key for key, one in assets.items() if _is_raster(one)]
    if len(chosen) != 1 or not isinstance(assets.get(chosen[0], {}).get("href"), str):
        raise SettingsError(
            f"name one asset of {item['id']}, a TIFF, by --asset: it has {', '.join(sorted(assets)) or 'none'}"
        )
    properties = item.get("properties")
    said = properties if isinstance(properties, Mapping) else {}
    taken = said.get("datetime") or said.get("start_datetime")
    return Item(item["id"], _resolved(assets[chosen[0]]["href"], path), taken if isinstance(taken, str) else "")


def _is_raster(asset: Mapping[str, Any]) -> bool:
    roles = asset.get("roles")
    by_type = str(asset.get("type", "")).startswith(RASTER_TYPE)
    return by_type and (not isinstance(roles, list) or "data" in roles or not {"thumbnail", "overview"} & set(roles))


def _resolved(href: str, path: Path) -> str:
    return href if "://" in href or Path(href).is_absolute() else str(path.parent / href)
