"""``make push-images``: container images into ECR, for a stage with ``containers: {source: pull}``.

    python -m sam3edge_infra.push_images --stage prod

It builds them with Docker, for linux/amd64, under the stage's tag. A tag that is there already is left as it is: a tag
of the stage's repositories never changes, so changed code needs another one.
"""

from __future__ import annotations

import base64
import logging
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

from sam3edge.core.errors import SettingsError
from sam3edge_infra.checks import session_of
from sam3edge_infra.command_line import add_stage, exit_status, parser_of
from sam3edge_infra.constructs.images import DOCKERFILES, ImageName, PulledImages, images_of
from sam3edge_infra.constructs.names import naming_of
from sam3edge_infra.stages.files import ROOT, read_stage
from sam3edge_infra.stages.stage import Stage

logger = logging.getLogger(__name__)

PLATFORM = "linux/amd64"
NO_ATTESTATION = "--provenance=false"
"""With one Docker pushes an index of manifests, which Lambda refuses."""

Run = Callable[[Sequence[str], bytes], None]
"""Runs a command with something on its standard input; raises ``subprocess.CalledProcessError`` if it fails."""


def push(ecr: Any, stage: Stage, run: Run) -> list[ImageName]:
    """Build and push what is not there under the stage's tag; returns the names of these images.

    Raises:
        SettingsError: the stage builds its images when it is deployed.
        ClientError: a repository is not there, or ECR refuses.
    """
    images = images_of(stage.containers, naming_of(stage))
    if not isinstance(images, PulledImages):
        raise SettingsError(f"expected containers: {{source: pull}}, {stage.name} builds its images by make deploy")
    repositories = {name: f"{images.prefix}/{name}" for name in DOCKERFILES}
    missing = [name for name, repository in repositories.items() if not _has(ecr, repository, images.tag)]
    if not missing:
        return []
    granted = ecr.get_authorization_token()["authorizationData"][0]
    registry = granted["proxyEndpoint"].removeprefix("https://")
    _, _, password = base64.b64decode(granted["authorizationToken"]).partition(b":")
    run(["docker", "login", "--username", "AWS", "--password-stdin", registry], password)
    for name in missing:
        uri = f"{registry}/{repositories[name]}:{images.tag}"
        file = str(ROOT / DOCKERFILES[name])
        run(["docker", "build", "--platform", PLATFORM, NO_ATTESTATION, "--file", file, "--tag", uri, str(ROOT)], b"")
        run(["docker", "push", uri], b"")
        logger.info("pushed %s", uri)
    return missing


def _has(ecr: Any, repository: str, tag: str) -> bool:
    try:
        ecr.describe_images(repositoryName=repository, imageIds=[{"imageTag": tag}])
    except ecr.exceptions.ImageNotFoundException:
        return False
    return True


def _run(command: Sequence[str], told: bytes) -> None:
    try:
        subprocess.run(command, input=told, check=True)
    except FileNotFoundError as error:
        raise SettingsError("expected Docker's command line, found none") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = parser_of("sam3edge_infra.push_images", __doc__)
    add_stage(parser)
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    return exit_status(lambda: _push_all(read_stage(given.stage)), subprocess.CalledProcessError)


def _push_all(stage: Stage) -> None:
    push(session_of(stage).client("ecr"), stage, _run)


if __name__ == "__main__":
    sys.exit(main())
