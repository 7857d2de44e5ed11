"""Tables of control points as people write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from sam3edge.core.errors import GeoreferenceError
from sam3edge.geo.control_points import MAX_POINTS, ControlPoint, read_control_points

HEAD = "name,x,y,longitude,latitude\n"


def table(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "points.csv"
    path.write_text(text)
    return path


def refused(tmp_path: Path, text: str) -> str:
    with pytest.raises(GeoreferenceError) as caught:
        read_control_points(table(tmp_path, text))
    return str(caught.value)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_commas_semicolons_and_tabs_separate(separator: str, tmp_path: Path) -> None:
    text = (HEAD + "kerb,412.5,880,13.4,52.5\n").replace(",", separator)
    assert read_control_points(table(tmp_path, text)) == [ControlPoint(412.5, 880, 13.4, 52.5, "kerb")]


def test_more_points_than_are_fitted_are_refused_and_none_is_dropped(tmp_path: Path) -> None:
    rows = "".join(f"p{n},{n},{n},13,52\n" for n in range(MAX_POINTS))
    assert len(read_control_points(table(tmp_path, HEAD + rows))) == MAX_POINTS
    assert f"at most {MAX_POINTS} control points" in refused(tmp_path, HEAD + rows + "p,1,2,13,52\n")


def test_longitudes_may_be_counted_to_360(tmp_path: Path) -> None:
    [one, other] = read_control_points(table(tmp_path, HEAD + "a,1,2,359.5,52\nb,1,2,180,52\n"))
    assert (one.longitude, other.longitude) == (-0.5, 180)


@pytest.mark.parametrize(("longitude", "latitude"), [("391000", "5820000"), ("-181", "0"), ("361", "0"), ("0", "90.1")])
def test_what_is_not_in_degrees_is_refused_with_its_line(longitude: str, latitude: str, tmp_path: Path) -> None:
    said = refused(tmp_path, f"{HEAD}a,1,2,13,52\nb,3,4,{longitude},{latitude}\n")
    assert "expected longitude and latitude in degrees in line 3" in said
    assert "EPSG:4326" in said


def test_lines_are_numbered_as_in_the_file(tmp_path: Path) -> None:
    text = f"# of May\n\n{HEAD}a,1,2,13,52\n# the next one is doubtful\n\nb,3,four,13,52\n"
    assert "in line 7 of" in refused(tmp_path, text)


def test_what_people_get_wrong_is_refused_with_what_to_do(tmp_path: Path) -> None:
    semicolons = HEAD.replace(",", ";")
    assert "write decimal points, not commas" in refused(tmp_path, semicolons + "a;1,5;2;13,4;52,5\n")
    assert "write decimal points" in refused(tmp_path, HEAD + "a,1,5,2,0,13,4,52,5\n")
    assert read_control_points(table(tmp_path, HEAD + "a,1,5,13,52,,\n"))  # as Excel ends lines
    assert "expected four finite numbers in line 2" in refused(tmp_path, HEAD + "a,nan,2,13,52\n")
    assert "cannot be read as a table" in refused(tmp_path, HEAD + '"' + "a" * 200_000 + '",1,2,13,52\n')
    qgis = "mapX,mapY,sourceX,sourceY,enable,dX,dY,residual\n13,52,4,-5,1,0,0,0\n"
    assert "y is -sourceY" in refused(tmp_path, "#CRS: GEOGCRS\n" + qgis)
    assert "is empty" in refused(tmp_path, "# nothing\n\n")
