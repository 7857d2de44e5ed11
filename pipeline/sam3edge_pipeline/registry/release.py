"""What is registered: a bundle in S3, what it was judged by, and where it came from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from sam3edge.bundle.manifest import Manifest

MAX_VALUE = 256
"""Characters of a value in CustomerMetadataProperties."""

_VALUE = re.compile(r"[\w .:/=+\-@]+")
"""What such a value may hold: letters, digits, spaces and ``_.:/=+-@``."""

_S3 = re.compile(r"s3://[^/]+/.+")


class ReleaseError(ValueError):
    """A release that cannot be registered."""


@dataclass(frozen=True, slots=True)
class Lineage:
    """Where a model came from.

    Attributes:
        dataset_digest: of the dataset that it was trained on, ``sha256:<hex>``.
        checkpoint_digest: of the checkpoint that it was exported from, ``sha256:<hex>``.
        code_revision: of this repository.
        pipeline_execution: ARN of the SageMaker pipeline execution, or what stands for it.
        repository: address of the repository; empty when it is not told.
    """

    dataset_digest: str
    checkpoint_digest: str
    code_revision: str
    pipeline_execution: str
    repository: str = ""


@dataclass(frozen=True, slots=True)
class Release:
    """A bundle that may be registered.

    Attributes:
        manifest: of the bundle.
        bundle_uri: ``s3://bucket/prefix/``, below which the bundle's files are, uncompressed.
        image: address of the serving container in ECR.
        evaluation, parity: S3 addresses of the reports, JSON.
        metrics: figures of the evaluation report, for the model card.
        created_at: RFC 3339, UTC.

    Raises:
        ReleaseError: an address or a value is not what SageMaker takes.
    """

    manifest: Manifest
    bundle_uri: str
    image: str
    evaluation: str
    parity: str
    lineage: Lineage
    created_at: str
    metrics: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("bundle_uri", "evaluation", "parity"):
            if not _S3.fullmatch(getattr(self, name)):
                raise ReleaseError(f"expected {name} as s3://bucket/key, got {getattr(self, name)!r}; upload it first")
        if not self.bundle_uri.endswith("/"):
            raise ReleaseError(f"expected a prefix that ends with a slash, got {self.bundle_uri!r}; add it")
        for name, value in self.metadata().items():
            if not _VALUE.fullmatch(value) or len(value) > MAX_VALUE:
                raise ReleaseError(
                    f"expected {name} of 1 to {MAX_VALUE} letters, digits, spaces and _.:/=+-@, got {value[:300]!r}; "
                    "SageMaker takes nothing else as metadata"
                )

    @property
    def digest(self) -> str:
        """Identity of the bundle, ``sha256:<hex>``."""
        return self.manifest.digest()

    def metadata(self) -> dict[str, str]:
        """Customer metadata of the package."""
        manifest, lineage = self.manifest, self.lineage
        return {
            "bundle_digest": self.digest,
            "model_name": manifest.name,
            "model_version": manifest.version,
            "precision": manifest.precision,
            "dataset_digest": lineage.dataset_digest,
            "checkpoint_digest": lineage.checkpoint_digest,
            "code_revision": lineage.code_revision,
            "pipeline_execution": lineage.pipeline_execution,
        }
