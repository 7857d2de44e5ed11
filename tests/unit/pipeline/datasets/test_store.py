"""Dataset versions: stored once, opened as they were stored, refused when they were changed."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from sam3edge_pipeline.datasets.storage import (
    AlreadyStored,
    DatasetError,
    FolderStorage,
    S3Storage,
    Storage,
    storage_at,
)
from sam3edge_pipeline.datasets.store import LABELS, MANIFEST, Source, extended, open_dataset, write_dataset
from sam3edge_pipeline.datasets.table import to_parquet
from support.labeled_images import at, dataset, event, record, square, write_image

SOURCE = Source(kind="file", name="labels.json", sha256="cd" * 32)


@pytest.fixture(params=["folder", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Storage]:
    """Where one version is to be."""
    if request.param == "folder":
        yield FolderStorage(tmp_path / "versions" / "1")
        return
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        bucket = f"bucket-{uuid.uuid4()}"
        client.create_bucket(Bucket=bucket)
        yield S3Storage(client, bucket, "datasets/line/1", tmp_path / "cache")


def test_a_version_is_opened_as_it_was_stored(storage: Storage, tmp_path: Path) -> None:
    made = dataset(tmp_path)
    manifest = write_dataset(made, storage, "line", "1.0.0", sources=[SOURCE])
    opened = open_dataset(storage)
    assert opened.manifest == manifest
    assert manifest.examples == {"train": 1, "validation": 0, "test": 2}
    assert manifest.sources == (SOURCE,)
    assert opened.events == made.events
    assert opened.splits == made.splits
    for one, other in zip(opened.examples, made.examples, strict=True):
        assert replace(one, image=other.image) == other
        assert one.image.read_bytes() == other.image.read_bytes()
        assert one.absent == ("blue",)
        assert set(one.exhaustive) == {"red", "blue"}


def test_a_version_is_stored_once(storage: Storage, tmp_path: Path) -> None:
    first = write_dataset(dataset(tmp_path / "a", 2), storage, "line", "1")
    with pytest.raises(AlreadyStored, match="choose a new version"):
        write_dataset(dataset(tmp_path / "b", 3), storage, "line", "1")
    assert open_dataset(storage).manifest == first


def test_an_interrupted_write_can_be_repeated_but_not_mixed(storage: Storage, tmp_path: Path) -> None:
    made = dataset(tmp_path / "a", 2)
    table = to_parquet({i: r for i, (r, _) in made.images.items()}, made.events, made.splits)
    storage.write(LABELS, table)
    with pytest.raises(AlreadyStored):
        write_dataset(dataset(tmp_path / "b", 3), storage, "line", "1")
    assert not storage.has(MANIFEST)
    write_dataset(made, storage, "line", "1")
    assert len(open_dataset(storage).examples) == 2


def test_of_two_writers_of_one_name_the_first_succeeds(storage: Storage) -> None:
    storage.write("labels.parquet", b"one")
    storage.write("labels.parquet", b"one")
    with pytest.raises(AlreadyStored):
        storage.write("labels.parquet", b"two")
    assert storage.read("labels.parquet", 10) == b"one"
    with pytest.raises(DatasetError, match="at most 2 bytes"):
        storage.read("labels.parquet", 2)


@pytest.mark.parametrize("key", ["../x", "/x", "a/../x", "", "a//b", ".x", "a\n", "a\\..\\b"])
def test_keys_stay_below_their_place(storage: Storage, key: str) -> None:
    for use in (lambda: storage.write(key, b""), lambda: storage.read(key, 1), lambda: storage.local(key)):
        with pytest.raises(DatasetError, match="relative name"):
            use()


def test_what_is_missing_is_said(storage: Storage) -> None:
    with pytest.raises(DatasetError, match=r"manifest\.json"):
        open_dataset(storage)


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    made = dataset(tmp_path / "images")
    for name in ("a", "b"):
        shuffled = replace(made, events=tuple(reversed(made.events)), images=dict(reversed(made.images.items())))
        write_dataset(made if name == "a" else shuffled, FolderStorage(tmp_path / name), "line", "1", sources=[SOURCE])
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert len(files) == 5
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_changes_are_noticed(tmp_path: Path) -> None:
    storage = FolderStorage(tmp_path / "v")
    write_dataset(dataset(tmp_path / "images"), storage, "line", "1")
    image = next((tmp_path / "v" / "images").iterdir())
    for file, change in (
        (image, lambda data: data[:-1] + b"x"),
        (tmp_path / "v" / LABELS, lambda data: data[:-9] + b"x" + data[-8:]),
        (tmp_path / "v" / MANIFEST, lambda data: data.replace(b'"test": 2', b'"test": 3')),
        (tmp_path / "v" / MANIFEST, lambda data: data[: len(data) // 2]),
    ):
        before = file.read_bytes()
        file.write_bytes(change(before))
        with pytest.raises(DatasetError, match=file.name):
            open_dataset(tmp_path / "v")
        file.write_bytes(before)
    assert open_dataset(str(tmp_path / "v")).manifest is not None


def test_images_of_others_are_copied_and_not_linked(tmp_path: Path) -> None:
    made = dataset(tmp_path / "images")
    write_dataset(made, FolderStorage(tmp_path / "v"), "line", "1")
    for path in (tmp_path / "images").iterdir():
        path.write_bytes(b"edited in place")
    assert len(open_dataset(tmp_path / "v").examples) == 3


def test_an_image_that_is_not_what_its_id_says_is_refused(tmp_path: Path) -> None:
    made = dataset(tmp_path / "images")
    (tmp_path / "images" / "0.png").write_bytes(b"other")
    with pytest.raises(DatasetError, match=r"0\.png"):
        write_dataset(made, FolderStorage(tmp_path / "v"), "line", "1")
    assert not (tmp_path / "v" / MANIFEST).exists()


class TestHistory:
    """A new version is a parent and events; labels of any time can be told."""

    def grown(self, folder: Path) -> tuple[Path, str]:
        path = folder / "images" / "a.png"
        image = write_image(path)
        images, splits = {image: (record(path, image), path)}, {image: "train"}
        first = extended(None, images, [event(image, 9, 100, 200), event(image, 9, phrase="blue")], splits)  # type: ignore[arg-type]
        parent = write_dataset(first, FolderStorage(folder / "1"), "line", "1")
        later = [event(image, 11, 100), event(image, 12, 5, approved=False)]
        second = extended(open_dataset(folder / "1"), {}, later, splits)  # type: ignore[arg-type]
        write_dataset(second, FolderStorage(folder / "2"), "line", "2", parent)
        return folder / "2", image

    def test_a_later_approved_event_replaces_an_earlier_one(self, tmp_path: Path) -> None:
        place, _ = self.grown(tmp_path)
        opened = open_dataset(place)
        assert opened.manifest is not None
        assert opened.manifest.parent is not None
        assert opened.manifest.parent.digest == open_dataset(tmp_path / "1").manifest.digest  # type: ignore[union-attr]
        [example] = opened.examples
        assert example.objects == (square(100),)
        assert example.absent == ("blue",)

    def test_labels_as_of_a_time(self, tmp_path: Path) -> None:
        place, _ = self.grown(tmp_path)
        opened = open_dataset(place)
        assert opened.as_of(at(8)) == ()
        assert opened.as_of(at(10))[0].objects == (square(100), square(200))
        assert opened.as_of(at(11))[0].objects == (square(100),)
        assert opened.as_of(at(10)) == tuple(
            replace(e, image=opened.examples[0].image) for e in open_dataset(tmp_path / "1").examples
        )

    def test_an_earlier_event_that_arrives_late_replaces_nothing(self, tmp_path: Path) -> None:
        place, image = self.grown(tmp_path)
        again = extended(open_dataset(place), {}, [event(image, 10, 7)], {image: "train"})
        assert again.examples[0].objects == (square(100),)
        assert again.as_of(at(10))[0].objects == (square(7),)

    def test_a_statement_can_be_withdrawn(self, tmp_path: Path) -> None:
        place, image = self.grown(tmp_path)
        withdrawn = replace(event(image, 13), exhaustive=False)
        write_dataset(
            extended(open_dataset(place), {}, [withdrawn], {image: "train"}), FolderStorage(tmp_path / "3"), "line", "3"
        )
        [example] = open_dataset(tmp_path / "3").examples
        assert example.objects == ()
        assert example.exhaustive == ("blue",)

    def test_repeated_events_change_nothing(self, tmp_path: Path) -> None:
        place, image = self.grown(tmp_path)
        opened = open_dataset(place)
        again = extended(opened, {}, [event(image, 11, 100)], {image: "train"})
        assert again.events == opened.events

    def test_events_of_unknown_images_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetError, match="labels of 1 images"):
            extended(None, {}, [event("ab" * 32, 9)], {})


@pytest.mark.parametrize(
    ("name", "version"), [("Line", "1"), ("line", "1.2.3.4"), ("../x", "1"), ("line", "v1"), ("", "1")]
)
def test_names_and_versions_are_checked(tmp_path: Path, name: str, version: str) -> None:
    with pytest.raises(DatasetError, match="expected a name"):
        write_dataset(dataset(tmp_path, 1), FolderStorage(tmp_path / "v"), name, version)


def test_addresses(tmp_path: Path) -> None:
    assert storage_at(tmp_path).place == str(tmp_path)
    assert storage_at("s3://bucket/a/b/", tmp_path, client=object()).place == "s3://bucket/a/b"
    for place, cache in (("s3:///a", tmp_path), ("s3://b/a?x=1", tmp_path), ("s3://b/a", None)):
        with pytest.raises(DatasetError):
            storage_at(place, cache, client=object())
