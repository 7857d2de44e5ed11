"""Many rasters: each as if it were the only one, wherever it is worked on, whatever becomes of the process."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pandas
import psutil
import pyarrow.dataset
import pyarrow.parquet
import pytest
import rasterio
from rasterio.transform import Affine
from typer.testing import CliRunner, Result

from sam3edge.core.errors import EngineError, FrameError, SettingsError
from sam3edge.engines.fake import FakeEngine
from sam3edge.rasters.options import ReadOptions, SegmentOptions
from sam3edge.rasters.texts import read_prompts
from sam3edge.vector.rows import features_of
from sam3edge_pipeline.batch import work
from sam3edge_pipeline.batch.__main__ import app
from sam3edge_pipeline.batch.inputs import RasterInput, find_rasters
from sam3edge_pipeline.batch.results import Report, Results
from sam3edge_pipeline.batch.runners import RayProcesses, Runner, ThisProcess
from sam3edge_pipeline.batch.work import RasterWorker, Task
from sam3edge_pipeline.synthetic import draw_scene
from support.places import RPCS, not_yet_georeferenced

pytestmark = pytest.mark.xdist_group("batch")  # what one process gives is made once

PROMPTS = read_prompts("car, building, ship", 0.5)
SIDE = 288
COUNT = 20


def no_s3() -> Any:
    raise AssertionError("nobody asked for S3")


def write_scene(path: Path, seeds: tuple[int, ...]) -> None:
    """Scenes side by side, half a metre a pixel."""
    image = np.concatenate([draw_scene(seed).image[:SIDE, :SIDE] for seed in seeds], axis=1)
    height, width = image.shape[:2]
    place = Affine(0.5, 0, 391_000, 0, -0.5, 5_820_000)
    with rasterio.open(path, "w", "GTiff", width, height, 3, "EPSG:32633", place, np.uint8) as target:
        target.write(image.transpose(2, 0, 1))


@pytest.fixture(scope="module")
def rasters(tmp_path_factory: pytest.TempPathFactory) -> list[RasterInput]:
    """Twenty, of which one is no raster and one is many tiles wide."""
    folder = tmp_path_factory.mktemp("rasters")
    for number in range(COUNT):
        path = folder / f"scene-{number:02d}.tif"
        if number == 7:
            path.write_bytes(b"II*\0 and then nothing of use")
        else:
            write_scene(path, tuple(range(12)) if number == COUNT - 1 else (number,))
    return find_rasters([str(folder)], "", no_s3)


def task_in(bundle: Path, out: Path) -> Task:
    return Task(bundle, PROMPTS, SegmentOptions(tile=SIDE), out, threads=1)


def run(runner: Runner, task: Task, rasters: list[RasterInput]) -> dict[str, Report]:
    reports = {report.name: report for report in runner.run(task, rasters)}
    assert reports.keys() == {raster.name for raster in rasters}
    return reports


def table(out: Path) -> Any:
    """All features, in an order of their own."""
    shards = [geopandas.read_parquet(shard) for shard in (out / "features").iterdir()]
    features = pandas.concat([shard for shard in shards if len(shard)])
    return features.drop(columns=["message_id"]).sort_values(["frame", "id"], ignore_index=True)


@pytest.fixture(scope="module")
def serial(demo_bundle: Path, rasters: list[RasterInput], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("serial")
    run(ThisProcess(), task_in(demo_bundle, out), rasters)
    return out


def assert_same(out: Path, serial: Path) -> None:
    ours, theirs = table(out), table(serial)
    assert len(theirs) > COUNT
    assert ours.equals(theirs)


def test_one_bad_raster_is_reported_and_costs_nothing_else(serial: Path, rasters: list[RasterInput]) -> None:
    reports = [json.loads(file.read_text())["report"] for file in (serial / "reports").iterdir()]
    [bad] = [report for report in reports if report["error"]]
    assert bad["path"] == rasters[7].path
    assert "GDAL cannot read scene-07.tif" in bad["error"]
    assert len(reports) == COUNT
    assert len(list((serial / "features").iterdir())) == COUNT - 1
    assert sum(report["features"] for report in reports) == len(table(serial))


def test_what_is_done_is_not_done_again(demo_bundle: Path, serial: Path, rasters: list[RasterInput]) -> None:
    before = {file: file.stat().st_mtime_ns for file in (serial / "features").iterdir()}
    reports = run(ThisProcess(), task_in(demo_bundle, serial), rasters)
    assert [report.resumed for report in reports.values()].count(True) == COUNT - 1
    assert {file: file.stat().st_mtime_ns for file in (serial / "features").iterdir()} == before


def test_another_question_or_another_file_is_asked_anew(demo_bundle: Path, tmp_path: Path) -> None:
    write_scene(tmp_path / "a.tif", (1,))
    [raster] = find_rasters([str(tmp_path / "a.tif")], "", no_s3)
    task = task_in(demo_bundle, tmp_path / "out")
    assert not run(ThisProcess(), task, [raster])[raster.name].resumed
    assert run(ThisProcess(), task, [raster])[raster.name].resumed
    other = replace(task, prompts=read_prompts("car", 0.5))
    assert not run(ThisProcess(), other, [raster])[raster.name].resumed
    write_scene(tmp_path / "a.tif", (2, 3))
    assert not run(ThisProcess(), other, [raster])[raster.name].resumed


@pytest.fixture
def lone(tmp_path: Path) -> RasterInput:
    write_scene(tmp_path / "a.tif", (1,))
    [raster] = find_rasters([str(tmp_path / "a.tif")], "", no_s3)
    return raster


def test_what_is_put_beside_a_file_later_is_seen(lone: RasterInput, tmp_path: Path) -> None:
    """As a report asks for: put a .prj beside it."""
    results = Results(tmp_path / "out")
    results.open()
    worker = RasterWorker(FakeEngine(), read_prompts("red", 0.5), SegmentOptions(tile=SIDE), results)
    worker(lone)
    for name in ("a.prj", "a.tfw", "a.TIFW", "a.wld", "a_RPC.TXT", "a.RPB", "a.tif.aux.xml"):
        assert worker(lone).resumed
        (tmp_path / name).write_text("<PAMDataset/>" if name.endswith(".xml") else "")
        assert not worker(lone).resumed, name


def shards(out: Path) -> list[str]:
    return sorted(path.name for path in (out / "features").iterdir())


def test_a_shard_that_is_gone_is_made_again(demo_bundle: Path, lone: RasterInput, tmp_path: Path) -> None:
    task = task_in(demo_bundle, tmp_path / "out")
    run(ThisProcess(), task, [lone])
    [shard] = shards(task.out)
    (task.out / "features" / shard).unlink()
    assert not run(ThisProcess(), task, [lone])[lone.name].resumed
    assert shards(task.out) == [shard]


def test_a_raster_that_cannot_be_read_any_more_leaves_the_table(
    demo_bundle: Path, lone: RasterInput, tmp_path: Path
) -> None:
    task = task_in(demo_bundle, tmp_path / "out")
    run(ThisProcess(), task, [lone])
    assert len(shards(task.out)) == 1
    Path(lone.path).write_bytes(b"II*\0 and then nothing of use")
    assert run(ThisProcess(), task, [lone])[lone.name].error
    assert shards(task.out) == []


def test_what_a_bucket_lists_is_done_once_for_each_content(
    demo_bundle: Path, lone: RasterInput, tmp_path: Path
) -> None:
    task = task_in(demo_bundle, tmp_path / "out")
    old, new = (replace(lone, listed=etag) for etag in ("old", "new"))
    assert not run(ThisProcess(), task, [old])[lone.name].resumed
    assert run(ThisProcess(), task, [old])[lone.name].resumed
    assert not run(ThisProcess(), task, [new])[lone.name].resumed


def test_what_a_bucket_lists_is_read_and_nothing_else_of_it(
    demo_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A STAC item's object of the same bucket needs --allow."""
    opened = []

    def open_raster_file(path: str, options: ReadOptions) -> Any:
        opened.append((path, path.startswith(options.virtual)))
        raise FrameError("no network here", frame_id="", name=path)

    monkeypatch.setattr(work, "open_raster_file", open_raster_file)
    listed = RasterInput("/vsis3/images/a.tif", "a", listed="etag 7")
    named = RasterInput("/vsis3/images/b.tif", "b")
    run(ThisProcess(), task_in(demo_bundle, tmp_path / "out"), [listed, named])
    assert opened == [(listed.path, True), (named.path, False)]


