"""A model that errs: what it finds does not depend on where a raster begins."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import shapely
from rasterio.transform import Affine

from sam3edge.bundle.verify import model_files, verify
from sam3edge.core.messages.features import Feature
from sam3edge.core.ports import Engine
from sam3edge.core.types import Prompt
from sam3edge.engines.open_engine import open_engine
from sam3edge.rasters.options import RasterPrompt, SegmentOptions
from support.rasters import Outline, drawn_from_above, features, outlines, share_of_same, within, write

pytestmark = pytest.mark.xdist_group("demo rasters")  # the whole is looked through once

PHRASES = ("car", "building", "tree")
ASKED = tuple(RasterPrompt(Prompt(phrase), 0.4) for phrase in PHRASES)
CORNER = Affine(0.1, 0, 391_000.33, 0, -0.1, 5_820_000.71)
TILE = 512
"""Pixels of the raster: 128 at four times their size."""


@pytest.fixture(scope="module")
def engine(demo_bundle: Path) -> Iterator[Engine]:
    with closing(open_engine(model_files(demo_bundle, verify(demo_bundle, None)))) as opened:
        yield opened


@pytest.fixture(scope="module")
def scene() -> npt.NDArray[np.uint8]:
    return drawn_from_above(9, 1536, 1536, 60)


@pytest.fixture(scope="module")
def raster(scene: npt.NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("scene") / "a.tif", scene, crs="EPSG:32633", transform=CORNER)


@pytest.fixture(scope="module")
def found(raster: Path, engine: Engine) -> list[Feature]:
    everything = features(raster, SegmentOptions(tile=128), engine, ASKED)
    assert len(everything) > 20
    return everything


def by_phrase(found: Sequence[Feature], dx: int = 0, dy: int = 0) -> list[Outline]:
    """Outlines, those of each phrase in a region of their own, so that only the same phrases overlap."""
    apart = [100_000 * PHRASES.index(one["properties"]["prompt"]) for one in found]
    return [shapely.affinity.translate(o, dx, dy + far) for o, far in zip(outlines(found), apart, strict=True)]


def inside(found: Sequence[Feature], box: tuple[float, float, float, float], dx: int = 0, dy: int = 0) -> list[Outline]:
    x0, y0, x1, y1 = box
    return [
        one for far in (0, 100_000, 200_000) for one in within(by_phrase(found, dx, dy), x0, y0 + far, x1, y1 + far)
    ]


@pytest.mark.parametrize(("dx", "dy"), [(37, 21), (301, 117)])
def test_a_raster_that_begins_elsewhere_has_the_same_features(
    dx: int,
    dy: int,
    scene: npt.NDArray[np.uint8],
    found: list[Feature],
    engine: Engine,
    tmp_path: Path,
    figure: Callable[[str], None],
) -> None:
    """Where the model sees the same: a tile away from the new edges. Nearer to them it sees black where things were."""
    transform = CORNER @ Affine.translation(dx, dy)
    part = write(tmp_path / "b.tif", scene[dy:, dx:], crs="EPSG:32633", transform=transform)
    again = features(part, SegmentOptions(tile=128), engine, ASKED)
    shares = []
    for away in (TILE, 0):
        box = (dx + away, dy + away, 1537, 1537)
        assert len(inside(found, box)) > 10
        shares.append(share_of_same(inside(found, box), inside(again, box, dx, dy)))
    figure(
        f"demo bundle, raster cut by {dx}, {dy} pixels: {shares[0]:.1%} of features with IoU >= 0.95 a tile away from "
        f"the cut, {shares[1]:.1%} of all, in a scene of 3 x 3 tiles"
    )
    assert shares[0] >= 0.95


def test_an_extent_has_the_features_of_the_whole(
    raster: Path, found: list[Feature], engine: Engine, figure: Callable[[str], None]
) -> None:
    extent = (137.0, 291.0, 1300.0, 1459.0)
    part = features(raster, SegmentOptions(tile=128, extent=extent), engine, ASKED)
    shares = []
    for away in (TILE // 4, 1):
        box = (extent[0] + away, extent[1] + away, extent[2] - away, extent[3] - away)
        assert len(inside(found, box)) > 10
        shares.append(share_of_same(inside(found, box), inside(part, box)))
    figure(
        f"demo bundle, extent of a raster: {shares[0]:.1%} of features with IoU >= 0.95 a quarter of a tile from its "
        f"rim, {shares[1]:.1%} of all within it"
    )
    assert shares[0] >= 0.95
