"""The component versions of a stage: what the template names, and their artifacts, which must be in the bucket before.

    python -m sam3edge_infra.components --stage dev

builds them and uploads what is not there yet. ``make deploy`` does so between the stack of the buckets and the others:
Greengrass reads the artifacts when a component version is made, to write their digests into the recipe.

A version is made once. Devices refuse artifacts that are not those of the digests, so what is in the bucket under a
version is never replaced: changed code needs another version (``sam3edge.__version__``), a changed bundle its own.

Component names are the same in all stages: one stage in an account and region.
"""

from __future__ import annotations

import logging
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sam3edge
from sam3edge.bundle.manifest import read_manifest
from sam3edge_infra.checks import session_of
from sam3edge_infra.command_line import add_stage, exit_status, parser_of
from sam3edge_infra.constructs.names import naming_of
from sam3edge_infra.stages.files import ROOT, read_stage
from sam3edge_infra.stages.stage import AssetsBundle, Stage
from sam3edge_pipeline.greengrass_build.build import (
    NAMES,
    build_component,
    bundle_archives,
    content_digest,
    recipe_text,
)

logger = logging.getLogger(__name__)

CONTENT = "sam3edge-content"
"""Metadata of an artifact in S3: the digest of its component's content."""


class UploadRefused(Exception):
    """Artifacts of another content are there under this version."""


@dataclass(frozen=True, slots=True)
class Component:
    """A component version.

    Attributes:
        kind: ``segmenter``, ``model`` or ``uploader``.
        content: digest of what it is made of, see ``content_digest``.
        bundle: folder of the model component's bundle.
    """

    kind: str
    version: str
    content: str
    bundle: Path | None = None

    @property
    def name(self) -> str:
        """As Greengrass knows it."""
        return NAMES[self.kind]

    @property
    def prefix(self) -> str:
        """Of the keys of its artifacts."""
        return f"{self.name}/{self.version}/"

    def recipe(self, bucket: str) -> str:
        """The recipe, with artifacts in a bucket."""
        archives = () if self.bundle is None else tuple(bundle_archives(self.bundle))
        return recipe_text(self.kind, self.version, bucket, archives)


def components_of(stage: Stage, root: Path = ROOT) -> tuple[Component, ...]:
    """The component versions that the stage's template makes.

    The model component is among them only where the bundle is in ``assets/``: any other bundle is registered, and the
    roll-out makes its version.

    Args:
        root: of the repository.

    Raises:
        BundleError: the stage's bundle is damaged.
    """
    code = tuple(
        Component(kind, sam3edge.__version__, content_digest(kind)) for kind in sorted(NAMES) if kind != "model"
    )
    if not isinstance(stage.bundle, AssetsBundle):
        return code
    bundle = root / stage.bundle.path
    manifest = read_manifest(bundle)
    return (*code, Component("model", manifest.version, content_digest("model", manifest), bundle))


def upload(s3: Any, bucket: str, components: Iterable[Component]) -> list[str]:
    """Build and upload what is not there yet; returns the keys.

    Args:
        s3: boto3's client.

    Raises:
        UploadRefused: another content is there under the version.
    """
    uploaded = []
    for component in components:
        there = _contents(s3, bucket, component.prefix)
        if others := sorted(key for key, content in there.items() if content != component.content):
            raise UploadRefused(
                f"expected no other content under s3://{bucket}/{component.prefix}, got {', '.join(others)}; "
                f"raise the version of {component.name}: a version that devices may have is never replaced"
            )
        with tempfile.TemporaryDirectory() as folder:
            build_component(component.kind, Path(folder), component.version, bucket, component.bundle)
            for artifact in sorted((Path(folder) / "artifacts" / component.name / component.version).iterdir()):
                key = f"{component.prefix}{artifact.name}"
                if key not in there:
                    s3.upload_file(str(artifact), bucket, key, ExtraArgs={"Metadata": {CONTENT: component.content}})
                    uploaded.append(key)
    return uploaded


def _contents(s3: Any, bucket: str, prefix: str) -> dict[str, str]:
    """Keys that are there, and of which content they are: empty for what somebody else has put there."""
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    keys = [one["Key"] for page in pages for one in page.get("Contents", [])]
    return {key: s3.head_object(Bucket=bucket, Key=key)["Metadata"].get(CONTENT, "") for key in keys}


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = parser_of("sam3edge_infra.components", __doc__)
    add_stage(parser)
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    return exit_status(lambda: _upload_all(read_stage(given.stage)), UploadRefused)


def _upload_all(stage: Stage) -> None:
    uploaded = upload(session_of(stage).client("s3"), naming_of(stage).bucket("artifacts").name, components_of(stage))
    logger.info("uploaded %d artifacts", len(uploaded))


if __name__ == "__main__":
    sys.exit(main())
