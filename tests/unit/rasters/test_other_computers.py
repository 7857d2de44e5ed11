"""Rasters that name other computers, in themselves or by what lies beside them: nobody is asked."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from html import escape
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import rasterio

from sam3edge.core.errors import FrameError, GeoreferenceError
from sam3edge.geo.gdal import opened, opened_elevation
from sam3edge.geo.raster import RasterOptions, open_raster
from sam3edge.images.depth import DepthOptions, to_eight_bits
from sam3edge.rasters import raster_file
from sam3edge.rasters.options import ReadOptions
from sam3edge.rasters.raster_file import open_raster_file
from sam3edge_pipeline.evaluation.vector.grid import open_grid
from support.rasters import UTM, changed, write

SIZE = (800, 600)
WHOLE = (0.0, 0.0, 800.0, 600.0)


class Asked(http.server.BaseHTTPRequestHandler):
    """Notes what it is asked for, and has nothing."""

    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        self.send_error(404)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def computer() -> Iterator[http.server.ThreadingHTTPServer]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Asked) as server:
        server.asked = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def raster(path: Path) -> Path:
    """16 bits, whose stretch is found on an overview."""
    return write(path, np.full((SIZE[1], SIZE[0], 3), 900, np.uint16), **UTM)


def wms(url: str) -> str:
    window = "<UpperLeftX>-1</UpperLeftX><UpperLeftY>1</UpperLeftY><LowerRightX>1</LowerRightX>"
    window += "<LowerRightY>-1</LowerRightY><SizeX>400</SizeX><SizeY>300</SizeY>"
    service = f'<Service name="WMS"><ServerUrl>{escape(url)}?</ServerUrl><Layers>a</Layers></Service>'
    return f"<GDAL_WMS>{service}<DataWindow>{window}</DataWindow><BandsCount>3</BandsCount></GDAL_WMS>"


def vrt(source: str) -> str:
    bands = "".join(
        f'<VRTRasterBand dataType="UInt16" band="{n}"><SimpleSource><SourceFilename relativeToVRT="0">{escape(source)}'
        "</SourceFilename><SourceBand>1</SourceBand></SimpleSource></VRTRasterBand>"
        for n in (1, 2, 3)
    )
    return f'<VRTDataset rasterXSize="400" rasterYSize="300">{bands}</VRTDataset>'


def pam(source: str) -> str:
    item = f'<MDI key="OVERVIEW_FILE">{escape(source)}</MDI>'
    return f'<PAMDataset><Metadata domain="OVERVIEWS">{item}</Metadata></PAMDataset>'


def tag(path: Path, source: str, key: str = "OVERVIEW_FILE") -> None:
    with changed(path) as dataset:
        dataset.update_tags(ns="OVERVIEWS", **{key: source})


def text(path: Path, written: str) -> None:
    path.write_text(written)


def tagged_neighbour(path: Path, source: str) -> None:
    tag(raster(path), source)


Way = Callable[[Path, str], None]

WAYS: dict[str, Way] = {
    "a tag in the TIFF": lambda path, url: tag(path, url),
    "a tag in small letters": lambda path, url: tag(path, url, "overview_file"),
    "a tag, WMS": lambda path, url: tag(path, f"WMS:{url}?SERVICE=WMS"),
    "a tag, vsicurl": lambda path, url: tag(path, f"/vsicurl/{url}"),
    "aux.xml": lambda path, url: text(path.with_name("a.tif.aux.xml"), pam(url)),
    "aux.xml, WCS": lambda path, url: text(path.with_name("a.tif.aux.xml"), pam(f"WCS:{url}?")),
    "aux.xml, WMS": lambda path, url: text(path.with_name("a.tif.aux.xml"), pam(wms(url))),
    "ovr is WMS": lambda path, url: text(path.with_name("a.tif.ovr"), wms(url)),
    "ovr is VRT": lambda path, url: text(path.with_name("a.tif.ovr"), vrt(url)),
    "OVR is VRT": lambda path, url: text(path.with_name("a.tif.OVR"), vrt(url)),
    "ovr is VRT, vsicurl": lambda path, url: text(path.with_name("a.tif.ovr"), vrt(f"/vsicurl/{url}")),
    "msk is WMS": lambda path, url: text(path.with_name("a.tif.msk"), wms(url)),
    "msk is VRT": lambda path, url: text(path.with_name("a.tif.msk"), vrt(url)),
    "a tag in the ovr": lambda path, url: tagged_neighbour(path.with_name("a.tif.ovr"), url),
    "a tag in the msk": lambda path, url: tagged_neighbour(path.with_name("a.tif.msk"), url),
}


def looked_at(path: Path, options: ReadOptions) -> None:
    with open_raster_file(path, options) as file:
        file.read(WHOLE, 64)


def evaluated(path: Path) -> None:
    with open_grid(path) as grid:
        grid.picture((0, 0, *SIZE), 64, 48)
        grid.has_data((0, 0, *SIZE))


def as_elevation(path: Path) -> None:
    with opened_elevation(path) as dataset:
        dataset.read(1, masked=True)


READERS: dict[str, Callable[[Path], object]] = {
    "raster": lambda path: looked_at(path, ReadOptions()),
    "raster, --allow": lambda path: looked_at(path, ReadOptions(virtual=("/vsis3/",))),
    "as a mask": lambda path: looked_at(raster(path.with_name("other.tif")), ReadOptions(mask=path)),
    "evaluation": evaluated,
    "device": lambda path: open_raster(path, RasterOptions()).valid(WHOLE),
    "elevation model": as_elevation,
}


@contextmanager
def in_words() -> Iterator[None]:
    """Read, or refused by what users are told."""
    try:
        yield
    except (FrameError, GeoreferenceError) as error:
        said = str(error)
        assert "another file or address" in said or "expected a TIFF in a.tif." in said, said


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("way", WAYS)
def test_a_raster_leads_to_no_other_computers(
    way: str, reader: str, tmp_path: Path, computer: http.server.ThreadingHTTPServer
) -> None:
    path = raster(tmp_path / "a.tif")
    WAYS[way](path, f"http://127.0.0.1:{computer.server_port}/x.tif")
    with in_words():
        READERS[reader](path)
    assert computer.asked == []  # type: ignore[attr-defined]


@pytest.mark.parametrize("way", ["a tag in the TIFF", "a tag, WMS", "aux.xml", "ovr is VRT", "OVR is VRT"])
def test_gdal_alone_would_ask(way: str, tmp_path: Path, computer: http.server.ThreadingHTTPServer) -> None:
    """Or the test above could not fail."""
    path = raster(tmp_path / "a.tif")
    WAYS[way](path, f"http://127.0.0.1:{computer.server_port}/x.tif")
    with rasterio.open(path) as dataset:
        try:
            dataset.read(out_shape=(3, 48, 64))
            dataset.dataset_mask()
        except rasterio.errors.RasterioError:
            pass
    assert computer.asked  # type: ignore[attr-defined]


def test_while_a_file_is_read_gdal_cannot_reach_others(
    tmp_path: Path, computer: http.server.ThreadingHTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever leads there in versions of GDAL to come."""
    path, tried = raster(tmp_path / "a.tif"), []

    def elsewhere(band: npt.NDArray[np.uint16], options: DepthOptions) -> npt.NDArray[np.uint8]:
        with pytest.raises(rasterio.errors.RasterioIOError):
            rasterio.open(f"/vsicurl/http://127.0.0.1:{computer.server_port}/x.tif")
        tried.append(options)
        return to_eight_bits(band, options)

    monkeypatch.setattr(raster_file, "to_eight_bits", elsewhere)
    looked_at(path, ReadOptions(virtual=("/vsicurl/",)))
    with opened(path), pytest.raises(rasterio.errors.RasterioIOError):
        rasterio.open(f"/vsicurl/http://127.0.0.1:{computer.server_port}/y.tif")
    assert len(tried) == 3
    assert computer.asked == []  # type: ignore[attr-defined]


