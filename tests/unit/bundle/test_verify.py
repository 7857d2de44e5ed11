"""A bundle that is not exactly what was released is refused, and the message says what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sam3edge.bundle.manifest import MANIFEST, read_manifest, write_manifest
from sam3edge.bundle.verify import verify
from sam3edge.core.errors import BundleError


def flip_a_bit(root: Path) -> None:
    path = root / "vision.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def truncate(root: Path) -> None:
    path = root / "decoder.onnx"
    path.write_bytes(path.read_bytes()[:-1])


def rename(root: Path) -> None:
    (root / "masks.onnx").rename(root / "mask.onnx")


def add_a_file(root: Path) -> None:
    (root / "extra.so").write_bytes(b"x")


def link_elsewhere(root: Path) -> None:
    target = root.parent / "prompts.npz"
    (root / "prompts.npz").rename(target)
    (root / "prompts.npz").symlink_to(target)


def change_manifest(**members: Any) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        body = json.loads((root / MANIFEST).read_text())
        (root / MANIFEST).write_text(json.dumps({**body, **members}))

    return change


def lose_manifest(root: Path) -> None:
    (root / MANIFEST).unlink()


def cut_manifest(root: Path) -> None:
    (root / MANIFEST).write_text((root / MANIFEST).read_text()[:100])


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (flip_a_bit, "vision.onnx does not have the digest"),
        (truncate, "decoder.onnx has .* bytes where the manifest says"),
        (rename, "mask.onnx', which its manifest does not name"),
        (add_a_file, "extra.so"),
        (link_elsewhere, "prompts.npz is missing"),
        (change_manifest(version="1.0"), "version"),
        (change_manifest(name="../x"), "name"),
        (change_manifest(surprise=1), "surprise"),
        (change_manifest(family="sam4"), "family"),
        (change_manifest(score_rule="sigmoid(logit)"), "score_rule"),
        (change_manifest(files={"../../etc/passwd": {"size": 0, "sha256": "0" * 64}}), "not a path inside"),
        (change_manifest(files={"vision.onnx": {"size": 0, "sha256": "0" * 64}}), "missing"),
        (lose_manifest, "cannot be read"),
        (cut_manifest, "is not a manifest"),
    ],
)
def test_damage_is_refused(bundle: Path, damage: Callable[[Path], None], says: str) -> None:
    damage(bundle)
    with pytest.raises(BundleError, match=says):
        verify(bundle, None)


def test_the_released_bundle_is_accepted(demo_bundle: Path) -> None:
    manifest = verify(demo_bundle, None)
    assert manifest.digest().startswith("sha256:")


def test_the_family_is_part_of_the_identity_and_absent_where_it_was_before_there_were_two(bundle: Path) -> None:
    """A bundle of SAM 3 keeps the digest, and with it the signature, that it had before."""
    before = read_manifest(bundle)
    assert before.family == "sam3"
    assert "family" not in before.model_dump(mode="json")
    write_manifest(bundle, before.model_copy(update={"family": "sam3.1"}))
    after = verify(bundle, None)
    assert after.family == "sam3.1"
    assert after.digest() != before.digest()
    assert json.loads((bundle / MANIFEST).read_text())["family"] == "sam3.1"
