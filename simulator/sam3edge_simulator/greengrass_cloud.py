"""AWS IoT Greengrass, the job service's counts, and Lambda, in memory: what moto does not have.

botocore's clients are real; their calls are answered here. Every request is checked by botocore's own ParamValidator
against the service's model, and so is every response, so that neither side can depend on what AWS does not say.
"""

from __future__ import annotations

import io
import json
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any
from unittest import mock

import botocore.client
import yaml
from botocore.exceptions import ClientError
from botocore.model import OperationModel, Shape
from botocore.validate import ParamValidator

ACCOUNT = "123456789012"
REGION = "eu-west-1"
NOW = datetime(2026, 1, 2, tzinfo=timezone.utc)

Handler = Callable[[Mapping[str, Any], Any], Any]


class NotAsInAws(AssertionError):
    """A request that AWS would refuse, or a response that it would not give."""


def group_arn(name: str) -> str:
    """ARN of a thing group."""
    return f"arn:aws:iot:{REGION}:{ACCOUNT}:thinggroup/{name}"


def function_arn(name: str) -> str:
    """ARN of a function."""
    return f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{name}"


@dataclass
class Deployment:
    """One deployment; ``counts`` is how its job is doing on the devices of its target."""

    request: dict[str, Any]
    id: str
    counts: dict[str, int]
    status: str = "ACTIVE"
    canceled: bool = False

    @property
    def versions(self) -> dict[str, str]:
        """Versions that it names."""
        return {name: one["componentVersion"] for name, one in self.request["components"].items()}