@pytest.mark.parametrize("name", ["mine.parquet", "readme.md"])
def test_features_of_others_are_not_mixed_with_ours(
    name: str, demo_bundle: Path, lone: RasterInput, tmp_path: Path
) -> None:
    task = task_in(demo_bundle, tmp_path / "out")
    (task.out / "features").mkdir(parents=True)
    (task.out / "features" / name).write_text("somebody else's")
    with pytest.raises(SettingsError, match=f"holds {name}, which no run has written; use another --out"):
        list(ThisProcess().run(task, [lone]))
    assert shards(task.out) == [name]


def test_a_shard_whose_process_was_killed_before_it_reported_is_ours(
    demo_bundle: Path, lone: RasterInput, tmp_path: Path
) -> None:
    task = task_in(demo_bundle, tmp_path / "out")
    run(ThisProcess(), task, [lone])
    (task.out / "reports" / f"{lone.name}.json").unlink()
    (task.out / "checkpoints" / f"{lone.name}.sqlite").touch()
    assert not run(ThisProcess(), task, [lone])[lone.name].resumed


def test_a_folder_of_shards_is_one_table_to_geopandas(serial: Path) -> None:
    """And to pyarrow; alone, each shard says its bounds."""
    whole = geopandas.read_parquet(serial / "features")
    assert pyarrow.dataset.dataset(serial / "features").count_rows() == len(whole)
    for shard in (serial / "features").iterdir():
        alone = pyarrow.parquet.read_metadata(shard)
        assert ("bbox" in json.loads(alone.metadata[b"geo"])["columns"]["geometry"]) == (alone.num_rows > 0)
    assert whole.crs == "OGC:CRS84"
    parts = table(serial)
    assert len(whole) == len(parts)
    assert set(whole.geometry.to_wkt()) == set(parts.geometry.to_wkt())
    assert set(whole["image_geometry"].to_wkt()) == set(parts["image_geometry"].to_wkt())


