"""A run that was killed goes on where it was, and gives what it would have given."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from pyproj import CRS

from sam3edge.core.errors import EngineError, FrameError, SettingsError
from sam3edge.core.types import Prompt
from sam3edge.engines.fake import FakeEngine
from sam3edge.rasters.checkpoint import Found, open_checkpoint
from sam3edge.rasters.grid import Tile
from sam3edge.rasters.options import RasterPrompt, ReadOptions
from support import killed_raster
from support.killed_raster import Noted
from support.rasters import RED, SMALL, UTM, Alive, Failing, features, scattered, write
from support.waiting import until


@pytest.fixture
def raster(tmp_path: Path) -> Path:
    return write(tmp_path / "a.tif", scattered(4, 600, 400, 60), **UTM)


def tiles_of(raster: Path) -> int:
    engine = Alive()
    features(raster, engine=engine)
    return engine.frames


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def test_a_killed_run_goes_on_and_gives_the_same_features(raster: Path, tmp_path: Path) -> None:
    """SIGKILL, twice; only a tile that was in work may be looked at again."""
    checkpoint, notes = tmp_path / "checkpoint", tmp_path / "notes"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    command = [sys.executable, str(killed_raster.__file__), str(raster), str(checkpoint), str(notes)]
    tiles = tiles_of(raster)
    for wanted in (8, 20):
        process = subprocess.Popen(command, env=environment)
        try:
            until(lambda wanted=wanted: len(lines(notes)) >= wanted)  # type: ignore[misc]
        finally:
            process.kill()
            process.wait()
    assert len(lines(notes)) < tiles
    resumed = features(raster, engine=Noted(notes, 0.0), checkpoint=checkpoint)
    assert resumed == features(raster)
    assert len(set(lines(notes))) == tiles
    assert len(lines(notes)) <= tiles + 2 * 2
    engine = Alive()
    assert features(raster, engine=engine, checkpoint=checkpoint) == resumed
    assert engine.frames == 0


def test_what_was_found_counts_for_the_same_question_only(raster: Path, tmp_path: Path) -> None:
    """Of the same raster, by the same model, with the same options; all in one file."""
    checkpoint = tmp_path / "checkpoint"
    features(raster, checkpoint=checkpoint)
    other = write(tmp_path / "b.tif", scattered(5, 150, 150, 60), **UTM)

    def looked(path: Path = raster, options: object = SMALL, prompts: object = (RED,), version: str = "1.0.0") -> int:
        engine = Alive()
        engine._model = replace(engine._model, version=version)
        features(path, options, engine, prompts, checkpoint)  # type: ignore[arg-type]
        return engine.frames

    assert looked() == 0
    assert looked(other) > 0
    assert looked(version="2.0.0") > 0
    assert looked(prompts=(RasterPrompt(Prompt("red", 0.6)),)) > 0
    assert looked(options=replace(SMALL, reading=ReadOptions(bands=(3, 2, 1)))) > 0
    assert looked() == 0


def test_what_files_beside_the_raster_say_counts_too(tmp_path: Path) -> None:
    """A place that came later puts the tiles elsewhere."""
    raster, checkpoint = write(tmp_path / "a.tif", scattered(4, 300, 200, 60)), tmp_path / "checkpoint"
    features(raster, checkpoint=checkpoint)
    (tmp_path / "a.tfw").write_text("0.5\n0\n0\n-0.5\n391000.25\n5819999.75\n")
    (tmp_path / "a.prj").write_text(CRS.from_epsg(32633).to_wkt())
    placed = features(raster, checkpoint=checkpoint)
    assert placed == features(raster)
    assert placed[0]["geometry"] is not None


def test_a_run_that_failed_goes_on(raster: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint"
    with pytest.raises(EngineError):
        features(raster, engine=Failing(15), checkpoint=checkpoint)
    engine = Alive()
    assert features(raster, engine=engine, checkpoint=checkpoint) == features(raster)
    assert engine.frames <= tiles_of(raster) - 15 + 1


def test_unknown_phrases_are_remembered(raster: Path, tmp_path: Path) -> None:
    from sam3edge.rasters.raster_file import open_raster_file
    from sam3edge.rasters.segment import RasterRun

    prompts = [RED, RasterPrompt(Prompt("purple"))]
    for _ in range(2):
        with open_raster_file(raster, ReadOptions()) as file, open_checkpoint(tmp_path / "checkpoint") as kept:
            run = RasterRun(file, FakeEngine(), prompts, SMALL, kept)
            list(run.features())
        assert "purple" in run.unsupported_prompts


def test_a_file_that_is_no_checkpoint_is_refused(raster: Path, tmp_path: Path) -> None:
    (tmp_path / "checkpoint").write_text("a letter to my mother " * 100)
    with pytest.raises(SettingsError, match="cannot be used: file is not a database; name another, or remove it if"):
        features(raster, checkpoint=tmp_path / "checkpoint")
    assert (tmp_path / "checkpoint").read_text().startswith("a letter")
    with pytest.raises(SettingsError, match="cannot be used"):
        features(raster, checkpoint=tmp_path)


DAMAGES = ["'not json'", "'{}'", "substr(found, 1, 40)", "replace(found, '[0, ', '[99, ')", "x'ff00'"]
"""Of what is kept of a tile, in SQL."""


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_tile_that_is_kept_damaged_is_looked_at_again(
    damage: str, raster: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoint = tmp_path / "checkpoint"
    whole = features(raster, checkpoint=checkpoint)
    with closing(sqlite3.connect(checkpoint)) as database, database:
        places = database.execute('SELECT row, "column" FROM tiles ORDER BY length(found) DESC LIMIT 2').fetchall()
        for place in places:
            database.execute(f'UPDATE tiles SET found = {damage} WHERE row = ? AND "column" = ?', place)
    for again in (2, 0):
        engine = Alive()
        assert features(raster, engine=engine, checkpoint=checkpoint) == whole
        assert engine.frames == again
    assert caplog.text.count("is damaged; tiles of which it keeps nothing of use are looked at again") == 1


def test_a_full_disk_does_not_ask_people_to_remove_what_is_kept(raster: Path, tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint"
    with open_checkpoint(checkpoint) as kept:
        pages = kept._database.execute("PRAGMA page_count").fetchone()[0]
        kept._database.execute(f"PRAGMA max_page_count = {pages}")  # sqlite3 says that the disk is full then
        much = Found((), {"purple": "unknown " * 10_000})
        with pytest.raises(SettingsError, match=r"is full; see that there is room, .*: what it keeps is not lost"):
            kept.keep("run", 0, Tile(0, 0), much)


def test_a_bad_raster_makes_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(FrameError):
        features(tmp_path / "nowhere.tif", checkpoint=tmp_path / "checkpoint")
    assert not (tmp_path / "checkpoint").exists()


def test_a_checkpoint_is_removed_with_all_its_files(raster: Path, tmp_path: Path) -> None:
    with open_checkpoint(tmp_path / "checkpoint") as kept:
        assert (tmp_path / "checkpoint").exists()
        kept.remove()
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]
