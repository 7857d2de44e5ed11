"""The registry: one package for one bundle, what describes it, and finding it again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.session import get_session
from botocore.validate import ParamValidator
from moto import mock_aws

from sam3edge.bundle.manifest import read_manifest
from sam3edge_pipeline.registry.model_card import MAX_CONTENT, MAX_DETAIL, MAX_METRICS, model_card
from sam3edge_pipeline.registry.packages import APPROVED, ensure_group, find, latest_approved, register
from sam3edge_pipeline.registry.release import MAX_VALUE, Lineage, Release, ReleaseError
from sam3edge_pipeline.registry.stac import stac_item, write_stac_item
from sam3edge_simulator.greengrass_cloud import REGION
from support.rollout_rig import GROUP, release

URI = "s3://models/bundles/demo/"


@pytest.fixture
def sagemaker(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        client = boto3.client("sagemaker", region_name=REGION)
        ensure_group(client, GROUP)
        yield client


def versioned(demo: Path, version: str) -> Release:
    return release(read_manifest(demo).model_copy(update={"version": version}), URI)


def test_the_same_bundle_is_one_package(sagemaker: Any, demo_bundle: Path) -> None:
    ensure_group(sagemaker, GROUP)
    first = register(sagemaker, GROUP, versioned(demo_bundle, "1.0.0"))
    other = register(sagemaker, GROUP, versioned(demo_bundle, "1.0.1"))
    again = register(sagemaker, GROUP, versioned(demo_bundle, "1.0.0"))
    assert (first.created, other.created, again.created) == (True, True, False)
    assert again.package == first.package != other.package
    assert len(sagemaker.list_model_packages(ModelPackageGroupName=GROUP)["ModelPackageSummaryList"]) == 2


def test_a_package_waits_for_approval_and_says_where_everything_is(sagemaker: Any, demo_bundle: Path) -> None:
    given = versioned(demo_bundle, "1.0.0")
    package = register(sagemaker, GROUP, given).package
    assert package.status == "PendingManualApproval"
    assert package.digest == given.digest
    assert (package.model_name, package.model_version) == (given.manifest.name, "1.0.0")
    assert (package.bundle_uri, package.evaluation, package.parity) == (URI, given.evaluation, given.parity)
    said = sagemaker.describe_model_package(ModelPackageName=package.arn)
    assert said["CustomerMetadataProperties"] == given.metadata()
    assert said["MetadataProperties"]["CommitId"] == "0123abc"


def test_the_request_is_what_sagemaker_takes(demo_bundle: Path) -> None:
    asked: list[dict[str, Any]] = []

    class SageMaker:
        def list_model_packages(self, **_: Any) -> dict[str, Any]:
            return {"ModelPackageSummaryList": []}

        def create_model_package(self, **request: Any) -> dict[str, str]:
            asked.append(request)
            return {"ModelPackageArn": "arn"}

        def describe_model_package(self, **_: Any) -> dict[str, Any]:
            return {"ModelPackageArn": "arn"}

    register(SageMaker(), GROUP, versioned(demo_bundle, "1.0.0"))
    shape = get_session().get_service_model("sagemaker").operation_model("CreateModelPackage").input_shape
    report = ParamValidator().validate(asked[0], shape)
    assert not report.has_errors(), report.generate_report()
    assert len(asked[0]["ClientToken"]) <= 36
    assert len(asked[0]["ModelCard"]["ModelCardContent"]) <= MAX_CONTENT


def test_a_listing_of_several_pages_is_read_to_its_end(demo_bundle: Path) -> None:
    wanted = versioned(demo_bundle, "1.0.0")

    class SageMaker:
        def list_model_packages(self, NextToken: str = "", **_: Any) -> dict[str, Any]:  # noqa: N803
            one = {"ModelPackageArn": NextToken or "first", "ModelPackageStatus": "Completed"}
            if NextToken == "third":
                return {"ModelPackageSummaryList": [{**one, "ModelPackageDescription": f"demo {wanted.digest}"}]}
            return {"ModelPackageSummaryList": [one], "NextToken": "third" if NextToken else "second"}

        def describe_model_package(self, ModelPackageName: str) -> dict[str, Any]:  # noqa: N803
            properties = {"bundle_digest": wanted.digest}
            return {"ModelPackageArn": ModelPackageName, "CustomerMetadataProperties": properties}

    found = find(SageMaker(), GROUP, wanted.digest)
    assert found is not None
    assert found.arn == "third"


def test_the_latest_approved_package_has_the_baseline_report(sagemaker: Any, demo_bundle: Path) -> None:
    packages = [register(sagemaker, GROUP, versioned(demo_bundle, f"1.0.{n}")).package for n in range(3)]
    assert latest_approved(sagemaker, GROUP) is None
    for package in packages[:2]:
        sagemaker.update_model_package(ModelPackageArn=package.arn, ModelApprovalStatus=APPROVED)
    latest = latest_approved(sagemaker, GROUP)
    assert latest is not None
    assert latest.arn == packages[1].arn
    assert latest.evaluation == "s3://models/reports/evaluation.json"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"evaluation": "reports/evaluation.json"}, "evaluation as s3://"),
        ({"uri": "s3://models/bundle"}, "ends with a slash"),
        ({"lineage": Lineage("a" * (MAX_VALUE + 1), "b", "c", "d")}, "dataset_digest"),
        ({"lineage": Lineage("a", "b", "", "d")}, "code_revision"),
        ({"lineage": Lineage("a", "b", "c\nd", "d")}, "code_revision"),
    ],
)
def test_what_sagemaker_would_refuse_is_refused_by_name(demo_bundle: Path, changes: dict[str, Any], says: str) -> None:
    uri = changes.pop("uri", URI)
    with pytest.raises(ReleaseError, match=says):
        release(read_manifest(demo_bundle), uri, **changes)


def test_the_model_card_keeps_to_its_limits(demo_bundle: Path) -> None:
    manifest = read_manifest(demo_bundle).model_copy(update={"vocabulary": [f"phrase {n}" for n in range(5000)]})
    card = model_card(release(manifest, URI, metrics={f"m{n}": float(n) for n in range(MAX_METRICS)}))
    assert len(json.dumps(card)) <= MAX_CONTENT
    details = card["additional_information"]["custom_details"]
    assert all(len(text) <= MAX_DETAIL for text in details.values())
    assert len(card["evaluation_details"][0]["metric_groups"][0]["metric_data"]) == MAX_METRICS
    with pytest.raises(ReleaseError, match="at most"):
        model_card(release(manifest, URI, metrics={f"m{n}": 0.0 for n in range(MAX_METRICS + 1)}))
    with pytest.raises(ReleaseError, match="finite"):
        model_card(release(manifest, URI, metrics={"f1": float("nan")}))


def test_the_stac_item_names_what_comes_in_and_out_and_every_graph(demo_bundle: Path, tmp_path: Path) -> None:
    given = versioned(demo_bundle, "1.0.0")
    write_stac_item(tmp_path / "item.json", given)
    item = json.loads((tmp_path / "item.json").read_text())
    assert item == json.loads(json.dumps(stac_item(given)))
    properties = item["properties"]
    required = {"mlm:name", "mlm:architecture", "mlm:framework", "mlm:tasks", "mlm:input", "mlm:output"}
    assert required <= properties.keys()
    assert properties["datetime"] is None
    assert properties["start_datetime"] < properties["end_datetime"]
    assert item["geometry"] is None
    assert "bbox" not in item
    side = given.manifest.input_size
    assert properties["mlm:input"][0]["input"]["shape"] == [1, 3, side, side]
    vision = item["assets"]["vision.onnx"]
    assert vision["href"] == f"{URI}vision.onnx"
    assert vision["file:checksum"] == "1220" + given.manifest.files["vision.onnx"].sha256
    assert "mlm:model" in vision["roles"]
