"""Rasters: what they say of their place, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from rasterio.control import GroundControlPoint
from rasterio.crs import CRS
from rasterio.transform import Affine

from sam3edge.core.errors import GeoreferenceError
from sam3edge.geo.raster import RasterOptions, open_raster, require_crs
from sam3edge_pipeline.synthetic.georeferenced import WORLDS
from support.places import RPCS, control_point_raster, metres, write_raster

UTM = WORLDS["utm"]
MIDDLE = np.array([[320.0, 256.0]])


def by_transform(folder: Path) -> Path:
    return write_raster(folder / "a.tif", crs=UTM.crs, transform=UTM.transform)


def test_the_accuracy_of_a_raster_is_half_a_pixel_and_what_it_is_said_to_be(tmp_path: Path) -> None:
    path = by_transform(tmp_path)
    plain = open_raster(path, RasterOptions()).accuracy(MIDDLE)[0]
    assert plain == pytest.approx(0.5 * np.sqrt(2) / 2, rel=0.01)
    assert open_raster(path, RasterOptions(accuracy=3.0)).accuracy(MIDDLE)[0] == pytest.approx(np.hypot(3.0, plain))


def test_another_datum_has_the_accuracy_of_its_transformation(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", crs="EPSG:31468", transform=Affine(0.5, 0, 4_500_000, 0, -0.5, 5_800_000))
    assert open_raster(path, RasterOptions()).accuracy(MIDDLE)[0] > 0.5


def test_control_points_say_how_good_they_are(tmp_path: Path) -> None:
    good = open_raster(control_point_raster(tmp_path / "good.tif"), RasterOptions())
    bad = open_raster(control_point_raster(tmp_path / "bad.tif", noise=5.0), RasterOptions())
    truth = np.stack(UTM.to_earth(MIDDLE), 1)
    assert metres(good.to_world(MIDDLE), truth)[0] < 0.01
    assert good.accuracy(MIDDLE)[0] < 3.0
    assert metres(bad.to_world(MIDDLE), truth)[0] < bad.accuracy(MIDDLE)[0] < 30.0
    assert bad.accuracy(MIDDLE)[0] > 5.0


def test_control_points_on_a_line_are_refused(tmp_path: Path) -> None:
    points = [GroundControlPoint(r, r, 391_000 + r, 5_820_000 - r, 0.0) for r in (10, 200, 300, 400)]
    path = write_raster(tmp_path / "a.tif", gcps=points, crs=CRS.from_epsg(32633))
    with pytest.raises(GeoreferenceError):
        open_raster(path, RasterOptions())


def test_rpcs_depend_on_the_height_of_the_ground(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", rpcs=RPCS)
    low, high = (open_raster(path, RasterOptions(height=h, height_accuracy=0.0)) for h in (100.0, 350.0))
    normalized = ((MIDDLE - 0.5) - [RPCS.samp_off, RPCS.line_off]) / [RPCS.samp_scale, RPCS.line_scale]
    truth = np.array([[RPCS.long_off, RPCS.lat_off]]) + normalized * [RPCS.long_scale, -RPCS.lat_scale]
    assert metres(low.to_world(MIDDLE), truth)[0] < 0.01
    slid = truth + np.array([[-0.05 * RPCS.long_scale, 0.025 * RPCS.lat_scale]])  # half the height scale
    assert metres(high.to_world(MIDDLE), slid)[0] < 0.1
    assert low.accuracy(MIDDLE)[0] == pytest.approx(2.4477 * np.hypot(3.0, 1.0), rel=0.2)
    unsure = open_raster(path, RasterOptions(height=100.0, height_accuracy=250.0))
    assert unsure.accuracy(MIDDLE)[0] > 2.4 * metres(low.to_world(MIDDLE), high.to_world(MIDDLE))[0]


def test_a_crs_may_come_from_a_prj_or_the_configuration(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.jpg"), np.full((512, 640, 3), 90, np.uint8))
    (tmp_path / "a.jgw").write_text("0.5\n0\n0\n-0.5\n391000.25\n5819999.75\n")
    with pytest.raises(GeoreferenceError, match=r"put a \.prj beside it, or say it \(Georeference\.Crs, --crs\)"):
        open_raster(tmp_path / "a.jpg", RasterOptions())
    truth = np.stack(UTM.to_earth(MIDDLE), 1)
    by_key = open_raster(tmp_path / "a.jpg", RasterOptions(crs="EPSG:32633"))
    np.testing.assert_allclose(by_key.to_world(MIDDLE), truth, atol=1e-9)
    (tmp_path / "a.prj").write_text(CRS.from_epsg(32632).to_wkt())
    beside = open_raster(tmp_path / "a.jpg", RasterOptions(crs="EPSG:32633"))
    assert abs(beside.to_world(MIDDLE)[0, 0] - truth[0, 0] + 6.0) < 0.2  # another zone: the file's own word counts


def test_images_without_a_place_are_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((512, 640, 3), 90, np.uint8))
    with pytest.raises(GeoreferenceError, match="expected a GeoTIFF or a world file"):
        open_raster(tmp_path / "a.png", RasterOptions())


def test_a_damaged_prj_is_refused(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.full((512, 640, 3), 90, np.uint8))
    (tmp_path / "a.pgw").write_text("0.5\n0\n0\n-0.5\n391000.25\n5819999.75\n")
    (tmp_path / "a.prj").write_text("PROJCS[what]")
    with pytest.raises(GeoreferenceError, match="PROJ cannot read"):
        open_raster(tmp_path / "a.png", RasterOptions())


def test_a_raster_off_the_earth_is_refused(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", crs="EPSG:32633", transform=Affine(0.5, 0, 1e12, 0, -0.5, 1e12))
    with pytest.raises(GeoreferenceError, match="has no place on Earth"):
        open_raster(path, RasterOptions())


@pytest.mark.parametrize("crs", ['LOCAL_CS["site",UNIT["m",1]]', "+proj=longlat +a=3396190 +b=3376200 +no_defs"])
def test_a_raster_that_is_nowhere_on_earth_is_refused(crs: str, tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", crs=crs, transform=UTM.transform)
    with pytest.raises(GeoreferenceError, match="PROJ cannot read the reference system"):
        open_raster(path, RasterOptions())


@pytest.mark.parametrize(
    ("across", "down"), [(7e5, 0.01), (51.3, 0.01), (0.57, 0.01), (0.1, 0.36), (float("1e300"), 1.0)]
)
def test_a_raster_in_degrees_that_goes_round_more_than_once_is_refused(
    across: float, down: float, tmp_path: Path
) -> None:
    path = write_raster(tmp_path / "a.tif", crs="EPSG:4326", transform=Affine(across, 0, -100, 0, -down, 50))
    with pytest.raises(GeoreferenceError, match=r"at most 360 x 180 degrees|has no place on Earth"):
        open_raster(path, RasterOptions())


@pytest.mark.parametrize("west", [-180.0, 0.0, -180.28125])
def test_a_raster_of_all_the_globe_is_taken(west: float, tmp_path: Path) -> None:
    transform = Affine(0.5625, 0, west, 0, -180 / 512, 90)
    world = open_raster(write_raster(tmp_path / "a.tif", crs="EPSG:4326", transform=transform), RasterOptions())
    pixels = np.array([[1.0, 10.0], [320.0, 256.0], [639.0, 500.0]])
    np.testing.assert_allclose(world.to_pixels(world.to_world(pixels)), pixels, atol=1e-9)


def test_a_reference_system_that_is_no_map_is_refused(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", crs="EPSG:4978", transform=Affine(10, 0, 4e6, 0, -10, 1e6))
    with pytest.raises(GeoreferenceError, match="expected a geographic or projected reference system"):
        open_raster(path, RasterOptions())


def test_beyond_the_pole_there_is_no_place(tmp_path: Path) -> None:
    path = write_raster(tmp_path / "a.tif", crs="EPSG:4326", transform=Affine(1e-3, 0, 10, 0, -1e-3, 90.1))
    positions = open_raster(path, RasterOptions()).to_world(np.array([[5.0, 50.0], [5.0, 150.0]]))
    assert np.isnan(positions[0]).all()
    assert positions[1] == pytest.approx((10.005, 89.95))


def test_a_file_that_names_other_files_is_not_followed(tmp_path: Path) -> None:
    by_transform(tmp_path)
    vrt = tmp_path / "b.tif"
    vrt.write_text(
        '<VRTDataset rasterXSize="640" rasterYSize="512"><SRS>EPSG:32633</SRS><GeoTransform>0,1,0,0,0,-1</GeoTransform>'
        f'<VRTRasterBand dataType="Byte" band="1"><SimpleSource><SourceFilename>{tmp_path / "a.tif"}</SourceFilename>'
        "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    )
    with pytest.raises(GeoreferenceError, match="expected a TIFF, JPEG"):
        open_raster(vrt, RasterOptions())


def test_reference_systems_are_checked() -> None:
    require_crs("")
    require_crs("EPSG:25833")
    with pytest.raises(GeoreferenceError, match="such as EPSG:25833, got EPSG:999999"):
        require_crs("EPSG:999999")
