"""Images in formats that GDAL writes."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
import rasterio.shutil
from rasterio.io import MemoryFile


def by_gdal(image: npt.NDArray[Any], driver: str, **options: str) -> bytes:
    """[H, W, 3] in a format of GDAL's, copied from a TIFF as ``gdal_translate`` does."""
    bands = image.transpose(2, 0, 1)
    kind = {"driver": "GTiff", "count": 3, "height": bands.shape[1], "width": bands.shape[2], "dtype": bands.dtype.name}
    with MemoryFile() as source:
        with source.open(**kind) as dataset:
            dataset.write(bands)
        with MemoryFile(ext=".out") as target:
            rasterio.shutil.copy(source.name, target.name, driver=driver, **options)
            return bytes(target.read())
