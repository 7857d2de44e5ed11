"""A bundle that came in several artifacts is put together as it was; one that is not whole is refused, and why."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sam3edge.bundle.artifacts import BundleArtifacts, chunk_name, find_artifacts
from sam3edge.bundle.manifest import Manifest, read_manifest
from sam3edge.bundle.store import Store
from sam3edge.bundle.verify import verify
from sam3edge.core.errors import BundleError


@pytest.fixture
def unpacked(bundle: Path, tmp_path: Path) -> Path:
    """``masks.onnx`` in three chunks, over three folders; the manifest in the last."""
    folder = tmp_path / "unpacked"
    for number in range(3):
        (folder / f"bundle-{number}").mkdir(parents=True)
    (folder / "sam3edge-model").mkdir()
    content = (bundle / "masks.onnx").read_bytes()
    third = len(content) // 3
    cuts = [content[:third], content[third : 2 * third], content[2 * third :]]
    for number, cut in enumerate(cuts):
        (folder / f"bundle-{number}" / chunk_name("masks.onnx", number)).write_bytes(cut)
    (bundle / "masks.onnx").unlink()
    shutil.move(bundle / "vision.onnx", folder / "bundle-0")
    shutil.move(bundle / "golden", folder / "bundle-1")
    shutil.copytree(bundle, folder / "bundle-2", dirs_exist_ok=True)
    return folder


def put_together(unpacked: Path, target: Path) -> Manifest:
    artifacts = find_artifacts(unpacked)
    target.mkdir()
    artifacts.copy_to(target, artifacts.manifest())
    return verify(target, None)


def test_it_is_put_together_as_it_was(unpacked: Path, tmp_path: Path, demo_bundle: Path) -> None:
    before = sorted(p.stat().st_size for p in unpacked.rglob("*"))
    assert put_together(unpacked, tmp_path / "whole") == read_manifest(demo_bundle)
    assert sorted(p.stat().st_size for p in unpacked.rglob("*")) == before


def test_one_folder_is_a_shipment_too(bundle: Path, tmp_path: Path) -> None:
    assert find_artifacts(tmp_path).folders == (bundle,)
    assert put_together(tmp_path, tmp_path / "whole") == read_manifest(bundle)


def test_what_is_no_folder_of_a_bundle_is_left_alone(tmp_path: Path) -> None:
    for name in ("bundle-x", "bundle-1.old", "sam3edge-model"):
        (tmp_path / name).mkdir()
    (tmp_path / "bundle").write_bytes(b"")
    with pytest.raises(BundleError, match="expected a folder 'bundle'"):
        find_artifacts(tmp_path)


def lose_a_folder(unpacked: Path) -> None:
    shutil.rmtree(unpacked / "bundle-0")


def lose_the_folder_of_the_manifest(unpacked: Path) -> None:
    shutil.rmtree(unpacked / "bundle-2")


def lose_a_chunk(unpacked: Path) -> None:
    (unpacked / "bundle-1" / "masks.onnx.part-001").unlink()


def lose_the_last_chunk(unpacked: Path) -> None:
    (unpacked / "bundle-2" / "masks.onnx.part-002").unlink()


def cut_a_chunk(unpacked: Path) -> None:
    path = unpacked / "bundle-1" / "masks.onnx.part-001"
    path.write_bytes(path.read_bytes()[:-1])


def leave_an_old_folder(unpacked: Path) -> None:
    (unpacked / "bundle").mkdir()
    shutil.copy(unpacked / "bundle-0" / "vision.onnx", unpacked / "bundle")


def add_a_file(unpacked: Path) -> None:
    (unpacked / "bundle-1" / "golden" / "extra.so").write_bytes(b"x")


def add_a_chunk_of_nothing(unpacked: Path) -> None:
    (unpacked / "bundle-1" / "extra.so.part-000").write_bytes(b"x")


def link_elsewhere(unpacked: Path) -> None:
    path = unpacked / "bundle-0" / "vision.onnx"
    path.symlink_to(path.rename(unpacked / "vision.onnx"))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lose_a_folder, "a chunk of masks.onnx is missing from bundle-1, bundle-2"),
        (lose_the_folder_of_the_manifest, "manifest.json cannot be read"),
        (lose_a_chunk, "a chunk of masks.onnx is missing"),
        (lose_the_last_chunk, "masks.onnx has .* bytes where the manifest says"),
        (cut_a_chunk, "masks.onnx has .* bytes where the manifest says"),
        (leave_an_old_folder, "vision.onnx is in bundle, bundle-0, bundle-1, bundle-2 more than once"),
        (add_a_file, "bundle-1 holds 'golden/extra.so', which its manifest does not name"),
        (add_a_chunk_of_nothing, "bundle-1 holds 'extra.so.part-000', which its manifest does not name"),
        (link_elsewhere, "bundle-0 holds 'vision.onnx', which its manifest does not name"),
    ],
)
def test_damage_is_refused_before_anything_is_copied(
    unpacked: Path, tmp_path: Path, damage: Callable[[Path], None], says: str
) -> None:
    damage(unpacked)
    store = Store(tmp_path / "store")
    artifacts = find_artifacts(unpacked)
    with pytest.raises(BundleError, match=says):
        store.install(artifacts, artifacts.manifest())
    assert not [p for p in (tmp_path / "store").rglob("*") if p.is_file() or p.name.startswith(".staging-")]


def test_swapped_chunks_are_joined_and_then_refused_by_their_digest(unpacked: Path, tmp_path: Path) -> None:
    one, two = (unpacked / f"bundle-{i}" / f"masks.onnx.part-00{i}" for i in (0, 1))
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    with pytest.raises(BundleError, match=r"masks\.onnx does not have the digest"):
        put_together(unpacked, tmp_path / "whole")


def test_a_file_whose_own_name_looks_like_a_chunk_stays_whole(bundle: Path, tmp_path: Path) -> None:
    manifest = read_manifest(bundle)
    (bundle / "LICENSE.txt").rename(bundle / "LICENSE.txt.part-000")
    files = {**manifest.files, "LICENSE.txt.part-000": manifest.files["LICENSE.txt"]}
    del files["LICENSE.txt"]
    target = tmp_path / "target"
    target.mkdir()
    BundleArtifacts((bundle,)).copy_to(target, manifest.model_copy(update={"files": files}))
    assert (target / "LICENSE.txt.part-000").is_file()
