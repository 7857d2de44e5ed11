"""Files of detections: documents and lines, of which the bad ones cost nothing but themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sam3edge.core.errors import VectorFileError
from sam3edge.vector import documents
from sam3edge.vector.documents import Messages, files_in
from sam3edge.vector.files import write_features
from support.vector_files import message, placed, unplaced


def read(path: Path) -> tuple[list[dict[str, Any]], list[str], Messages]:
    reasons: list[str] = []
    messages = Messages(reasons.append)
    return [dict(one) for one in messages.features(path)], reasons, messages


def written(path: Path, *bodies: Any) -> Path:
    path.write_text("\n".join(one if isinstance(one, str) else json.dumps(one) for one in bodies))
    return path


def test_a_document_is_read_with_what_it_says_of_all(tmp_path: Path) -> None:
    body = message(placed(), unplaced())
    found, reasons, _ = read(written(tmp_path / "a.geojson", body))
    assert reasons == []
    assert [one["id"] for one in found] == [one["id"] for one in body["features"]]
    assert {one["device"] for one in found} == {"line-7"}


def test_lines_are_read_one_by_one_and_bad_ones_are_told(tmp_path: Path) -> None:
    one, other = message(placed()), {**message(unplaced()), "id": "another"}
    feature = {"type": "Feature", "geometry": None, "properties": {}}
    events = {"message_type": "event", "id": "e"}
    lines = [one, "{broken", "", "\x1e" + json.dumps(other), "[1]", feature, events, {"type": "Point"}, '"x"', one]
    found, reasons, messages = read(written(tmp_path / "a.ndjson", *lines))
    assert [f["type"] for f in found] == ["Feature"] * 3
    assert len(reasons) == 4
    assert "line 2 is not JSON" in reasons[0]
    assert "line 5: expected a GeoJSON object, got list" in reasons[1]
    assert "line 8: expected a FeatureCollection or a Feature, got 'Point'" in reasons[2]
    assert (messages.repeated, messages.passed_over) == (1, 1)


def test_repetitions_are_left_out_and_other_prompts_are_no_repetition(tmp_path: Path) -> None:
    one = message(placed())
    again = {**one, "time": "2027-01-01T00:00:00.000+00:00", "timing": {}}
    other = {**one, "prompts": [{"text": "dent"}]}
    collection = {"type": "FeatureCollection", "id": "same", "features": one["features"]}
    found, _, messages = read(written(tmp_path / "a.jsonl", one, again, other, collection, collection))
    assert len(found) == 4
    assert messages.repeated == 1


def test_what_is_remembered_of_messages_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(documents, "MAX_REMEMBERED", 3)
    several = [{**message(), "id": str(n)} for n in range(4)]
    _, _, messages = read(written(tmp_path / "a.ndjson", *several, several[3], several[0]))
    assert messages.repeated == 1


def test_a_document_that_is_too_large_is_refused_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(documents, "MAX_DOCUMENT", 100)
    found, [reason], _ = read(written(tmp_path / "a.json", message(placed())))
    assert found == []
    assert "ogr2ogr -f GeoJSONSeq" in reason


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"{}{}", b"[" * 100_000, b'{"a": 1'])
@pytest.mark.parametrize("end", [".geojson", ".ndjson"])
def test_broken_files_are_told(tmp_path: Path, content: bytes, end: str) -> None:
    path = tmp_path / f"a{end}"
    path.write_bytes(content)
    found, reasons, _ = read(path)
    assert found == []
    assert len(reasons) == (0 if end == ".ndjson" and not content else 1)


def test_a_file_that_goes_away_is_told(tmp_path: Path) -> None:
    for name in ("a.geojson", "a.ndjson"):
        found, [reason], _ = read(tmp_path / name)
        assert found == []
        assert "cannot be read: No such file" in reason


def test_folders_are_searched_at_any_depth(tmp_path: Path) -> None:
    out = tmp_path / "out.geojson"
    for name in ("b.geojson", "x/a.NDJSON", "x/y/c.json", "x/picture.png", "out.geojson", "labels.coco.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert files_in([tmp_path], out) == [tmp_path / "b.geojson", tmp_path / "x/a.NDJSON", tmp_path / "x/y/c.json"]
    assert files_in([out], out) == [out]
    assert files_in([tmp_path / "x/picture.png"], out) == [tmp_path / "x/picture.png"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(VectorFileError, match="holds no detections"):
        files_in([tmp_path / "empty"], out)
    with pytest.raises(VectorFileError, match="is not there"):
        files_in([tmp_path / "nowhere"], out)


def test_what_was_converted_is_not_found_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever it is called, and however the folder is; it is taken where it is named."""
    source = written(tmp_path / "in.ndjson", message(placed()))
    (tmp_path / "link").symlink_to(tmp_path)
    monkeypatch.chdir(tmp_path)
    for out in (Path("all.geojson"), Path("link/all.geojson"), Path("other.geojson")):
        assert files_in([tmp_path], out) == [source]
        assert write_features(out, read(source)[0]) == 1
    assert f"{tmp_path}/all.geojson was written by sam3edge convert and is left out; name it" in caplog.text
    assert len(read(tmp_path / "all.geojson")[0]) == 1
    assert files_in([Path("all.geojson")], Path("more.geojson")) == [Path("all.geojson")]
    source.unlink()
    with pytest.raises(VectorFileError, match="taken where they are named themselves"):
        files_in([tmp_path], Path("more.geojson"))


def test_other_outputs_are_known_by_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source, out = (written(tmp_path / name, message(placed())) for name in ("in.ndjson", "out.geojson"))
    (tmp_path / "deeper").mkdir()
    for spelling in (Path("out.geojson"), Path("deeper/../out.geojson"), out):
        assert files_in([tmp_path], spelling) == [source]
