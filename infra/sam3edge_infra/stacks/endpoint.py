"""The SageMaker endpoint: a model, a configuration, scaling, and updates that go to a part of the traffic first.

A changed stage makes another model and another configuration; SageMaker then moves the endpoint to it: a canary first
(``CANARY_PERCENT`` of the capacity), the rest after ``BAKE_SECONDS``, and back if an alarm goes off on the way.
Serverless endpoints have no such updates: they move at once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from aws_cdk import aws_iam as iam
from aws_cdk import aws_sagemaker as sagemaker
from constructs import Construct

from sam3edge_infra.constructs.images import Image, ImageName, Images
from sam3edge_infra.constructs.names import Naming
from sam3edge_infra.constructs.permissions import NO_RESOURCES, Statement, allow, for_account, in_network, pulls
from sam3edge_infra.constructs.stack import StageStack
from sam3edge_infra.stacks.bundle import ModelData, model_data
from sam3edge_infra.stacks.endpoint_scaling import VARIANT, Guard, scale_async, scale_instances
from sam3edge_infra.stacks.network import Network
from sam3edge_infra.stacks.registry import Registry
from sam3edge_infra.stacks.storage import Storage
from sam3edge_infra.stages.stage import (
    AssetsBundle,
    AsyncEndpoint,
    InstanceEndpoint,
    RegistryBundle,
    S3Bundle,
    ServerlessEndpoint,
)
from sam3edge_infra.stages.values import has_gpu

Options: TypeAlias = InstanceEndpoint | AsyncEndpoint | ServerlessEndpoint

GPU_AMI = "al2023-ami-sagemaker-inference-gpu-4-1"
"""Hosts with a driver for CUDA 13, see docker/constraints-gpu.txt of the endpoint."""

STARTUP_SECONDS = 900
CANARY_PERCENT, BAKE_SECONDS, UPDATE_SECONDS = 50, 600, 3600
ASYNC_CONCURRENCY = 4
ASYNC_ENVIRONMENT = {
    "SAM3EDGE_MAX_BODY_BYTES": "1073741824",
    "SAM3EDGE_MAX_PENDING_BYTES": "2147483648",
    "SAM3EDGE_MAX_PIXELS": "400000000",
    "SAM3EDGE_DEADLINE_SECONDS": "3500",
}
"""Of the endpoint's container: see "In SageMaker" in its README."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What other stacks get."""

    name: str
    arn: str
    variant: str
    kind: Literal["instance", "async", "serverless"]


def endpoint_name(naming: Naming) -> str:
    """Of a stage's endpoint, whatever its kind: devices keep it in their configuration."""
    return naming("endpoint")


def endpoint_of(naming: Naming, options: Options) -> Endpoint:
    """The endpoint of a stage."""
    name = endpoint_name(naming)
    return Endpoint(name, naming.arn("sagemaker", f"endpoint/{name}"), VARIANT, options.kind)


def serving_image(options: object) -> ImageName:
    """Which image serves; models are registered with it, too."""
    instance = getattr(options, "instance_type", "")
    return "endpoint-gpu" if instance and has_gpu(instance) else "endpoint-cpu"


