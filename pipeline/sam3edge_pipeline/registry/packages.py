"""Model packages: register one, find one.

The same bundle is registered once: the package that has its digest is returned. SageMaker has no search by metadata, so
the digest is the last word of the package's description, which listings contain.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import ClientError

from sam3edge_pipeline.registry.model_card import model_card
from sam3edge_pipeline.registry.release import Release

APPROVED = "Approved"
PENDING = "PendingManualApproval"

_PAGE = 100
_JSON = "application/json"
_ACCEPTED = ("image/jpeg", "image/png", "image/tiff")
_RETURNED = ("application/geo+json", "application/json")


@dataclass(frozen=True, slots=True)
class Package:
    """A registered bundle.

    Attributes:
        status: of the approval: ``Approved``, ``Rejected`` or ``PendingManualApproval``.
        digest: identity of the bundle; empty for a package that somebody else registered.
        bundle_uri: prefix in S3 that holds the bundle's files.
        evaluation, parity: S3 addresses of the reports; empty where there is none.
    """

    arn: str
    group: str
    status: str
    digest: str
    model_name: str
    model_version: str
    bundle_uri: str
    evaluation: str
    parity: str


@dataclass(frozen=True, slots=True)
class Registered:
    """What registering came to; ``created`` is False where the bundle was registered before."""

    package: Package
    created: bool


def ensure_group(sagemaker: Any, group: str, description: str = "SAM 3 bundles for edge devices") -> None:
    """Make the model package group unless it is there; botocore's errors are not caught."""
    try:
        sagemaker.describe_model_package_group(ModelPackageGroupName=group)
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") not in {"ValidationException", "ResourceNotFound"}:
            raise
        sagemaker.create_model_package_group(ModelPackageGroupName=group, ModelPackageGroupDescription=description)


def register(sagemaker: Any, group: str, release: Release) -> Registered:
    """Register a bundle for approval, once.

    Args:
        sagemaker: boto3's client.
        group: name of the model package group, which exists.
    """
    known = find(sagemaker, group, release.digest)
    if known is not None:
        return Registered(known, created=False)
    created = sagemaker.create_model_package(**_request(group, release))
    return Registered(describe(sagemaker, created["ModelPackageArn"]), created=True)


def find(sagemaker: Any, group: str, digest: str) -> Package | None:
    """The package of a bundle, whatever its approval; None when it was not registered, or that failed."""
    for summary in _packages(sagemaker, group, {}):
        if summary.get("ModelPackageDescription", "").split(" ")[-1] == digest:
            package = describe(sagemaker, summary["ModelPackageArn"])
            if package.digest == digest:
                return package
    return None


def latest_approved(sagemaker: Any, group: str) -> Package | None:
    """The package that was registered last among those approved; its ``evaluation`` is the baseline report."""
    approved = _packages(sagemaker, group, {"ModelApprovalStatus": APPROVED})
    newest = next(approved, None)
    return None if newest is None else describe(sagemaker, newest["ModelPackageArn"])


def describe(sagemaker: Any, arn: str) -> Package:
    """Read one package; botocore's errors are not caught."""
    said = sagemaker.describe_model_package(ModelPackageName=arn)
    metadata: Mapping[str, str] = said.get("CustomerMetadataProperties", {})
    quality = said.get("ModelMetrics", {}).get("ModelQuality", {})
    return Package(
        arn=said["ModelPackageArn"],
        group=said.get("ModelPackageGroupName", ""),
        status=said.get("ModelApprovalStatus", ""),
        digest=metadata.get("bundle_digest", ""),
        model_name=metadata.get("model_name", ""),
        model_version=metadata.get("model_version", ""),
        bundle_uri=_bundle_uri(said),
        evaluation=quality.get("Statistics", {}).get("S3Uri", ""),
        parity=quality.get("Constraints", {}).get("S3Uri", ""),
    )


def _bundle_uri(said: Mapping[str, Any]) -> str:
    containers = said.get("InferenceSpecification", {}).get("Containers", [])
    source = containers[0].get("ModelDataSource", {}) if containers else {}
    return str(source.get("S3DataSource", {}).get("S3Uri", ""))


def _packages(sagemaker: Any, group: str, filters: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Summaries, the newest first; those that SageMaker could not make are left out."""
    token: dict[str, str] = {}
    while True:
        page = sagemaker.list_model_packages(
            ModelPackageGroupName=group,
            SortBy="CreationTime",
            SortOrder="Descending",
            MaxResults=_PAGE,
            **filters,
            **token,
        )
        yield from (one for one in page["ModelPackageSummaryList"] if one["ModelPackageStatus"] != "Failed")
        if not page.get("NextToken"):
            return
        token = {"NextToken": page["NextToken"]}


def _request(group: str, release: Release) -> dict[str, Any]:
    manifest, lineage = release.manifest, release.lineage
    evaluation = {"ContentType": _JSON, "S3Uri": release.evaluation}
    parity = {"ContentType": _JSON, "S3Uri": release.parity}
    container = {
        "Image": release.image,
        "ModelDataSource": {
            "S3DataSource": {"S3Uri": release.bundle_uri, "S3DataType": "S3Prefix", "CompressionType": "None"}
        },
    }
    generated = {"CommitId": lineage.code_revision, "GeneratedBy": lineage.pipeline_execution}
    if lineage.repository:
        generated["Repository"] = lineage.repository
    return {
        "ModelPackageGroupName": group,
        "ModelPackageDescription": f"{manifest.name} {manifest.version} {release.digest}",
        "ModelApprovalStatus": PENDING,
        "InferenceSpecification": {
            "Containers": [container],
            "SupportedContentTypes": list(_ACCEPTED),
            "SupportedResponseMIMETypes": list(_RETURNED),
        },
        # The evaluation is what the model does; the parity report is what its export had to keep to.
        "ModelMetrics": {"ModelQuality": {"Statistics": evaluation, "Constraints": parity}},
        "DriftCheckBaselines": {"ModelQuality": {"Statistics": evaluation}},
        "MetadataProperties": generated,
        "CustomerMetadataProperties": release.metadata(),
        "ModelCard": {"ModelCardContent": json.dumps(model_card(release)), "ModelCardStatus": "Draft"},
        "Domain": "COMPUTER_VISION",
        "Task": "IMAGE_SEGMENTATION",
        # of two that register the same bundle at the same moment, SageMaker serves one
        "ClientToken": hashlib.sha256(f"{group}/{release.digest}".encode()).hexdigest()[:36],
    }
