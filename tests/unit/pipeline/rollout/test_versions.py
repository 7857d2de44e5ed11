"""Which component versions are new, what they are called, and what a deployment says forth and back."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from moto import mock_aws

import sam3edge
from sam3edge.bundle.manifest import Signature, read_manifest, write_manifest
from sam3edge.core.errors import BundleError
from sam3edge_pipeline.greengrass_build.build import content_digest
from sam3edge_pipeline.registry.packages import Package
from sam3edge_pipeline.rollout.deployments import (
    MODEL,
    Deployed,
    DeploymentError,
    DeploymentPolicy,
    Nucleus,
    Progress,
    back_by_store,
    back_by_version,
    create,
    deployment_name,
    forward,
    wanted,
)
from sam3edge_pipeline.rollout.publish import Publisher, PublishError
from sam3edge_pipeline.rollout.versions import CONTENT_TAG, VersionError, component_arn, next_version
from sam3edge_simulator.greengrass_cloud import REGION, GreengrassCloud, group_arn

SEGMENTER, UPLOADER = "com.sam3edge.Segmenter", "com.sam3edge.Uploader"
NUCLEUS = Nucleus("aws.greengrass.Nucleus", "2.18.1")
OLD = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("wanted", "published", "expected"),
    [
        ("1.0.0", [], "1.0.0"),
        ("1.1.0", ["1.0.0", "0.9.9"], "1.1.0"),
        ("1.0.0", ["1.0.0"], "1.0.1"),
        ("1.0.0", ["1.0.9", "1.0.10"], "1.0.11"),
        ("1.0.0", ["2.3.4"], "2.3.5"),
        ("1.0.0", ["1.0.0-rc.1"], "1.0.0"),
        ("1.0.0", ["1.0.999999"], "1.1.0"),
    ],
)
def test_the_next_version(wanted: str, published: list[str], expected: str) -> None:
    assert next_version(wanted, published) == expected


versions = st.tuples(*[st.integers(0, 999_999)] * 3).map(lambda parts: ".".join(map(str, parts)))


@given(wanted=versions, published=st.lists(versions, max_size=5))
def test_the_next_version_is_new_and_the_newest(wanted: str, published: list[str]) -> None:
    def key(text: str) -> tuple[int, ...]:
        return tuple(map(int, text.split(".")))

    try:
        found = next_version(wanted, published)
    except VersionError:
        assert any(one.endswith(".999999.999999") for one in published)
        return
    assert all(key(found) > key(one) for one in published)
    assert key(found) >= key(wanted)


def test_what_is_no_version_and_no_thing_group_is_refused() -> None:
    with pytest.raises(VersionError, match=r"1\.2\.3"):
        next_version("latest", [])
    with pytest.raises(VersionError, match="thing group"):
        component_arn("arn:aws:iot:eu-west-1:123456789012:thing/x", MODEL)
    assert component_arn(group_arn("x"), MODEL) == "arn:aws:greengrass:eu-west-1:123456789012:components:" + MODEL


def test_the_content_is_the_bundle_its_signature_and_the_code(demo_bundle: Path) -> None:
    manifest = read_manifest(demo_bundle)
    signed = manifest.model_copy(update={"signature": Signature(algorithm="ed25519", key_id="0" * 16, value="x")})
    digests = [
        content_digest("model", manifest),
        content_digest("model", manifest.model_copy(update={"version": "9.9.9"})),
        content_digest("model", signed),
        content_digest("model", manifest, 1000),
        content_digest("segmenter"),
    ]
    assert len(set(digests)) == 5
    assert content_digest("model", manifest) == digests[0]


# ---------------------------------------------------------------------- publishing


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[GreengrassCloud]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    made = GreengrassCloud()
    with mock_aws(), made.patched():
        boto3.client("s3").create_bucket(Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": REGION})
        yield made


def uploaded(bundle: Path, prefix: str) -> Package:
    s3 = boto3.client("s3")
    for path in (one for one in bundle.rglob("*") if one.is_file()):
        s3.upload_file(str(path), "bucket", prefix + path.relative_to(bundle).as_posix())
    manifest = read_manifest(bundle)
    uri = f"s3://bucket/{prefix}"
    return Package("arn", "g", "Approved", manifest.digest(), manifest.name, manifest.version, uri, "", "")


def publisher(tmp_path: Path) -> Publisher:
    return Publisher(boto3.client("greengrassv2"), boto3.client("s3"), "bucket", group_arn("canaries"), tmp_path)


def test_only_what_is_new_is_built_and_uploaded(cloud: GreengrassCloud, bundle: Path, tmp_path: Path) -> None:
    package = uploaded(bundle, "one/")
    model, segmenter, uploader = publisher(tmp_path).publish(package)
    assert (model.version, model.created) == (package.model_version, True)
    for code in (segmenter, uploader):
        assert (code.version, code.created) == (sam3edge.__version__, True)
    recipe = cloud.components[model.arn]["recipe"]
    uris = [one["Uri"] for one in recipe["Manifests"][0]["Artifacts"]]
    keys = {one["Key"] for one in boto3.client("s3").list_objects_v2(Bucket="bucket")["Contents"]}
    assert {uri.removeprefix("s3://bucket/") for uri in uris} <= keys
    assert cloud.components[model.arn]["tags"] == {CONTENT_TAG: content_digest("model", read_manifest(bundle))}
    again = publisher(tmp_path).publish(package)
    assert [(one.version, one.created) for one in again] == [
        (one.version, False) for one in (model, segmenter, uploader)
    ]
    assert list(tmp_path.glob("tmp*")) == []


def test_the_same_version_with_another_content_gets_the_next_one(
    cloud: GreengrassCloud, bundle: Path, tmp_path: Path
) -> None:
    first, *_ = publisher(tmp_path).publish(uploaded(bundle, "one/"))
    manifest = read_manifest(bundle)
    write_manifest(bundle, manifest.model_copy(update={"vocabulary": [*manifest.vocabulary, "another"]}))
    second, *_ = publisher(tmp_path).publish(uploaded(bundle, "two/"))
    assert second.version == next_version(first.version, [first.version])
    back, *_ = publisher(tmp_path).publish(uploaded(shutil.copytree(bundle, tmp_path / "x"), "three/"))
    assert (back.version, back.created) == (second.version, False)


def test_a_version_that_failed_does_not_count(cloud: GreengrassCloud, bundle: Path, tmp_path: Path) -> None:
    package = uploaded(bundle, "one/")
    cloud.component_state = "FAILED"
    publisher(tmp_path).publish(package)
    cloud.component_state = "DEPLOYABLE"
    model, *_ = publisher(tmp_path).publish(package)
    assert model.created
    assert model.version != package.model_version


def test_another_or_a_damaged_bundle_is_not_published(cloud: GreengrassCloud, bundle: Path, tmp_path: Path) -> None:
    package = uploaded(bundle, "one/")
    boto3.client("s3").put_object(Bucket="bucket", Key="one/vision.onnx", Body=b"damaged")
    with pytest.raises(BundleError, match=r"vision\.onnx"):
        publisher(tmp_path).publish(package)
    write_manifest(bundle, read_manifest(bundle).model_copy(update={"version": "9.9.9"}))
    uploaded(bundle, "one/")
    with pytest.raises(PublishError, match="register what is there"):
        publisher(tmp_path).publish(package)
    assert cloud.components == {}


# ---------------------------------------------------------------------- deployments


def deployed(**components: dict[str, Any]) -> Deployed:
    named = {MODEL: components.pop("model", {"componentVersion": "1.0.0"}), **components}
    return Deployed("d-1", "by hand", group_arn("canaries"), named)


def merged(component: dict[str, Any]) -> Any:
    return json.loads(component["configurationUpdate"]["merge"])


def test_forth_changes_versions_and_nothing_else() -> None:
    configured = {"componentVersion": "1.0.0", "configurationUpdate": {"merge": '{"Providers": "X"}', "reset": ["/A"]}}
    other = {"componentVersion": "3.0.0", "runWith": {"posixUser": "u"}}
    former = deployed(model=configured, other=other)
    components = forward(former, {MODEL: "1.1.0", SEGMENTER: "2.0.0"}, NUCLEUS)
    assert components["other"] == other
    assert components[SEGMENTER] == {"componentVersion": "2.0.0"}
    assert components[MODEL]["componentVersion"] == "1.1.0"
    assert components[MODEL]["configurationUpdate"] == {"merge": '{"Providers": "X"}', "reset": ["/A", "/Bundle"]}
    assert components["aws.greengrass.Nucleus"] == {"componentVersion": "2.18.1"}
    assert former.components[MODEL] == configured


@pytest.mark.parametrize("nucleus", ["aws.greengrass.Nucleus", "aws.greengrass.NucleusLite"])
def test_a_nucleus_that_is_named_stays_as_it_is(nucleus: str) -> None:
    components = forward(deployed(**{nucleus: {"componentVersion": "2.6.0"}}), {MODEL: "1.1.0"}, NUCLEUS)
    assert {name: one for name, one in components.items() if "ucleus" in name} == {
        nucleus: {"componentVersion": "2.6.0"}
    }


def test_back_by_the_store_keeps_the_model_component_and_names_the_bundle() -> None:
    current = deployed(model={"componentVersion": "1.1.0", "configurationUpdate": {"merge": '{"Providers": "X"}'}})
    components = back_by_store(current, {MODEL: "1.0.0", SEGMENTER: "2.0.0"}, OLD, NUCLEUS)
    assert components is not None
    assert components[MODEL]["componentVersion"] == "1.1.0"
    assert merged(components[MODEL]) == {"Providers": "X", "Bundle": OLD}
    assert components[SEGMENTER]["componentVersion"] == "2.0.0"
    forth_again = forward(Deployed("d", "n", "t", components), {MODEL: "1.2.0"}, NUCLEUS)
    assert merged(forth_again[MODEL]) == {"Providers": "X"}
    assert back_by_store(current, {MODEL: "1.0.0"}, "", NUCLEUS) is None


PUBLISHED = {MODEL: "1.1.0", SEGMENTER: "2.0.0", UPLOADER: "2.0.0"}


def test_a_target_gets_the_uploader_only_where_it_runs() -> None:
    assert wanted(deployed(), PUBLISHED) == {MODEL: "1.1.0", SEGMENTER: "2.0.0"}
    uploading = deployed(**{UPLOADER: {"componentVersion": "1.0.0"}})
    assert wanted(uploading, PUBLISHED) == PUBLISHED


def test_what_is_not_published_stays_as_it_is() -> None:
    former = deployed(**{UPLOADER: {"componentVersion": "1.0.0"}})
    assert forward(former, {MODEL: "1.1.0"}, NUCLEUS)[UPLOADER] == {"componentVersion": "1.0.0"}


def test_back_by_version_removes_what_was_not_there() -> None:
    current = deployed(**{SEGMENTER: {"componentVersion": "2.0.0"}})
    components = back_by_version(current, {SEGMENTER: "1.9.0"}, NUCLEUS)
    assert components.keys() == {SEGMENTER, "aws.greengrass.Nucleus"}


def test_a_deployment_without_nucleus_is_not_made(cloud: GreengrassCloud) -> None:
    client = boto3.client("greengrassv2")
    with pytest.raises(DeploymentError, match="NucleusLite"):
        create(client, group_arn("x"), "n", {MODEL: {"componentVersion": "1.0.0"}}, DeploymentPolicy(), "t")
    components = forward(deployed(), {MODEL: "1.1.0"}, NUCLEUS)
    ids = {create(client, group_arn("x"), "n", components, DeploymentPolicy(), "t") for _ in range(2)}
    assert len(ids) == len(cloud.deployments) == 1


def test_who_made_a_deployment_is_in_its_name() -> None:
    for way in ("to", "back-0", "back-1"):
        assert Deployed("d", deployment_name("e", way, "canary"), "t", {}).by_rollout()
    assert not Deployed("d", "to-canary by hand", "t", {}).by_rollout()


@pytest.mark.parametrize(
    ("progress", "state"),
    [
        (Progress(0, 0, 0), "pending"),
        (Progress(7, 0, 3), "pending"),
        (Progress(8, 0, 2), "succeeded"),
        (Progress(8, 1, 1), "failed"),
        (Progress(10, 0, 0, canceled=True), "failed"),
        (Progress(10, 0, 0, superseded=True), "failed"),
    ],
)
def test_how_a_deployment_is_doing(progress: Progress, state: str) -> None:
    assert progress.judged(0.8, 0.05)[0] == state


def test_the_model_component_knows_the_key_that_a_deployment_back_sets() -> None:
    recipe = yaml.safe_load((Path(sam3edge.__file__).parent / "model" / "recipe.yaml").read_text())
    assert recipe["ComponentConfiguration"]["DefaultConfiguration"]["Bundle"] == ""
