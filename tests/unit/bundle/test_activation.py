"""Only a bundle that is whole and finds what it must becomes current; else the last good one stays."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from sam3edge.bundle.artifacts import BundleArtifacts
from sam3edge.bundle.golden import EXPECTED, IMAGE
from sam3edge.bundle.manifest import Manifest, describe_files, read_manifest, write_manifest
from sam3edge.bundle.proof import ProvenEngine
from sam3edge.bundle.signature import read_public_keys
from sam3edge.bundle.store import Store
from sam3edge.core.errors import BundleError, EngineError
from sam3edge.core.types import ModelFiles
from sam3edge.engines.fake import FakeEngine
from sam3edge.engines.onnx import OnnxOptions
from sam3edge.model.activation import activate, activate_kept
from sam3edge.proven import open_on_this_machine
from sam3edge_export.signing import new_key, sign_bundle

CPU = "CPUExecutionProvider"


def load(files: ModelFiles) -> ProvenEngine:
    return open_on_this_machine(files, OnnxOptions(providers=(CPU,)))


def remake_manifest(bundle: Path, **changes: object) -> None:
    """A manifest that fits the bundle's files again, as an attacker or a careless release would write it."""
    manifest = read_manifest(bundle)
    write_manifest(bundle, manifest.model_copy(update={"files": describe_files(bundle), **changes}))


