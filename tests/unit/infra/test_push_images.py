"""Images of a stage that pulls them: what Docker is told, and what is left alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from sam3edge.core.errors import SettingsError
from sam3edge_infra.constructs.images import DOCKERFILES
from sam3edge_infra.push_images import push
from sam3edge_infra.stages.files import read_stage

STAGE = read_stage("prod")
REGISTRY = "444455556666.dkr.ecr.eu-central-1.amazonaws.com"
MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


@pytest.fixture
def ecr(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("MOTO_ACCOUNT_ID", STAGE.account)
    with mock_aws():
        yield boto3.client("ecr", region_name=STAGE.region)


class Docker:
    """Notes what it is told; a push puts the image into ECR."""

    def __init__(self, ecr: Any) -> None:
        self._ecr = ecr
        self.told: list[list[str]] = []
        self.inputs: list[bytes] = []

    def __call__(self, command: Sequence[str], told: bytes) -> None:
        self.told.append(list(command))
        self.inputs.append(told)
        if command[1] == "push":
            repository, _, tag = command[2].removeprefix(f"{REGISTRY}/").rpartition(":")
            manifest = json.dumps({"schemaVersion": 2, "mediaType": MANIFEST, "of": repository})
            self._ecr.put_image(repositoryName=repository, imageManifest=manifest, imageTag=tag)


def test_each_image_is_built_for_lambdas_processor_and_pushed_once(ecr: Any) -> None:
    for name in DOCKERFILES:
        ecr.create_repository(repositoryName=f"sam3edge-prod/{name}")
    docker = Docker(ecr)
    assert push(ecr, STAGE, docker) == list(DOCKERFILES)
    login, *others = docker.told
    assert login == ["docker", "login", "--username", "AWS", "--password-stdin", REGISTRY]
    assert docker.inputs[0]
    assert not any(docker.inputs[1:])
    assert len(others) == 2 * len(DOCKERFILES)
    for build, pushed in zip(others[::2], others[1::2], strict=True):
        assert build[build.index("--platform") + 1] == "linux/amd64"
        assert "--provenance=false" in build
        assert Path(build[build.index("--file") + 1]).is_file()
        assert pushed == ["docker", "push", build[build.index("--tag") + 1]]
    assert others[-1][-1] == f"{REGISTRY}/sam3edge-prod/api:1.0.0"
    again = Docker(ecr)
    assert push(ecr, STAGE, again) == []
    assert again.told == []


def test_nothing_is_built_where_a_repository_is_missing(ecr: Any) -> None:
    docker = Docker(ecr)
    with pytest.raises(ClientError, match="RepositoryNotFoundException"):
        push(ecr, STAGE, docker)
    assert docker.told == []


def test_a_stage_that_builds_its_images_needs_none_pushed(ecr: Any) -> None:
    with pytest.raises(SettingsError, match="dev builds its images by make deploy"):
        push(ecr, read_stage("dev"), Docker(ecr))
