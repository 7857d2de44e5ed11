"""Component versions of a stage, and their artifacts in the bucket."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from moto import mock_aws

import sam3edge
from sam3edge.bundle.manifest import read_manifest
from sam3edge_infra.components import CONTENT, Component, UploadRefused, components_of, main, upload
from sam3edge_infra.stages.files import ROOT, read_stage
from sam3edge_pipeline.greengrass_build.build import build_component

BUCKET = "sam3edge-dev-artifacts-111122223333-eu-central-1"


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("MOTO_ACCOUNT_ID", read_stage("dev").account)
    with mock_aws():
        client = boto3.client("s3", region_name="eu-central-1")
        client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
        yield client


def keys(s3: Any) -> list[str]:
    return [one["Key"] for one in s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])]


def test_a_stage_with_a_bundle_in_assets_has_all_three_and_others_leave_the_model_to_the_roll_out() -> None:
    dev = {one.kind: one.version for one in components_of(read_stage("dev"))}
    prod = {one.kind for one in components_of(read_stage("prod"))}
    manifest = read_manifest(ROOT / "assets/demo-bundle")
    assert dev == {"segmenter": sam3edge.__version__, "uploader": sam3edge.__version__, "model": manifest.version}
    assert prod == {"segmenter", "uploader"}


def test_recipes_are_those_of_the_build_with_all_archives_of_the_bundle(tmp_path: Path) -> None:
    for component in components_of(read_stage("dev")):
        built = build_component(component.kind, tmp_path, component.version, BUCKET, component.bundle)
        assert component.recipe(BUCKET) == built.recipe.read_text(encoding="utf-8")


def test_every_artifact_of_the_recipes_is_uploaded_once(s3: Any) -> None:
    components = components_of(read_stage("dev"))
    first = upload(s3, BUCKET, components)
    named = {
        artifact["Uri"].removeprefix(f"s3://{BUCKET}/")
        for component in components
        for manifest in yaml.safe_load(component.recipe(BUCKET))["Manifests"]
        for artifact in manifest["Artifacts"]
    }
    assert named == set(first) == set(keys(s3))
    assert upload(s3, BUCKET, components) == []
    code = s3.get_object(Bucket=BUCKET, Key=f"com.sam3edge.Segmenter/{sam3edge.__version__}/sam3edge-segmenter.zip")
    assert "sam3edge/segmenter/__main__.py" in zipfile.ZipFile(io.BytesIO(code["Body"].read())).namelist()


def test_an_interrupted_upload_is_completed(s3: Any) -> None:
    components = components_of(read_stage("dev"))
    upload(s3, BUCKET, components)
    gone = next(key for key in keys(s3) if key.endswith("/bundle.zip"))
    s3.delete_object(Bucket=BUCKET, Key=gone)
    assert upload(s3, BUCKET, components) == [gone]


def test_other_content_under_the_same_version_is_refused_and_stays(s3: Any) -> None:
    segmenter = next(one for one in components_of(read_stage("dev")) if one.kind == "segmenter")
    [key] = upload(s3, BUCKET, [replace(segmenter, content="sha256:another")])
    with pytest.raises(UploadRefused, match=r"expected no other content.*raise the version of com.sam3edge.Segmenter"):
        upload(s3, BUCKET, [segmenter])
    assert s3.head_object(Bucket=BUCKET, Key=key)["Metadata"][CONTENT] == "sha256:another"


def test_what_a_roll_out_has_put_under_a_version_is_refused(s3: Any) -> None:
    component = Component("uploader", "9.9.9", "sha256:mine")
    s3.put_object(Bucket=BUCKET, Key=f"{component.prefix}sam3edge-uploader.zip", Body=b"theirs")
    with pytest.raises(UploadRefused):
        upload(s3, BUCKET, [component])


def test_the_command_uploads_to_the_bucket_of_the_stage(s3: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--stage", "dev"]) == 0
    assert f"com.sam3edge.Uploader/{sam3edge.__version__}/sam3edge-uploader.zip" in keys(s3)
    assert main(["--stage", "nowhere"]) == 2
    assert "expected a stage of" in capsys.readouterr().err