def test_a_good_bundle_becomes_current(bundle: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    assert store.current() is None
    info = activate(BundleArtifacts((bundle,)), store, None, load).model
    current = store.current()
    assert current is not None
    assert info.digest == read_manifest(current).digest()
    assert info.provider == "CPUExecutionProvider"


def test_activating_again_changes_nothing(bundle: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    activate(BundleArtifacts((bundle,)), store, None, load)
    before = store.current()
    activate(BundleArtifacts((bundle,)), store, None, load)
    assert store.current() == before


def test_a_copy_that_decayed_is_made_again(bundle: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    activate(BundleArtifacts((bundle,)), store, None, load)
    current = store.current()
    assert current is not None
    with (current / "vision.onnx").open("r+b") as file:
        file.seek(1000)
        file.write(b"decay")
    activate(BundleArtifacts((bundle,)), store, None, load)
    assert store.current() == current
    assert (current / "vision.onnx").read_bytes() == (bundle / "vision.onnx").read_bytes()
    assert [p.name for p in (tmp_path / "store" / "bundles").iterdir()] == [current.name]


def test_a_decayed_copy_stays_when_what_was_delivered_is_no_better(bundle: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    activate(BundleArtifacts((bundle,)), store, None, load)
    current = store.current()
    assert current is not None
    (current / "vision.onnx").write_bytes(b"decay")
    (bundle / "vision.onnx").unlink()
    with pytest.raises(BundleError, match=r"vision\.onnx is missing"):
        activate(BundleArtifacts((bundle,)), store, None, load)
    assert store.current() == current
    assert (current / "vision.onnx").read_bytes() == b"decay"


def stale_score(bundle: Path) -> None:
    expected = json.loads((bundle / EXPECTED).read_text())
    expected["instances"][0]["score"] -= 0.2
    (bundle / EXPECTED).write_text(json.dumps(expected))


def missing_instance(bundle: Path) -> None:
    expected = json.loads((bundle / EXPECTED).read_text())
    del expected["instances"][0]
    (bundle / EXPECTED).write_text(json.dumps(expected))


def moved_box(bundle: Path) -> None:
    expected = json.loads((bundle / EXPECTED).read_text())
    expected["instances"][0]["box"] = [1, 1, 9, 9]
    (bundle / EXPECTED).write_text(json.dumps(expected))


def other_weights(bundle: Path) -> None:
    (bundle / "decoder.onnx").write_bytes((bundle / "masks.onnx").read_bytes())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (stale_score, "must score"),
        (missing_instance, "is found and must not be"),
        (moved_box, "must be found and is not"),
        (other_weights, "does not run on this device"),
    ],
)
def test_a_bundle_that_finds_something_else_is_refused_and_the_last_good_one_stays(
    bundle: Path, tmp_path: Path, change: object, says: str
) -> None:
    store = Store(tmp_path / "store")
    activate(BundleArtifacts((bundle,)), store, None, load)
    good = store.current()
    bad = shutil.copytree(bundle, tmp_path / "bad")
    assert callable(change)
    change(bad)
    remake_manifest(bad, version="9.0.0")
    with pytest.raises(BundleError, match=says):
        activate(BundleArtifacts((bad,)), store, None, load)
    assert store.current() == good
    assert [p.name for p in (tmp_path / "store" / "bundles").iterdir()] == [good.name if good else ""]


def test_an_engine_that_does_not_load_is_a_refused_bundle(bundle: Path, tmp_path: Path) -> None:
    def broken(files: ModelFiles) -> ProvenEngine:
        raise EngineError("no memory")

    with pytest.raises(BundleError, match="does not run on this device: no memory"):
        activate(BundleArtifacts((bundle,)), Store(tmp_path / "store"), None, broken)


def test_the_engine_of_the_golden_run_is_closed(bundle: Path, tmp_path: Path) -> None:
    engine = FakeEngine()
    activate(BundleArtifacts((bundle,)), Store(tmp_path / "store"), None, lambda files: ProvenEngine(engine))
    assert engine.closed


def test_old_bundles_go_and_the_one_before_stays(bundle: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store", keep=1)
    for version in ("1.0.1", "1.0.2", "1.0.3"):
        remake_manifest(bundle, version=version)
        manifest = read_manifest(bundle)
        store.activate(store.install(BundleArtifacts((bundle,)), manifest))
    names = sorted(p.name.split("-")[-2] for p in (tmp_path / "store" / "bundles").iterdir())
    assert names == ["1.0.2", "1.0.3"]
    current = store.current()
    assert current is not None
    assert "1.0.3" in current.name


def test_a_copy_that_was_cut_off_is_cleaned_up(bundle: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    leftover = tmp_path / "store" / "bundles" / ".staging-dead"
    leftover.mkdir(parents=True)
    store.activate(store.install(BundleArtifacts((bundle,)), read_manifest(bundle)))
    assert not leftover.exists()


def test_a_bundle_that_nobody_vouches_for_is_not_even_copied(bundle: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    keys = read_public_keys(new_key(tmp_path / "key.pem").public_key_pem())
    with pytest.raises(BundleError, match="is not signed"):
        activate(BundleArtifacts((bundle,)), store, keys, load)
    assert not (tmp_path / "store").exists()


def test_keys_can_be_changed_with_the_same_bundle_signed_again(bundle: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    old, new = new_key(tmp_path / "old.pem"), new_key(tmp_path / "new.pem")
    activate(BundleArtifacts((bundle,)), store, None, load)
    for signer in (old, new):
        sign_bundle(bundle, signer)
        activate(BundleArtifacts((bundle,)), store, read_public_keys(signer.public_key_pem()), load)
        current = store.current()
        assert current is not None
        assert read_manifest(current).signature == read_manifest(bundle).signature


def test_a_bundle_that_has_no_room_is_refused_with_figures(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1_000_000))
    with pytest.raises(BundleError, match=r"takes \d+ MB beside .* has 1 MB left; free \d+ MB"):
        activate(BundleArtifacts((bundle,)), Store(tmp_path / "store"), None, load)


def as_json(bundle: Path, change: Callable[[dict[str, Any]], None]) -> None:
    expected = json.loads((bundle / EXPECTED).read_text())
    change(expected)
    (bundle / EXPECTED).write_text(json.dumps(expected))
    remake_manifest(bundle)


def no_prompts(expected: dict[str, Any]) -> None:
    expected["prompts"], expected["instances"] = [], []


def no_instances(expected: dict[str, Any]) -> None:
    expected["instances"] = []


def threshold_is_nan(expected: dict[str, Any]) -> None:
    expected["threshold"] = float("nan")


def scores_are_nan(expected: dict[str, Any]) -> None:
    for instance in expected["instances"]:
        instance["score"] = float("nan")


def boxes_are_infinite(expected: dict[str, Any]) -> None:
    for instance in expected["instances"]:
        instance["box"][2] = float("inf")


@pytest.mark.parametrize("change", [no_prompts, no_instances, threshold_is_nan, scores_are_nan, boxes_are_infinite])
def test_a_golden_result_that_proves_nothing_is_refused(
    bundle: Path, tmp_path: Path, change: Callable[[dict[str, Any]], None]
) -> None:
    as_json(bundle, change)
    with pytest.raises(BundleError, match="not a golden result"):
        activate(BundleArtifacts((bundle,)), Store(tmp_path / "store"), None, load)
    assert not list((tmp_path / "store" / "bundles").iterdir())


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("prompts.npz", b"PK\x03\x04 this is not an archive"),
        ("prompts.npz", b""),
        ("vision.onnx", b"\x08\x07"),
        (IMAGE, b"\x89PNG\r\n\x1a\n"),
        (IMAGE, b"not an image"),
        (EXPECTED, b"[" * 100_000),
        (EXPECTED, b"\xff\xfe"),
    ],
)
def test_a_broken_file_is_a_refused_bundle_that_leaves_nothing_behind(
    bundle: Path, tmp_path: Path, name: str, content: bytes
) -> None:
    (bundle / name).write_bytes(content)
    remake_manifest(bundle)
    with pytest.raises(BundleError):
        activate(BundleArtifacts((bundle,)), Store(tmp_path / "store"), None, load)
    assert not list((tmp_path / "store" / "bundles").iterdir())


def test_a_monstrous_golden_image_is_refused_by_its_header(bundle: Path, tmp_path: Path) -> None:
    """16,000 x 16,000 pixels of one colour: 1 MB of PNG, 768 MB of memory."""
    encoded = cv2.imencode(".png", np.zeros((16_000, 16_000), np.uint8))[1]
    (bundle / IMAGE).write_bytes(encoded.tobytes())
    remake_manifest(bundle)
    with pytest.raises(BundleError, match="at most 4000000 pixels"):
        activate(BundleArtifacts((bundle,)), Store(tmp_path / "store"), None, load)


@pytest.mark.parametrize("value", ["ünsigned", "\ud800", "", "====", "x" * 900])
def test_a_signature_that_is_no_base64_is_a_refused_bundle(bundle: Path, tmp_path: Path, value: str) -> None:
    signer = new_key(tmp_path / "key.pem")
    keys = read_public_keys(signer.public_key_pem())
    sign_bundle(bundle, signer)
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["signature"]["value"] = value
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError):
        activate(BundleArtifacts((bundle,)), Store(tmp_path / "store"), keys, load)


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"name": "' + b"x" * (17 << 20) + b'"}', b"\xff", b"null"])
def test_a_monstrous_manifest_is_a_refused_bundle(bundle: Path, tmp_path: Path, content: bytes) -> None:
    (bundle / "manifest.json").write_bytes(content)
    with pytest.raises(BundleError):
        activate(BundleArtifacts((bundle,)), Store(tmp_path / "store"), None, load)


def test_room_is_made_by_what_nobody_uses(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "store", keep=1)
    for version in ("1.0.0", "2.0.0"):
        remake_manifest(bundle, version=version)
        activate(BundleArtifacts((bundle,)), store, None, load)
    bundles = tmp_path / "store" / "bundles"
    assert len(list(bundles.iterdir())) == 2
    usage = shutil.disk_usage(tmp_path)
    size = sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file())

    def room_for_two(path: object) -> object:
        return usage._replace(free=int(2.5 * size) - size * len([p for p in bundles.iterdir() if p.name[0] != "."]))

    monkeypatch.setattr(shutil, "disk_usage", room_for_two)
    remake_manifest(bundle, version="3.0.0")
    activate(BundleArtifacts((bundle,)), store, None, load)
    current = store.current()
    assert current is not None
    assert "3.0.0" in current.name
    assert "1.0.0" not in " ".join(p.name for p in bundles.iterdir())


