"""``sam3edge convert``: many files become one, and what is bad is told."""

from __future__ import annotations

import builtins
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from sam3edge.cli.main import app
from support.vector_files import FIELD, message, multiple, names_in, placed, read_layer, unplaced


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.geojson").write_text(json.dumps(message(placed(), unplaced())))
    lines = [{**message(placed()), "id": "other"}, {**message(placed()), "id": "other"}]
    (tmp_path / "in/b.ndjson").write_text("\n".join(map(json.dumps, lines)))
    return tmp_path


def convert(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["convert", *map(str, arguments)])


def test_files_and_folders_become_one_file(folder: Path) -> None:
    done = convert(folder / "in", "--out", folder / "all.gpkg")
    assert done.exit_code == 0, done.output
    assert "3 features in" in done.output
    assert "1 messages are repetitions" in done.output
    assert names_in(folder) == ["all.gpkg", "in"]


def test_a_converted_file_is_read_by_others(folder: Path) -> None:
    done = convert(folder / "in/a.geojson", "--out", folder / "all.fgb")
    assert done.exit_code == 0, done.output
    [(geometry, _)] = read_layer(folder / "all.fgb").values()
    assert geometry == multiple(FIELD)
    assert "all_pixels.fgb" in done.output


def test_bad_input_is_told_and_costs_nothing_else(folder: Path) -> None:
    (folder / "in/c.json").write_text("{")
    feature: dict[str, Any] = {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1e9, 0]}}
    (folder / "in/d.ndjson").write_text(json.dumps(feature) + "\n" + json.dumps({"message_type": "status"}))
    done = convert(folder / "in", "--out", folder / "all.gpkg")
    assert done.exit_code == 1
    assert "c.json is not JSON" in done.output
    assert "reproject it to WGS 84" in done.output
    assert "2 documents or features could not be converted" in done.output
    assert "1 messages are not of detections" in done.output
    assert "3 features in" in done.output


def test_reasons_are_told_until_there_are_too_many(folder: Path) -> None:
    (folder / "in/c.ndjson").write_text("{\n" * 100)
    done = convert(folder / "in", "--out", folder / "all.gpkg")
    assert done.output.count("is not JSON") == 20
    assert "100 documents or features" in done.output


@pytest.mark.parametrize(
    ("source", "out", "reason"),
    [
        ("nowhere", "all.gpkg", "is not there"),
        ("in", "all.shp", "expected a file that ends in"),
        ("in", "in/a.geojson/all.gpkg", "cannot be written"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(folder: Path, source: str, out: str, reason: str) -> None:
    done = convert(folder / source, "--out", folder / out)
    assert done.exit_code == 2
    assert reason in done.output
    assert names_in(folder) == ["in"]


def test_a_missing_extra_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    really = builtins.__import__

    def without(name: str, *arguments: Any, **keys: Any) -> Any:
        if name == "sam3edge.cli.convert":
            raise ModuleNotFoundError("No module named 'pyogrio'", name="pyogrio")
        return really(name, *arguments, **keys)

    monkeypatch.setattr(builtins, "__import__", without)
    done = convert(folder / "in", "--out", folder / "all.gpkg")
    assert done.exit_code == 2
    assert "pyogrio is not installed; pip install 'sam3edge[client,vector]'" in done.output