@dataclass
class GreengrassCloud:
    """Components, deployments and core devices.

    Attributes:
        devices: of each thing group, with their status.
        carry_out: called with every new deployment; may change its counts. By default every device succeeds at once.
        component_state: of new component versions.
        functions: Lambda functions by ARN.
        calls: operations of Greengrass and IoT in the order in which they were asked for.
    """

    devices: dict[str, dict[str, str]] = field(default_factory=dict)
    carry_out: Callable[[Deployment], None] = lambda deployment: None
    component_state: str = "DEPLOYABLE"
    functions: dict[str, Handler] = field(default_factory=dict)
    components: dict[str, dict[str, Any]] = field(default_factory=dict)
    deployments: list[Deployment] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)

    def recipe(self, name: str, version: str) -> dict[str, Any]:
        """Recipe of a component version; KeyError where there is none."""
        recipe: dict[str, Any] = self.components[_version_arn(name, version)]["recipe"]
        return recipe

    @contextmanager
    def patched(self) -> Iterator[GreengrassCloud]:
        """Have every client ask this; what is not here goes on to moto."""
        real = botocore.client.BaseClient._make_api_call

        def call(client: Any, operation: str, params: dict[str, Any]) -> Any:
            service = client.meta.service_model.service_name
            answer = getattr(self, f"{service}_{operation}", None)
            if answer is None:
                if service == "greengrassv2":
                    raise NotAsInAws(f"expected an operation that is here, got {operation}; add it")
                return real(client, operation, params)
            if service != "lambda":
                self.calls.append(operation)
            model = client.meta.service_model.operation_model(operation)
            _check(model.input_shape, params, f"request of {operation}")
            try:
                response = answer(params)
            except KeyError as error:
                raise _error(model, "ResourceNotFoundException", f"no {error}", client) from error
            if service != "lambda":
                _check(model.output_shape, response, f"response of {operation}")
            return {**response, "ResponseMetadata": {"HTTPStatusCode": 200, "RequestId": "fake"}}

        with mock.patch.object(botocore.client.BaseClient, "_make_api_call", call):
            yield self

    # ------------------------------------------------------------------ greengrassv2

    def greengrassv2_CreateComponentVersion(self, params: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802
        recipe = yaml.safe_load(params["inlineRecipe"])
        name, version = recipe["ComponentName"], recipe["ComponentVersion"]
        arn = _version_arn(name, version)
        if arn in self.components:
            raise NotAsInAws(f"expected a new version, {arn} is there already")
        status = {"componentState": self.component_state, "message": f"{name} is {self.component_state}", "errors": {}}
        self.components[arn] = {
            "arn": arn,
            "componentName": name,
            "componentVersion": version,
            "creationTimestamp": NOW,
            "status": status,
            "tags": params.get("tags", {}),
            "recipe": recipe,
        }
        return {
            name: self.components[arn][name]
            for name in ("arn", "componentName", "componentVersion", "creationTimestamp", "status")
        }

    def greengrassv2_DescribeComponent(self, params: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802
        kept = self.components[params["arn"]]
        return {name: value for name, value in kept.items() if name != "recipe"}

    def greengrassv2_ListComponentVersions(self, params: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802
        found = [
            {name: one[name] for name in ("arn", "componentName", "componentVersion")}
            for arn, one in self.components.items()
            if arn.startswith(f"{params['arn']}:versions:")
        ]
        if not found:
            raise KeyError(params["arn"])
        first = int(params.get("nextToken", "0"))  # pages of one, so that whoever reads only the first is found out
        more = {"nextToken": str(first + 1)} if first + 1 < len(found) else {}
        return {"componentVersions": found[first : first + 1], **more}

    def greengrassv2_CreateDeployment(self, params: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802
        for one in self.deployments:
            if "clientToken" in params and one.request.get("clientToken") == params["clientToken"]:
                return self._made(one)
        group = params["targetArn"].rpartition("/")[2]
        for one in self.deployments:
            if one.request["targetArn"] == params["targetArn"]:
                one.status = "INACTIVE"
        number = f"deployment-{len(self.deployments)}"
        made = Deployment(dict(params), number, {"Succeeded": len(self.devices.get(group, {}))})
        self.deployments.append(made)
        self.carry_out(made)
        return self._made(made)

    def _made(self, deployment: Deployment) -> dict[str, Any]:
        job = f"job-{deployment.id}"
        return {
            "deploymentId": deployment.id,
            "iotJobId": job,
            "iotJobArn": f"arn:aws:iot:{REGION}:{ACCOUNT}:job/{job}",
        }

    def greengrassv2_GetDeployment(self, params: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802
        one = self._deployment(params["deploymentId"])
        kept = {name: value for name, value in one.request.items() if name != "clientToken"}
        latest = one.status != "INACTIVE"
        return {**kept, **self._made(one), "deploymentStatus": one.status, "isLatestForTarget": latest}

    def greengrassv2_ListDeployments(self, params: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802
        return {
            "deployments": [
                {"deploymentId": one.id, "targetArn": one.request["targetArn"], "deploymentStatus": one.status}
                for one in self.deployments
                if one.request["targetArn"] == params["targetArn"] and one.status != "INACTIVE"
            ]
        }

    def greengrassv2_ListCoreDevices(self, params: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802
        group = self.devices.get(params["thingGroupArn"].rpartition("/")[2], {})
        found = [
            {"coreDeviceThingName": name, "status": status, "lastStatusUpdateTimestamp": NOW}
            for name, status in group.items()
            if params.get("status", status) == status
        ]
        return {"coreDevices": found}

    def _deployment(self, number: str) -> Deployment:
        return {one.id: one for one in self.deployments}[number]

    # ------------------------------------------------------------------ iot, of which moto counts nothing

    def iot_DescribeJob(self, params: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802
        one = self._deployment(params["jobId"].removeprefix("job-"))
        kinds = ("Canceled", "Succeeded", "Failed", "Rejected", "Queued", "InProgress", "Removed", "TimedOut")
        details = {f"numberOf{kind}Things": one.counts.get(kind, 0) for kind in kinds}
        status = "CANCELED" if one.canceled else "IN_PROGRESS"
        return {"job": {"jobId": params["jobId"], "status": status, "jobProcessDetails": details}}

    # ------------------------------------------------------------------ lambda, without containers

    def lambda_Invoke(self, params: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N802
        handler = self.functions[params["FunctionName"]]
        try:
            returned: Any = handler(json.loads(params["Payload"]), None)
        except Exception as error:
            body = {"errorMessage": str(error), "errorType": type(error).__name__, "stackTrace": traceback.format_exc()}
            return {"StatusCode": 200, "FunctionError": "Unhandled", "Payload": io.BytesIO(json.dumps(body).encode())}
        return {"StatusCode": 200, "Payload": io.BytesIO(json.dumps(returned).encode())}


def _version_arn(name: str, version: str) -> str:
    return f"arn:aws:greengrass:{REGION}:{ACCOUNT}:components:{name}:versions:{version}"


def _check(shape: Shape | None, value: Any, what: str) -> None:
    report = ParamValidator().validate(value, shape)
    if report.has_errors():
        raise NotAsInAws(f"{what}: {report.generate_report()}")


def _error(model: OperationModel, code: str, message: str, client: Any) -> ClientError:
    response: Any = {
        "Error": {"Code": code, "Message": message},
        "ResponseMetadata": {"HTTPStatusCode": 404, "RequestId": "fake"},
    }
    found: type[ClientError] = client.exceptions.from_code(code)
    return found(response, model.name)
