"""Container images: built from this repository when it is deployed, or pulled from ECR.

Lambda functions are container images, too, all but one (``function.py``). So what they need is installed in one place,
their Dockerfiles; ``synth`` installs nothing and needs neither Docker nor a network; and a deployment cannot forget to.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

import aws_cdk as cdk
from aws_cdk import aws_ecr as ecr
from aws_cdk import aws_ecr_assets as ecr_assets
from constructs import Construct

from sam3edge_infra.constructs.names import Naming
from sam3edge_infra.stages.files import ROOT
from sam3edge_infra.stages.stage import BuiltContainers, PulledContainers

ImageName: TypeAlias = Literal["endpoint-cpu", "endpoint-gpu", "pipeline", "functions", "api"]

DOCKERFILES: dict[ImageName, str] = {
    "endpoint-cpu": "pipeline/sam3edge_serving/endpoint/docker/Dockerfile.cpu",
    "endpoint-gpu": "pipeline/sam3edge_serving/endpoint/docker/Dockerfile.gpu",
    "pipeline": "pipeline/sam3edge_pipeline/docker/Dockerfile",
    "functions": "pipeline/sam3edge_pipeline/docker/Dockerfile.functions",
    "api": "pipeline/sam3edge_serving/api/docker/Dockerfile",
}

NEVER = ("**/__pycache__", "**/*.pyc", "**/*.md", "**/.*")
"""What is in no image, wherever it is; as in ``.dockerignore``."""


@dataclass(frozen=True, slots=True)
class Image:
    """An image in ECR."""

    repository: ecr.IRepository
    tag: str

    @property
    def uri(self) -> str:
        """As SageMaker takes it."""
        return str(self.repository.repository_uri_for_tag(self.tag))

    def arn(self, naming: Naming) -> str:
        """ARN of the repository, for policies."""
        return naming.arn("ecr", f"repository/{self.repository.repository_name}")


class Images(Protocol):
    """Where a stage's images come from."""

    def image(self, scope: Construct, name: ImageName) -> Image:
        """An image, for the resources of one stack."""


@dataclass(frozen=True, slots=True)
class BuiltImages:
    """Built by the deployment, and pushed to the repository that ``cdk bootstrap`` has made.

    A change of anything in an image's context makes another image, and so other functions, another model and another
    endpoint: what its Dockerfile does not copy is not in it.
    """

    root: Path = ROOT

    def image(self, scope: Construct, name: ImageName) -> Image:
        """See ``Images``."""
        asset = ecr_assets.DockerImageAsset(
            scope,
            f"Image-{name}",
            directory=str(self.root),
            file=DOCKERFILES[name],
            exclude=_all_but(DOCKERFILES[name], *copied(self.root / DOCKERFILES[name])),
            ignore_mode=cdk.IgnoreMode.DOCKER,
            platform=ecr_assets.Platform.LINUX_AMD64,
            display_name=f"sam3edge {name}",
        )
        return Image(asset.repository, asset.image_tag)


@dataclass(frozen=True, slots=True)
class PulledImages:
    """In repositories of the account.

    Attributes:
        prefix: of the repositories' names.
        tag: of all images.
    """

    prefix: str
    tag: str

    def image(self, scope: Construct, name: ImageName) -> Image:
        """See ``Images``."""
        repository = ecr.Repository.from_repository_name(scope, f"Image-{name}", f"{self.prefix}/{name}")
        return Image(repository, self.tag)


def copied(dockerfile: Path) -> tuple[str, ...]:
    """What a Dockerfile copies: files and folders, from the repository's root."""
    lines = re.findall(r"^COPY (.+)$", dockerfile.read_text(encoding="utf-8"), re.MULTILINE)
    return tuple(source for line in lines for source in line.split()[:-1])


def _all_but(*kept: str) -> list[str]:
    """Patterns of ``.dockerignore``, which come after those of the repository's own."""
    return ["*", *(f"!{one}" for one in kept), *NEVER]


def images_of(containers: BuiltContainers | PulledContainers, naming: Naming) -> Images:
    """The images of a stage."""
    if isinstance(containers, PulledContainers):
        return PulledImages(containers.prefix or f"sam3edge-{naming.stage}", containers.tag)
    return BuiltImages()
