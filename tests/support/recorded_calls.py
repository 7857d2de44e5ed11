"""What code asks of AWS, recorded where botocore sends it, as requests that IAM judges."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from unittest import mock

import boto3.s3.transfer
import botocore.client
import yaml

from support.iam import Request

PREFIXES = {"greengrassv2": "greengrass", "stepfunctions": "states", "sagemaker-runtime": "sagemaker"}
"""Of IAM's actions, where they are not the client's name."""

S3_ACTIONS = {
    "HeadObject": "GetObject",
    "HeadBucket": "ListBucket",
    "ListObjectsV2": "ListBucket",
    "CreateMultipartUpload": "PutObject",
    "UploadPart": "PutObject",
    "CompleteMultipartUpload": "PutObject",
}


class Recorder:
    """Calls by who makes them.

    Attributes:
        calls: requests that IAM judges, by who made them.
    """

    def __init__(self) -> None:
        self.calls: dict[str, list[Request]] = {}
        self._mine = threading.local()
        self._last = ""

    @contextmanager
    def recording(self) -> Iterator[Recorder]:
        """Record what every client sends. What the thread that begins this calls itself is nobody's."""
        real, manager = botocore.client.BaseClient._make_api_call, boto3.s3.transfer.create_transfer_manager
        self._mine.who = ""

        def call(client: Any, operation: str, params: dict[str, Any]) -> Any:
            service = client.meta.service_model.service_name
            # a thread that somebody has begun in order to fetch files is that one's; it is state machines that invoke
            who = getattr(self._mine, "who", self._last)
            if who and service != "lambda":
                found = requests(service, operation, params, client.meta.region_name)
                self.calls.setdefault(who, []).extend(found)
            return real(client, operation, params)

        def without_threads(client: Any, config: Any, osutil: Any = None) -> Any:
            config.use_threads = False
            return manager(client, config, osutil)

        with (
            mock.patch.object(botocore.client.BaseClient, "_make_api_call", call),
            mock.patch.object(boto3.s3.transfer, "create_transfer_manager", without_threads),
        ):
            yield self

    @contextmanager
    def acting(self, who: str) -> Iterator[None]:
        """What is called meanwhile is that one's."""
        before = getattr(self._mine, "who", "")
        self._mine.who = self._last = who
        try:
            yield
        finally:
            self._mine.who = before

    def as_one(self, who: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function whose calls are that one's."""

        def acting(*given: Any, **named: Any) -> Any:
            with self.acting(who):
                return function(*given, **named)

        return acting


def requests(service: str, operation: str, params: Mapping[str, Any], region: str) -> list[Request]:
    """What IAM judges of one call."""
    name = S3_ACTIONS.get(operation, operation) if service == "s3" else operation
    action = f"{PREFIXES.get(service, service)}:{name}"
    context = {"s3:prefix": params["Prefix"]} if action == "s3:ListBucket" and "Prefix" in params else {}
    found = _resources(service, operation, params, f"{region}:123456789012")
    return [Request(action, one, context) for one in found]


def _resources(service: str, operation: str, params: Mapping[str, Any], place: str) -> list[str]:
    def arn(kind: str, resource: str) -> str:
        return resource if resource.startswith("arn:") else f"arn:aws:{kind}:{place}:{resource}"

    match service:
        case "s3":
            bucket = f"arn:aws:s3:::{params['Bucket']}"
            return [f"{bucket}/{params['Key']}" if "Key" in params else bucket]
        case "dynamodb":
            tables = params["RequestItems"] if operation == "BatchWriteItem" else [params["TableName"]]
            return [arn("dynamodb", f"table/{table}") for table in tables]
        case "stepfunctions":
            return [params["stateMachineArn"]]
        case "sagemaker-runtime":
            return [arn("sagemaker", f"endpoint/{params['EndpointName']}")]
        case "sagemaker":
            return [_sagemaker(operation, params, arn)]
        case "secretsmanager":
            return [params["SecretId"]]
        case "iot":
            group = params.get("thingGroupName")
            return [arn("iot", f"thinggroup/{group}" if group is not None else f"job/{params['jobId']}")]
        case "cloudwatch":
            return ["*"]  # metrics are no resources of IAM's
        case "greengrassv2":
            return [_greengrass(operation, params, arn)]
    raise AssertionError(f"expected a service that is here, got {service}; add it")


def _sagemaker(operation: str, params: Mapping[str, Any], arn: Callable[[str, str], str]) -> str:
    if "ModelPackageName" in params:
        return arn("sagemaker", params["ModelPackageName"])
    if operation in ("CreateModelPackage", "ListModelPackages"):
        return arn("sagemaker", f"model-package/{params['ModelPackageGroupName']}/1")
    if "ModelPackageGroupName" in params:
        return arn("sagemaker", f"model-package-group/{params['ModelPackageGroupName']}")
    return arn("sagemaker", f"pipeline/{params['PipelineName']}")


def _greengrass(operation: str, params: Mapping[str, Any], arn: Callable[[str, str], str]) -> str:
    match operation:
        case "CreateComponentVersion":
            recipe = yaml.safe_load(params["inlineRecipe"])
            return arn("greengrass", f"components:{recipe['ComponentName']}:versions:{recipe['ComponentVersion']}")
        case "GetDeployment":
            return arn("greengrass", f"deployments:{params['deploymentId']}")
        case "DescribeComponent" | "ListComponentVersions":
            return str(params["arn"])
    return "*"  # CreateDeployment, ListDeployments, ListCoreDevices: IAM knows no resources of theirs


def renamed(found: list[Request], names: Mapping[str, str]) -> list[Request]:
    """The same requests for resources of other names: parts of ARNs are exchanged, in order."""
    made = []
    for one in found:
        resource = one.resource
        for before, after in names.items():
            resource = resource.replace(before, after)
        made.append(Request(one.action, resource, one.context))
    return made


def readable(found: list[Request]) -> str:
    """For messages."""
    return json.dumps(sorted({f"{one.action} {one.resource} {dict(one.context) or ''}" for one in found}), indent=1)