class EndpointStack(StageStack):
    """The endpoint."""

    def __init__(
        self,
        scope: Construct,
        naming: Naming,
        storage: Storage,
        network: Network,
        images: Images,
        registry: Registry,
        options: Options,
        bundle: RegistryBundle | S3Bundle | AssetsBundle,
    ) -> None:
        super().__init__(scope, "endpoint", naming, f"sam3edge: {options.kind} endpoint")
        self._naming, self._storage, self._network, self._options = naming, storage, network, options
        self.endpoint = endpoint_of(naming, options)
        image = images.image(self, serving_image(options))
        data = model_data(self, naming, storage, registry, bundle)
        guard = (
            Guard(self, naming, self.endpoint.name, options.kind)
            if not isinstance(options, ServerlessEndpoint)
            else None
        )
        model = self._model(image, data, guard)
        configuration = self._configuration(model, _digest(image, data, options))
        endpoint = sagemaker.CfnEndpoint(
            self,
            "Endpoint",
            endpoint_name=self.endpoint.name,
            endpoint_config_name=configuration.attr_endpoint_config_name,
            deployment_config=_careful(guard.alarm_names) if guard is not None else None,
            # an update begins with the instances that scaling has come to, not with those of the first day
            retain_all_variant_properties=True if isinstance(options, InstanceEndpoint) else None,
        )
        if guard is not None:
            endpoint.node.add_dependency(*guard.alarms)
        if isinstance(options, InstanceEndpoint):
            scale_instances(self, self.endpoint.name, options, endpoint)
        elif isinstance(options, AsyncEndpoint):
            scale_async(self, naming, self.endpoint.name, options, endpoint)

    def _model(self, image: Image, data: ModelData, guard: Guard | None) -> sagemaker.CfnModel:
        role = self._role(image, data, guard)
        container: dict[str, Any] = {"image": image.uri, "environment": self._environment()}
        if data.package:
            container = {"model_package_name": data.package, "environment": self._environment()}
        elif data.prefix:
            source = {"s3Uri": data.prefix, "s3DataType": "S3Prefix", "compressionType": "None"}
            container["model_data_source"] = {"s3DataSource": source}
        else:
            container["model_data_url"] = data.archive
        vpc = None
        if not isinstance(self._options, ServerlessEndpoint):  # which take neither
            vpc = sagemaker.CfnModel.VpcConfigProperty(
                subnets=self._network.subnet_ids(self), security_group_ids=[self._network.workloads_id(self)]
            )
        model = sagemaker.CfnModel(
            self,
            "Model",
            execution_role_arn=role.role_arn,
            primary_container=sagemaker.CfnModel.ContainerDefinitionProperty(**container),
            vpc_config=vpc,
            enable_network_isolation=vpc is not None,
        )
        model.node.add_dependency(role)
        return model

    def _environment(self) -> dict[str, str]:
        told = {"SAM3EDGE_ENDPOINT_NAME": self.endpoint.name}
        return told | ASYNC_ENVIRONMENT if isinstance(self._options, AsyncEndpoint) else told

    def _role(self, image: Image, data: ModelData, guard: Guard | None) -> iam.Role:
        naming = self._naming
        role = iam.Role(
            self,
            "Role",
            assumed_by=for_account("sagemaker.amazonaws.com", naming),
            description="the endpoint: reads its model, writes its log",
        )
        allow(
            role,
            *data.read,
            *pulls(image.arn(naming)),
            Statement(
                ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents", "logs:DescribeLogStreams"],
                [naming.arn("logs", f"log-group:/aws/sagemaker/Endpoints/{self.endpoint.name}*")],
                "the group of this endpoint, and its streams, one for each instance",
            ),
            Statement(
                ["cloudwatch:PutMetricData"],
                ["*"],
                NO_RESOURCES,
                {"StringLike": {"cloudwatch:namespace": ["/aws/sagemaker/*", "AWS/SageMaker"]}},
            ),
        )
        if guard is None:  # serverless: no instances, and no updates that are watched
            return role
        allow(
            role,
            Statement(
                ["cloudwatch:DescribeAlarms"], [naming.arn("cloudwatch", f"alarm:{name}") for name in guard.alarm_names]
            ),
            *in_network(naming, self._network.subnet_ids(self), [self._network.workloads_id(self)]),
        )
        if isinstance(self._options, AsyncEndpoint):
            inference = self._storage.inference
            allow(
                role,
                Statement(["s3:GetObject"], inference.below("uploads/"), "clients choose what they upload"),
                Statement(["s3:PutObject"], inference.below("async/"), "SageMaker names responses"),
                Statement(["s3:ListBucket"], [inference.arn]),
            )
        return role

    def _configuration(self, model: sagemaker.CfnModel, digest: str) -> sagemaker.CfnEndpointConfig:
        options = self._options
        variant: dict[str, Any] = {
            "variant_name": VARIANT,
            "model_name": model.attr_model_name,
            "initial_variant_weight": 1,
        }
        if isinstance(options, ServerlessEndpoint):
            variant["serverless_config"] = sagemaker.CfnEndpointConfig.ServerlessConfigProperty(
                memory_size_in_mb=options.memory_mb, max_concurrency=options.concurrency
            )
        else:
            variant |= {
                "instance_type": options.instance_type,
                "initial_instance_count": max(1, options.min_instances),
                "container_startup_health_check_timeout_in_seconds": STARTUP_SECONDS,
                "model_data_download_timeout_in_seconds": STARTUP_SECONDS,
            }
            if has_gpu(options.instance_type):
                variant["inference_ami_version"] = GPU_AMI
        # named by what is in it, so that a change makes another one, which the endpoint then moves to
        return sagemaker.CfnEndpointConfig(
            self,
            f"Configuration{digest}",
            production_variants=[sagemaker.CfnEndpointConfig.ProductionVariantProperty(**variant)],
            async_inference_config=self._async() if isinstance(options, AsyncEndpoint) else None,
        )

    def _async(self) -> sagemaker.CfnEndpointConfig.AsyncInferenceConfigProperty:
        place = self._storage.inference.uri("async/")
        config = sagemaker.CfnEndpointConfig
        return config.AsyncInferenceConfigProperty(
            client_config=config.AsyncInferenceClientConfigProperty(
                max_concurrent_invocations_per_instance=ASYNC_CONCURRENCY
            ),
            output_config=config.AsyncInferenceOutputConfigProperty(
                s3_output_path=f"{place}responses/", s3_failure_path=f"{place}failures/"
            ),
        )


def _careful(alarms: tuple[str, ...]) -> sagemaker.CfnEndpoint.DeploymentConfigProperty:
    """A canary, then the rest; back if an alarm goes off."""
    endpoint = sagemaker.CfnEndpoint
    return endpoint.DeploymentConfigProperty(
        auto_rollback_configuration=endpoint.AutoRollbackConfigProperty(
            alarms=[endpoint.AlarmProperty(alarm_name=name) for name in alarms]
        ),
        blue_green_update_policy=endpoint.BlueGreenUpdatePolicyProperty(
            maximum_execution_timeout_in_seconds=UPDATE_SECONDS,
            termination_wait_in_seconds=BAKE_SECONDS,
            traffic_routing_configuration=endpoint.TrafficRoutingConfigProperty(
                type="CANARY",
                canary_size=endpoint.CapacitySizeProperty(type="CAPACITY_PERCENT", value=CANARY_PERCENT),
                wait_interval_in_seconds=BAKE_SECONDS,
            ),
        ),
    )


def _digest(image: Image, data: ModelData, options: Options) -> str:
    """Eight digits of everything that a configuration depends on."""
    said: Mapping[str, Any] = {
        "image": image.tag,
        "model": data.identity,
        "options": options.model_dump(include={"instance_type", "memory_mb", "concurrency"}),
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:8]
