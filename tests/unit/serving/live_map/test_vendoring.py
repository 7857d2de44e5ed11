"""The page's libraries are what their authors have published, with their licences."""

from __future__ import annotations

import re

from sam3edge_serving.live_map.vendoring import VENDOR, read_manifest, sha256_of

MANIFEST = read_manifest()


def test_every_file_is_the_one_that_the_manifest_names() -> None:
    named = {f"{package}/{file}": entry for package, said in MANIFEST.items() for file, entry in said["files"].items()}
    there = {path.relative_to(VENDOR).as_posix(): path for path in VENDOR.rglob("*") if path.is_file()}
    assert set(there) == {*named, "manifest.json"}
    for path, entry in named.items():
        assert sha256_of(there[path]) == entry["sha256"], path


def test_every_package_has_its_version_and_licence() -> None:
    for name, said in MANIFEST.items():
        assert re.fullmatch(r"\d+\.\d+\.\d+", said["version"]), name
        assert said["integrity"].startswith("sha512-")
        licences = [file for file in said["files"] if file.startswith("LICENSE")]
        assert licences, name
        for file in licences:
            assert "copyright" in (VENDOR / name / file).read_text().lower()


def test_files_say_the_version_that_the_manifest_says() -> None:
    for name, file in (("maplibre-gl", "maplibre-gl.mjs"), ("uplot", "uPlot.esm.js")):
        assert MANIFEST[name]["version"] in (VENDOR / name / file).read_text()[:400]