def test_features_that_cannot_be_written_cost_their_raster_only(
    demo_bundle: Path, rasters: list[RasterInput], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(message: dict[str, Any]) -> Iterator[Any]:
        yield from [{"type": "nothing"}] if message["frame"]["name"] == "scene-00.tif" else features_of(message)

    monkeypatch.setattr(work, "features_of", damaged)
    reports = run(ThisProcess(), task_in(demo_bundle, tmp_path / "out"), rasters[:2])
    assert "expected a GeoJSON feature" in reports[rasters[0].name].error
    assert not reports[rasters[1].name].error
    assert shards(tmp_path / "out") == [f"{rasters[1].name}.parquet"]


def test_a_medium_that_fails_costs_its_raster_only(
    demo_bundle: Path, rasters: list[RasterInput], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = work.open_raster_file

    def failing(path: str, options: ReadOptions) -> Any:
        if path == rasters[0].path:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return opened(path, options)

    monkeypatch.setattr(work, "open_raster_file", failing)
    reports = run(ThisProcess(), task_in(demo_bundle, tmp_path / "out"), rasters[:2])
    assert [reports[raster.name].error for raster in rasters[:2]] == ["[Errno 5] Input/output error", ""]


def test_heights_of_the_ground_count_for_rasters_with_rpcs(demo_bundle: Path, tmp_path: Path) -> None:
    image = np.concatenate([draw_scene(seed).image[:SIDE, :SIDE] for seed in (1, 2)], axis=1)
    size = {"driver": "GTiff", "width": 2 * SIDE, "height": SIDE, "count": 3, "dtype": "uint8"}
    with not_yet_georeferenced(), rasterio.open(tmp_path / "a.tif", "w", rpcs=RPCS, **size) as target:
        target.write(image.transpose(2, 0, 1))

    def place(*options: str) -> tuple[float, float]:
        ended = batch(demo_bundle, f"{tmp_path}/a.tif", "--prompts", "car", "--out", f"{tmp_path}/out", *options)
        assert ended.exit_code == 0, ended.output
        return table(tmp_path / "out").geometry.union_all().centroid.coords[0]

    def write_heights(height: int) -> None:
        grid = {"driver": "GTiff", "width": 9, "height": 9, "count": 1, "dtype": "int16", "crs": "EPSG:4326"}
        with rasterio.open(tmp_path / "h.tif", "w", transform=Affine(0.02, 0, 13.3, 0, -0.02, 52.6), **grid) as model:
            model.write(np.full((9, 9), height, np.int16), 1)

    expected = [place("--ground-height", f"{height}") for height in (1000, 2000)]
    assert np.abs(np.subtract(*expected)).max() > 1e-3
    for height, at in zip((900, 1900), expected, strict=True):  # a model that was changed is another one
        write_heights(height)
        by_model = place("--elevation", f"{tmp_path}/h.tif", "--ground-height", "100")
        np.testing.assert_allclose(by_model, at, atol=1e-6)


def test_rasters_without_a_place_are_told_of(demo_bundle: Path, tmp_path: Path) -> None:
    image = draw_scene(1).image[:SIDE, :SIDE]
    with (
        not_yet_georeferenced(),
        rasterio.open(tmp_path / "a.tif", "w", "GTiff", SIDE, SIDE, 3, None, None, np.uint8) as a,
    ):
        a.write(image.transpose(2, 0, 1))
    for _ in range(2):
        ended = batch(demo_bundle, f"{tmp_path}/a.tif", "--prompts", "car", "--out", f"{tmp_path}/out")
        assert f"without places on Earth {tmp_path}/a.tif: " in ended.output


@pytest.mark.parametrize("address", ["127.0.0.1:{port}", "ray://127.0.0.1:{port}", "[::1]:{port}"])
def test_a_cluster_that_does_not_answer_is_an_error_in_words(
    address: str, demo_bundle: Path, lone: RasterInput, tmp_path: Path
) -> None:
    with socket.socket() as free:  # and nobody listens
        free.bind(("127.0.0.1", 0))
        named = address.format(port=free.getsockname()[1])
        with pytest.raises(SettingsError, match="no Ray cluster answers at"):
            list(RayProcesses(2, named).run(task_in(demo_bundle, tmp_path / "out"), [lone]))


@pytest.mark.timeout(300)
def test_workers_give_what_one_process_gives(
    demo_bundle: Path, serial: Path, rasters: list[RasterInput], tmp_path: Path
) -> None:
    """And one of them is killed while it is amid a raster: what it had found there is not looked for again."""
    task = task_in(demo_bundle, tmp_path / "out")
    wide = rasters[-1]
    checkpoint = tmp_path / "out" / "checkpoints" / f"{wide.name}.sqlite"
    killed: list[int] = []
    ended = threading.Event()

    def kill_who_has_the_wide_one() -> None:
        while not ended.wait(0.02):
            if tiles_in(checkpoint) >= 2 and (pid := owner_of(checkpoint)):
                os.kill(pid, signal.SIGKILL)
                killed.append(tiles_in(checkpoint))
                return

    killer = threading.Thread(target=kill_who_has_the_wide_one)
    killer.start()
    try:
        reports = run(RayProcesses(2), task, [wide, *rasters[:-1]])
    finally:
        ended.set()
        killer.join()
    [at] = killed
    assert at >= 2
    assert sum(bool(report.error) for report in reports.values()) == 1
    assert_same(tmp_path / "out", serial)
    assert not list((tmp_path / "out" / "checkpoints").iterdir())


@pytest.mark.slow  # Ray starts once more
@pytest.mark.timeout(300)
def test_a_model_that_cannot_run_ends_the_run(demo_bundle: Path, rasters: list[RasterInput], tmp_path: Path) -> None:
    """In the words of the worker, as it would in this process."""
    (tmp_path / "out" / "reports").mkdir(parents=True)
    for raster in rasters[:2]:
        (tmp_path / "out" / "reports" / f"{raster.name}.json").write_text("somebody else's")
    with pytest.raises(SettingsError, match=r"expected a report of ours in .*use another --out"):
        list(ThisProcess().run(task_in(demo_bundle, tmp_path / "out"), rasters[:2]))
    with pytest.raises(EngineError, match=r"expected a report of ours in .*use another --out"):
        list(RayProcesses(2).run(task_in(demo_bundle, tmp_path / "out"), rasters[:2]))


def tiles_in(checkpoint: Path) -> int:
    if not checkpoint.exists():
        return 0
    with sqlite3.connect(f"file:{checkpoint}?mode=ro", uri=True) as database:
        try:
            return int(database.execute("SELECT count(*) FROM tiles").fetchone()[0])
        except sqlite3.OperationalError:  # not made yet
            return 0


def owner_of(path: Path) -> int | None:
    """The process of ours that has the file open."""
    for process in psutil.Process().children(recursive=True):
        try:
            if any(file.path == str(path) for file in process.open_files()):
                return process.pid
        except psutil.Error:
            continue
    return None


def batch(bundle: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--bundle", str(bundle)])


def test_the_command(closed_bundle: Path, rasters: list[RasterInput], tmp_path: Path) -> None:
    asked = (rasters[0].path, rasters[7].path, "--prompts", "car,zebra", "--out", str(tmp_path))
    ended = batch(closed_bundle, *asked)
    assert ended.exit_code == 1
    for said in ("skipped", rasters[7].path, "the model does not know zebra", "in 1 rasters, in"):
        assert said in ended.output
    assert "1 of them earlier" in batch(closed_bundle, *asked).output


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("nowhere", "--prompts", ""), "expected phrases"),
        (("nowhere", "--prompts", "car@x"), "metres a pixel"),
        (("nowhere.txt", "--prompts", "car"), "cannot be read"),
        (("nowhere.json", "--prompts", "car"), "cannot be read"),
        (("s3://", "--prompts", "car"), "expected s3://bucket/prefix"),
        (("tests/unit/pipeline/batch", "--prompts", "car"), "holds no raster"),
        (("nowhere", "--prompts", "car", "--crs", "EPSG:0"), "EPSG:0"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    demo_bundle: Path, arguments: tuple[str, ...], reason: str, tmp_path: Path
) -> None:
    ended = batch(demo_bundle, *arguments, "--out", str(tmp_path))
    assert ended.exit_code == 2
    assert reason in " ".join(ended.output.split())


@pytest.mark.parametrize("out", ["file", "file/deeper"])
def test_an_output_that_is_no_folder_is_refused(out: str, demo_bundle: Path, lone: RasterInput, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    ended = batch(demo_bundle, lone.path, "--prompts", "car", "--out", str(tmp_path / out))
    assert ended.exit_code == 2
    assert "expected --out to be a folder to write to" in " ".join(ended.output.split())
