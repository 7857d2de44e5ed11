"""Which rasters there are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError, ProfileNotFound

from sam3edge.core.errors import SettingsError
from sam3edge_pipeline.batch.inputs import RasterInput, find_rasters


class FakeS3:
    """A bucket of these keys, two a page."""

    def __init__(self, *keys: str, content: str = "old") -> None:
        self._keys, self.content = keys, content

    def get_paginator(self, operation: str) -> Any:
        """See boto3."""
        assert operation == "list_objects_v2"
        return self

    def paginate(self, *, Bucket: str, Prefix: str) -> list[dict[str, Any]]:  # noqa: N803
        """See boto3."""
        assert Bucket == "images"
        keys = [key for key in self._keys if key.startswith(Prefix)]
        entries = [{"Key": key, "ETag": f'"{self.content}"', "Size": 7} for key in keys]
        return [{"Contents": entries[i : i + 2]} for i in range(0, len(keys), 2)] or [{}]


def found(*places: str, asset: str = "", s3: FakeS3 | None = None) -> list[RasterInput]:
    def open_s3() -> FakeS3:
        assert s3 is not None
        return s3

    return find_rasters(places, asset, open_s3)


def item(**changes: Any) -> dict[str, Any]:
    assets = {
        "visual": {"href": "./visual.tif", "type": "image/tiff; application=geotiff", "roles": ["data"]},
        "preview": {"href": "small.tif", "type": "image/tiff", "roles": ["thumbnail"]},
        "metadata": {"href": "about.xml", "type": "application/xml"},
    }
    properties = {"datetime": "2026-05-04T10:11:12Z"}
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": "S2/A",
        "assets": assets,
        "properties": properties,
    } | changes


def test_files_folders_and_lists_each_once(tmp_path: Path) -> None:
    for name in ("b.tif", "deep/er/a.TIFF", "deep/notes.txt", ".hidden/c.tif", ".d.tif"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    folder = tmp_path / "in"
    (tmp_path / "list.txt").write_text(f"{folder}\n\n {folder}/b.tif \n{tmp_path}/list.txt\n")
    paths = [raster.path for raster in found(str(folder / "b.tif"), str(tmp_path / "list.txt"))]
    assert paths == [str(folder / "b.tif"), str(folder / "deep/er/a.TIFF")]


def test_names_tell_rasters_apart_and_are_names_of_files() -> None:
    one, other, odd, long = found("a/scene.tif", "b/scene.tif", "c/../x y%?*.tif", f"{'図' * 80}.tif")
    assert one.name != other.name
    assert one.name.startswith("scene-")
    assert odd.name.startswith("x-y----")
    assert found("a/scene.tif") == [one]
    assert len(f".{long.name}.parquet.12345678".encode()) <= 255


def test_a_file_is_one_raster_however_it_is_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("in/a.tif", "in/b.tif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to("in")
    (tmp_path / "item.json").write_text(json.dumps(item(assets={"a": {"href": "link/b.tif", "type": "image/tiff"}})))
    monkeypatch.chdir(tmp_path)
    both = found("in")
    assert found("in", "./in/a.tif", "in/../in/b.tif", f"{tmp_path}/link/a.tif", "item.json") == both
    monkeypatch.chdir(tmp_path / "in")
    assert found("a.tif", "../in") == both


def test_a_link_has_a_place_of_its_own(tmp_path: Path) -> None:
    """What is beside a link, such as a world file, counts, and not what is beside the file that it leads to."""
    (tmp_path / "a.tif").touch()
    (tmp_path / "b.tif").symlink_to("a.tif")
    assert [raster.path for raster in found(str(tmp_path))] == [f"{tmp_path}/a.tif", f"{tmp_path}/b.tif"]


@pytest.mark.parametrize("odd", ["a\0b.tif", "\ud800.tif"])
def test_what_can_be_no_name_of_a_file_is_left_to_who_opens_it(odd: str, tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text(json.dumps(item(assets={"a": {"href": f"/{odd}", "type": "image/tiff"}})))
    assert found(str(tmp_path / "one.json"))[0].path == f"/{odd}"


def test_lists_have_comments(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("\ufeff# of May\n/in/a.tif\n  # /in/b.tif\n", "utf-8")
    assert [raster.path for raster in found(str(tmp_path / "list.txt"))] == ["/in/a.tif"]


def test_a_prefix_in_s3() -> None:
    s3 = FakeS3("2026/a.tif", "2026/b.tiff", "2026/c.txt", "2026/.d.tif", "2025/e.tif", "2026/f.png", "2026/g.jp2")
    assert [r.path for r in found("s3://images/2026/", s3=s3)] == [
        "/vsis3/images/2026/a.tif",
        "/vsis3/images/2026/b.tiff",
    ]
    with pytest.raises(SettingsError, match="holds no raster: none of its 0 objects"):
        found("s3://images/1999/", s3=s3)


def test_an_object_that_was_replaced_is_another_raster_of_the_same_name() -> None:
    old, new = (found("s3://images/a", s3=FakeS3("a.tif", content=content))[0] for content in ("old", "new"))
    assert (old.path, old.name) == (new.path, new.name)
    assert old != new


ENDPOINT = "https://s3.nowhere.invalid"


@pytest.mark.parametrize(
    "error",
    [
        NoCredentialsError(),
        ProfileNotFound(profile="x"),
        EndpointConnectionError(endpoint_url=ENDPOINT),
        ClientError({"Error": {"Code": "NoSuchBucket", "Message": "it does not exist"}}, "ListObjectsV2"),
    ],
)
def test_a_bucket_that_cannot_be_listed_is_an_error_in_words(error: Exception) -> None:
    def open_s3() -> Any:
        raise error

    with pytest.raises(SettingsError, match=r"s3://images/2026 cannot be listed: .*; check the bucket's name"):
        find_rasters(["s3://images/2026"], "", open_s3)


def test_no_format_is_taken_that_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.jp2").touch()
    with pytest.raises(SettingsError, match=r"none of its files ends in .*; make others TIFFs first"):
        found(str(tmp_path))
    (tmp_path / "item.json").write_text(json.dumps(item(assets={"a": {"href": "a.jp2", "type": "image/jp2"}})))
    with pytest.raises(SettingsError, match="name one asset of S2/A, a TIFF, by --asset: it has a"):
        found(str(tmp_path / "item.json"))


def test_stac_items(tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text(json.dumps(item()))
    [one] = found(str(tmp_path / "one.json"))
    assert one.path == f"{tmp_path}/visual.tif"
    assert one.captured_at == "2026-05-04T10:11:12Z"
    assert one.name.startswith("S2-A-")
    cloud = {"b": {"href": "s3://images/b.tif", "type": "image/tiff"}}
    web = {"c": {"href": "https://host/c.tif", "type": "image/tiff"}}
    times = {"datetime": None, "start_datetime": "2026-01-01T00:00:00Z"}
    both = [item(id="b", assets=cloud, properties=times), item(id="c", assets=web, properties={})]
    (tmp_path / "all.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": both}))
    b, c = found(str(tmp_path / "all.geojson"))
    assert (b.path, b.captured_at) == ("/vsis3/images/b.tif", "2026-01-01T00:00:00Z")
    assert (c.path, c.captured_at) == ("/vsicurl/https://host/c.tif", "")
    assert found(str(tmp_path / "one.json"), asset="preview")[0].path == f"{tmp_path}/small.tif"


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ("[1]", "expected a JSON object"),
        ("{", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ('{"type": "Catalog"}', "expected a STAC item or a collection of items"),
        ('{"type": "FeatureCollection", "features": 3}', "expected a STAC item or a collection of items"),
        ('{"type": "FeatureCollection", "features": ["x"]}', "expected STAC items with id and assets"),
        (json.dumps(item(assets={})), "name one asset of S2/A, a TIFF, by --asset: it has none"),
        (json.dumps(item(assets={"a": {"type": "image/tiff"}})), "name one asset"),
        (json.dumps(item(assets={k: {"href": "x", "type": "image/tiff"} for k in "ab"})), "it has a, b"),
    ],
)
def test_other_documents_are_refused(document: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text(document)
    with pytest.raises(SettingsError, match=reason):
        found(str(tmp_path / "x.json"))


def test_nothing_is_refused() -> None:
    with pytest.raises(SettingsError, match="got none"):
        found()