def test_an_allowed_file_system_gives_the_image_alone(
    tmp_path: Path, computer: http.server.ThreadingHTTPServer
) -> None:
    """Also where what lies beside it names other computers."""
    path = raster(tmp_path / "a.tif")
    url = f"http://127.0.0.1:{computer.server_port}/x.tif"
    beside = vrt(url).encode()
    with (
        rasterio.MemoryFile(path.read_bytes(), dirname="of-somebody", filename="a.tif") as memory,
        rasterio.MemoryFile(beside, dirname="of-somebody", filename="a.tif.ovr"),
        open_raster_file(memory.name, ReadOptions(virtual=("/vsimem/",))) as file,
    ):
        assert file.read(WHOLE, 64).counts.any()
    tag(path, url)
    with (
        rasterio.MemoryFile(path.read_bytes(), dirname="of-another", filename="a.tif") as memory,
        pytest.raises(FrameError, match="another file or address"),
    ):
        looked_at(Path(memory.name), ReadOptions(virtual=("/vsimem/",)))
    assert computer.asked == []  # type: ignore[attr-defined]


def test_overviews_and_masks_beside_an_image_count(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", np.full((600, 800, 3), 90, np.uint8), **UTM)
    overview = write(tmp_path / "a.tif.ovr", np.full((300, 400, 3), 200, np.uint8))
    mask = np.full((600, 800), 255, np.uint8)
    mask[:, :400] = 0
    beside = write(tmp_path / "a.tif.msk", mask)
    with changed(beside) as dataset:
        dataset.update_tags(INTERNAL_MASK_FLAGS_1="2", INTERNAL_MASK_FLAGS_2="2", INTERNAL_MASK_FLAGS_3="2")
    with open_raster_file(path, ReadOptions()) as file:
        view = file.read(WHOLE, 200)
    assert (view.image[75, 150] == 200).all()
    assert not view.counts[:, :99].any()
    assert view.counts[:150, 101:].all()
    assert open_raster(path, RasterOptions()).valid(WHOLE).bounds == (400, 0, 800, 600)
    assert overview.exists()


@pytest.mark.parametrize("name", ["a.aux", "A.TIF.AUX"])
def test_what_erdas_writes_beside_an_image_is_refused_and_other_aux_files_are_not_looked_at(
    name: str, tmp_path: Path
) -> None:
    path = raster(tmp_path / "a.tif")
    (tmp_path / name).write_bytes(b"EHFA_HEADER_TAG\0" + bytes(100))
    with pytest.raises(GeoreferenceError, match=r"remove it, or make overviews anew by gdaladdo -ro"):
        open_raster(path, RasterOptions())
    (tmp_path / name).write_text("\\relax")
    assert open_raster(path, RasterOptions()).size == SIZE
