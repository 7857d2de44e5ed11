"""Label files and folders of images become label events."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sam3edge_pipeline.datasets.formats import read_annotations
from sam3edge_pipeline.datasets.formats.annotations import ImageAnnotations
from sam3edge_pipeline.datasets.formats.coco import coco_of
from sam3edge_pipeline.datasets.importing import Imported, ImportRefused, import_labels
from support.labeled_images import HEIGHT, WIDTH, square, write_image


def imported(folder: Path, images: list[ImageAnnotations], **how: Any) -> Imported:
    file = folder / "labels.json"
    file.write_bytes(coco_of(images))
    return import_labels(read_annotations(file, "coco"), file, folder / "images", **how)


def labeled(name: str, *xs: float, phrase: str = "red") -> ImageAnnotations:
    return ImageAnnotations(name, WIDTH, HEIGHT, tuple(square(x, phrase) for x in xs))


def test_every_phrase_of_the_file_is_stated_of_every_image(tmp_path: Path) -> None:
    first, second = (write_image(tmp_path / "images" / f"{n}.png", 10 + n) for n in (0, 1))
    read = imported(tmp_path, [labeled("0.png", 10, 90), labeled("1.png", 11, phrase="blue")])
    said = {(event.image, event.phrase): event for event in read.events}
    assert said.keys() == {(i, p) for i in (first, second) for p in ("red", "blue")}
    assert [one.outline.bounds[0] for one in said[first, "red"].objects] == [10, 90]
    assert all(event.exhaustive for event in read.events)
    assert said[second, "red"].objects == ()
    assert {event.source for event in read.events} == {read.source.sha256}
    record, file = read.images[first]
    assert (record.width, record.height, record.suffix, record.origin) == (WIDTH, HEIGHT, ".png", "0.png")
    assert file == tmp_path / "images" / "0.png"


def test_what_a_model_has_proposed_is_exhaustive_of_nothing(tmp_path: Path) -> None:
    write_image(tmp_path / "images" / "0.png")
    [event] = imported(tmp_path, [labeled("0.png", 10)], exhaustive=(), approved=False).events
    assert not event.exhaustive
    assert not event.approved


def test_only_the_stated_phrases_are_exhaustive(tmp_path: Path) -> None:
    write_image(tmp_path / "images" / "0.png")
    events = imported(tmp_path, [labeled("0.png", 10)], exhaustive=("Green",)).events
    assert {(e.phrase, e.exhaustive, len(e.objects)) for e in events} == {("green", True, 0), ("red", False, 1)}


@pytest.mark.parametrize(
    "name", ["a/b.png", "s3://bucket/x/b.png", "../../b.png", "/etc/b.png", "abcd1234-b.png", "C:\\b.png"]
)
def test_images_are_found_by_path_or_by_name(tmp_path: Path, name: str) -> None:
    image = write_image(tmp_path / "images" / "a" / "b.png")
    assert list(imported(tmp_path, [labeled(name, 10)]).images) == [image]


def test_a_name_that_may_mean_two_images_is_refused(tmp_path: Path) -> None:
    for folder in ("a", "c"):
        write_image(tmp_path / "images" / folder / "b.png")
    with pytest.raises(ImportRefused, match=r"may be a/b\.png or c/b\.png"):
        imported(tmp_path, [labeled("b.png", 10)])


def test_links_that_lead_elsewhere_are_not_followed(tmp_path: Path) -> None:
    write_image(tmp_path / "secret.png")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").symlink_to(tmp_path / "secret.png")
    with pytest.raises(ImportRefused, match="is not below"):
        imported(tmp_path, [labeled("a.png", 10)])


def test_labels_of_another_image_are_refused(tmp_path: Path) -> None:
    write_image(tmp_path / "images" / "a.png")
    with pytest.raises(ImportRefused, match="640 x 480"):
        imported(tmp_path, [ImageAnnotations("a.png", 640, 480, ())])


def test_what_is_no_image_is_refused(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_text(json.dumps({}))
    with pytest.raises(ImportRefused, match=r"a\.png"):
        imported(tmp_path, [labeled("a.png", 10)])


def test_perceptual_hashes_are_kept(tmp_path: Path) -> None:
    image = write_image(tmp_path / "images" / "a.png")
    read = imported(tmp_path, [labeled("a.png", 10)], image_hash=lambda pixels: int(pixels.shape[0]))
    assert read.images[image][0].perceptual_hash == HEIGHT
