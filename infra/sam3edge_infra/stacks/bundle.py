"""The model of an endpoint: where SageMaker finds the bundle, and what may read it."""

from __future__ import annotations

import gzip
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

from aws_cdk import aws_s3_assets as s3_assets
from constructs import Construct

from sam3edge_infra.constructs.names import Naming
from sam3edge_infra.constructs.permissions import Statement
from sam3edge_infra.stacks.registry import Registry
from sam3edge_infra.stacks.storage import BUNDLES_PREFIX, Storage
from sam3edge_infra.stages.files import ROOT
from sam3edge_infra.stages.stage import AssetsBundle, RegistryBundle, S3Bundle

_IN_A_FOLDER = "a bundle is a folder of files"


@dataclass(frozen=True, slots=True)
class ModelData:
    """Where the bundle is: one of three.

    Attributes:
        identity: another for another bundle, as far as that is known.
        archive: address of a ``.tar.gz``.
        prefix: address of a folder.
        package: ARN of a model package.
        read: what the endpoint's role needs.
    """

    identity: str
    read: tuple[Statement, ...]
    archive: str = ""
    prefix: str = ""
    package: str = ""


def model_data(
    scope: Construct,
    naming: Naming,
    storage: Storage,
    registry: Registry,
    bundle: RegistryBundle | S3Bundle | AssetsBundle,
) -> ModelData:
    """The bundle of a stage."""
    if isinstance(bundle, RegistryBundle):
        arn = registry.package_arn(bundle.version)
        statements = (
            Statement(["s3:GetObject"], storage.learning.below(*BUNDLES_PREFIX), _IN_A_FOLDER),
            Statement(["s3:ListBucket"], [storage.learning.arn]),
        )
        return ModelData(arn, statements, package=arn)
    if isinstance(bundle, S3Bundle):
        bucket, _, key = bundle.uri.removeprefix("s3://").partition("/")
        lists = Statement(["s3:ListBucket"], [f"arn:aws:s3:::{bucket}"])
        if key.endswith("/") or not key:
            reads = Statement(["s3:GetObject"], [f"arn:aws:s3:::{bucket}/{key}*"], _IN_A_FOLDER)
            return ModelData(bundle.uri, (reads, lists), prefix=bundle.uri)
        reads = Statement(["s3:GetObject"], [f"arn:aws:s3:::{bucket}/{key}"])
        return ModelData(bundle.uri, (reads, lists), archive=bundle.uri)
    with tempfile.TemporaryDirectory() as folder:
        asset = s3_assets.Asset(scope, "Bundle", path=str(pack(ROOT / bundle.path, Path(folder))))
    owner = f"arn:aws:s3:::{asset.s3_bucket_name}"
    # its address ends with .gz, not .tar.gz; the CDK's own construct for models gives SageMaker the same
    return ModelData(
        asset.asset_hash,
        (Statement(["s3:GetObject"], [f"{owner}/{asset.s3_object_key}"]), Statement(["s3:ListBucket"], [owner])),
        archive=asset.http_url,
    )


def pack(bundle: Path, folder: Path) -> Path:
    """A bundle as one ``model.tar.gz``, which SageMaker unpacks to ``/opt/ml/model``; the same files, the same bytes.

    Raises:
        FileNotFoundError: there is no bundle.
    """
    if not (bundle / "manifest.json").is_file():
        raise FileNotFoundError(f"expected a bundle, {bundle} has no manifest.json; name another in the stage")
    target = folder / "model.tar.gz"
    with (
        target.open("wb") as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0, compresslevel=1) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive,
    ):
        for path in sorted(one for one in bundle.rglob("*") if one.is_file()):
            entry = tarfile.TarInfo(path.relative_to(bundle).as_posix())
            entry.size, entry.mode = path.stat().st_size, 0o644
            with path.open("rb") as content:
                archive.addfile(entry, content)
    return target