def test_the_old_copy_stays_until_the_new_one_is_whole(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "store")
    activate(BundleArtifacts((bundle,)), store, None, load)
    current = store.current()
    assert current is not None
    copy_to = BundleArtifacts.copy_to

    def watched(self: BundleArtifacts, target: Path, manifest: Manifest) -> None:
        assert (current / "manifest.json").exists()
        copy_to(self, target, manifest)
        assert (current / "manifest.json").exists()

    monkeypatch.setattr(BundleArtifacts, "copy_to", watched)
    (current / "vision.onnx").write_bytes(b"decay")
    activate(BundleArtifacts((bundle,)), store, None, load)
    assert (current / "vision.onnx").read_bytes() == (bundle / "vision.onnx").read_bytes()


def newer(bundle: Path, out: Path) -> Path:
    """The same graphs as another version."""
    shutil.copytree(bundle, out)
    remake_manifest(out, version="9.9.9")
    return out


def test_the_bundle_before_is_activated_from_the_store_alone(bundle: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    first = read_manifest(bundle).digest()
    activate(BundleArtifacts((bundle,)), store, None, load)
    activate(BundleArtifacts((newer(bundle, tmp_path / "newer"),)), store, None, load)
    shutil.rmtree(bundle)  # as the nucleus deletes versions that it does not need
    assert activate_kept(first, store, None, load).model.digest == first
    current = store.current()
    assert current is not None
    assert read_manifest(current).digest() == first
    assert activate_kept(read_manifest(tmp_path / "newer").digest(), store, None, load).model.version == "9.9.9"


def test_a_bundle_that_was_not_kept_is_refused_and_nothing_changes(bundle: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    activate(BundleArtifacts((bundle,)), store, None, load)
    current = store.current()
    with pytest.raises(BundleError, match="has not kept it; deploy the version"):
        activate_kept("sha256:" + "0" * 64, store, None, load)
    assert store.current() == current


def test_a_kept_bundle_that_decayed_is_refused_and_nothing_changes(bundle: Path, tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    first = read_manifest(bundle).digest()
    activate(BundleArtifacts((bundle,)), store, None, load)
    activate(BundleArtifacts((newer(bundle, tmp_path / "newer"),)), store, None, load)
    current, kept = store.current(), store.find(first)
    assert kept is not None
    (kept / "vision.onnx").write_bytes(b"decay")
    with pytest.raises(BundleError, match=r"vision\.onnx"):
        activate_kept(first, store, None, load)
    assert store.current() == current
