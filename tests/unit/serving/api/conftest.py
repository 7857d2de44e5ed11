"""An API, and AWS in memory."""

from __future__ import annotations

import io
import uuid
from collections.abc import Iterator

import boto3
import pytest
from botocore.config import Config
from moto import mock_aws

from sam3edge_serving.api import application, authorizer
from support.api_rig import Api, Aws


@pytest.fixture
def api() -> Api:
    """An API without uploads."""
    return Api()


@pytest.fixture
def logs(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What both functions log, as CloudWatch gets it."""
    written = io.StringIO()
    for logger in (application.logger, authorizer.logger):
        monkeypatch.setattr(logger.registered_handler, "stream", written)
    return written


@pytest.fixture(scope="module")
def aws() -> Iterator[Aws]:
    """No AWS but moto's."""
    with pytest.MonkeyPatch.context() as environment, mock_aws():
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            environment.setenv(name, "testing")
        environment.setenv("AWS_DEFAULT_REGION", "eu-west-1")
        s3 = boto3.client("s3", config=Config(signature_version="s3v4"))
        yield Aws(s3, boto3.resource("dynamodb"))


@pytest.fixture
def bucket(aws: Aws) -> str:
    """An empty bucket."""
    name = f"bucket-{uuid.uuid4()}"
    aws.s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    return name


@pytest.fixture
def table(aws: Aws) -> str:
    """An empty table with partition key ``id``."""
    name = f"table-{uuid.uuid4()}"
    aws.dynamodb.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    return name
