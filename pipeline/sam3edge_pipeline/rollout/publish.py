"""Component versions from a registered bundle and from this package: only what is new is built and uploaded."""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import sam3edge
from sam3edge.bundle.manifest import MANIFEST, Manifest, read_manifest
from sam3edge.bundle.verify import verify
from sam3edge_pipeline.greengrass_build.build import ARTIFACT_LIMIT, NAMES, build_component, content_digest
from sam3edge_pipeline.registry.packages import Package
from sam3edge_pipeline.rollout.versions import (
    CONTENT_TAG,
    Published,
    component_arn,
    find_content,
    next_version,
    published_versions,
)

logger = logging.getLogger(__name__)


class PublishError(Exception):
    """A component version cannot be made."""


@dataclass(frozen=True, slots=True)
class Publisher:
    """Builds and publishes.

    Attributes:
        greengrass, s3: boto3's clients.
        bucket: of the artifacts.
        account_of: ARN of a thing group in the account and region of the components.
        work: folder for the bundle and what is built from it; it must hold both.
        artifact_limit: bytes of one artifact.
    """

    greengrass: Any
    s3: Any
    bucket: str
    account_of: str
    work: Path
    artifact_limit: int = ARTIFACT_LIMIT

    def publish(self, package: Package) -> tuple[Published, ...]:
        """The model component with a package's bundle, and the components of code alone.

        Raises:
            PublishError: the bundle in S3 is not the one that was registered.
            BundleError: it is damaged.
        """
        with tempfile.TemporaryDirectory(dir=self.work) as folder:
            bundle = _Download(self.s3, package, Path(folder) / "bundle")
            manifest = bundle.manifest()
            model = self._component("model", manifest.version, manifest, bundle)
            return model, *(self.publish_code(component) for component in NAMES if component != "model")

    def publish_code(self, component: str) -> Published:
        """A component of code alone: ``segmenter`` or ``uploader``."""
        return self._component(component, sam3edge.__version__, None, None)

    def _component(self, component: str, wanted: str, manifest: Manifest | None, bundle: _Download | None) -> Published:
        name = NAMES[component]
        content = content_digest(component, manifest, self.artifact_limit)
        versions = published_versions(self.greengrass, component_arn(self.account_of, name))
        known = find_content(self.greengrass, versions, content)
        if known is not None:
            logger.info("%s is unchanged: version %s", name, known[0])
            return Published(name, *known, created=False)
        version = next_version(wanted, (one for one, _ in versions))
        source = bundle.whole() if bundle is not None else None
        with tempfile.TemporaryDirectory(dir=self.work) as folder:
            built = build_component(component, Path(folder), version, self.bucket, source, self.artifact_limit)
            for artifact in sorted((Path(folder) / "artifacts" / name / version).iterdir()):
                self.s3.upload_file(str(artifact), self.bucket, f"{name}/{version}/{artifact.name}")
            made = self.greengrass.create_component_version(
                inlineRecipe=built.recipe.read_bytes(),
                tags={CONTENT_TAG: content},
                clientToken=hashlib.sha256(f"{name}/{version}/{content}".encode()).hexdigest(),
            )
        logger.info("published %s %s", name, version)
        return Published(name, version, made["arn"], created=True)


@dataclass(frozen=True, slots=True)
class _Download:
    """A registered bundle in S3; of most roll-outs' second try only the manifest is needed."""

    s3: Any
    package: Package
    root: Path

    def manifest(self) -> Manifest:
        """The manifest, which must be the one that was registered."""
        self.root.mkdir(parents=True, exist_ok=True)
        self._get([MANIFEST])
        manifest = read_manifest(self.root)
        if manifest.digest() != self.package.digest:
            raise PublishError(
                f"expected the bundle {self.package.digest} at {self.package.bundle_uri}, got {manifest.digest()}; "
                "register what is there, or restore what was registered"
            )
        return manifest

    def whole(self) -> Path:
        """The folder with every file that the manifest names; what else is in S3 is left there."""
        self._get(list(read_manifest(self.root).files))
        verify(self.root, None)  # devices check the signature; here it matters that the bytes are those registered
        return self.root

    def _get(self, names: Sequence[str]) -> None:
        parts = urlsplit(self.package.bundle_uri)
        for name in names:
            target = self.root / name
            target.parent.mkdir(parents=True, exist_ok=True)
            self.s3.download_file(parts.netloc, parts.path.lstrip("/") + name, str(target))
