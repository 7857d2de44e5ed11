"""Layers written by GDAL."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyogrio

_DATASETS: Mapping[str, Mapping[str, str]] = {"GPKG": {"VERSION": "1.2"}}
"""Of new files. Of GeoPackages of version 1.4, which is GDAL's default, programs of 2022 warn."""


def append(
    path: Path,
    driver: str,
    layer: str,
    kind: str,
    crs: str | None,
    table: Any,
    geometry: str,
    options: Mapping[str, str] | None = None,
) -> None:
    """Write a layer, or more of one.

    Args:
        layer: its name.
        kind: of its geometries, as GDAL calls it.
        crs: None where there is no reference system.
        table: what Arrow streams: a batch, a table or a reader.
        geometry: its column of WKB.
        options: of a new layer, as GDAL's driver knows them; None for more of one that is there.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'crs' was not provided")  # pixels have none
        pyogrio.write_arrow(
            table,
            path,
            layer=layer,
            driver=driver,
            geometry_name=geometry,
            geometry_type=kind,
            crs=crs,
            append=options is None,
            layer_options=dict(options or {}),
            dataset_options=_DATASETS.get(driver, {}) if options else {},
        )
