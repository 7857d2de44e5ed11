"""The style that QGIS loads: beside the file, or in the GeoPackage."""

from __future__ import annotations

import sqlite3
import xml.etree.ElementTree as ET
from contextlib import closing
from pathlib import Path

import pytest

from sam3edge.images.overlay import color_of
from sam3edge.vector.files import FeatureWriter, write_features
from sam3edge.vector.rows import row_of
from sam3edge.vector.style import MAX_LABELS, Labels, qml
from support.vector_files import FIELD, feature, names_in

ODD = ["dent", 'a "quoted" & <odd> é', "scratch"]
NAMED = sorted(ODD)


def colors(style: str) -> dict[str, tuple[str, str]]:
    """By value of the label: the colours inside and of the line, as text."""
    root = ET.fromstring(style)
    symbols = {}
    for symbol in root.findall("renderer-v2/symbols/symbol"):
        options = {option.attrib["name"]: option.attrib["value"] for option in symbol.findall("layer/Option/Option")}
        symbols[symbol.attrib["name"]] = options["color"], options["outline_color"]
    categories = root.findall("renderer-v2/categories/category")
    return {one.attrib["value"]: symbols[one.attrib["symbol"]] for one in categories}


def stored(path: Path) -> dict[str, str]:
    """By layer, the default style in a GeoPackage, found as QGIS looks for it (``QgsOgrProvider::loadStyle``)."""
    query = (
        "SELECT f_table_name, styleQML FROM layer_styles JOIN gpkg_geometry_columns "
        "ON table_name = f_table_name AND column_name = f_geometry_column WHERE useAsDefault = 1"
    )
    with closing(sqlite3.connect(path)) as database:
        return dict(database.execute(query).fetchall())


def test_each_label_has_the_colour_of_our_overlays_and_is_transparent() -> None:
    found = colors(qml(NAMED, "MultiPolygon"))
    assert list(found) == [*NAMED, ""]
    for label in ODD:
        blue, green, red = color_of(label, NAMED)
        assert found[label] == (f"{red},{green},{blue},64", f"{red},{green},{blue},255")
    assert len({line for _, line in found.values()}) == len(ODD) + 1


def test_label_and_score_are_shown() -> None:
    [text] = ET.fromstring(qml(NAMED, "MultiPolygon")).findall("labeling/settings/text-style")
    assert text.attrib["isExpression"] == "1"
    assert text.attrib["fieldName"] == 'concat("label", \' \', format_number("score", 2))'


@pytest.mark.parametrize("end", [".fgb", ".parquet", ".geojson"])
def test_the_style_is_beside_the_file(tmp_path: Path, end: str) -> None:
    write_features(tmp_path / f"found{end}", [feature(label, FIELD, label=label) for label in ODD])
    assert names_in(tmp_path) == [*sorted([f"found{end}", "found.qml"])]
    assert list(colors((tmp_path / "found.qml").read_text())) == [*NAMED, ""]


def test_the_style_is_in_the_geopackage(tmp_path: Path) -> None:
    path = tmp_path / "found.gpkg"
    write_features(path, [*(feature(label, FIELD, label=label) for label in ODD), feature("b", label="tree")])
    assert names_in(tmp_path) == ["found.gpkg"]
    styles = stored(path)
    assert list(colors(styles["detections"])) == [*NAMED, ""]
    assert list(colors(styles["detections_pixels"])) == ["tree", ""]


def test_labels_beyond_those_with_a_colour_share_one() -> None:
    labels = Labels()
    labels.see(row_of(feature(str(n), label=f"label {n:05}")) for n in range(MAX_LABELS * 10))
    labels.see([row_of(feature("x", label="label 00000"))])
    assert len(list(labels)) == MAX_LABELS
    assert len(colors(qml(labels, "MultiPolygon"))) == MAX_LABELS + 1


@pytest.mark.parametrize("end", [".fgb", ".parquet", ".geojson"])
def test_a_style_of_somebody_else_stays(tmp_path: Path, end: str, caplog: pytest.LogCaptureFixture) -> None:
    """One that QGIS saved over ours, too: it writes all of the file anew."""
    style = tmp_path / "found.qml"
    style.write_text("<!DOCTYPE qgis>\n<qgis/>\n")
    with FeatureWriter(tmp_path / f"found{end}") as writer:
        writer.write([feature("a", FIELD)])
    assert style.read_text() == "<!DOCTYPE qgis>\n<qgis/>\n"
    assert writer.files == (tmp_path / f"found{end}",)
    assert f"{style} is a style of your own and is left as it is" in caplog.text
    assert names_in(tmp_path) == sorted([f"found{end}", "found.qml"])


def test_a_style_of_ours_is_replaced(tmp_path: Path) -> None:
    for label in ("dent", "scratch"):
        write_features(tmp_path / "found.fgb", [feature("a", FIELD, label=label)])
    assert list(colors((tmp_path / "found.qml").read_text())) == ["scratch", ""]


def test_labels_that_xml_cannot_say_look_like_all_others(tmp_path: Path) -> None:
    odd = ["a\x01b", "\ufffe", "", "tab\tand\nline", "\U0001f600"]
    write_features(tmp_path / "found.fgb", [feature(str(n), FIELD, label=label) for n, label in enumerate(odd)])
    assert list(colors((tmp_path / "found.qml").read_text())) == ["tab\tand\nline", "\U0001f600", ""]
