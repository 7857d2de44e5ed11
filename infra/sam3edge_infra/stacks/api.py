"""The API: a REST API whose keys its own authorizer knows, in front of the function that asks the endpoint.

See pipeline/sam3edge_serving/api/README.md; what API Gateway must do is in its ``gateway_responses.py``.
"""

from __future__ import annotations

from dataclasses import dataclass

import aws_cdk as cdk
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from sam3edge_infra.constructs.acknowledged import acknowledge
from sam3edge_infra.constructs.function import FunctionSpec, image_function
from sam3edge_infra.constructs.images import Images
from sam3edge_infra.constructs.log import log_group
from sam3edge_infra.constructs.names import Naming
from sam3edge_infra.constructs.permissions import Statement, allow
from sam3edge_infra.constructs.stack import StageStack
from sam3edge_infra.constructs.table import on_demand_table
from sam3edge_infra.stacks.endpoint import Endpoint
from sam3edge_infra.stacks.firewall import firewall
from sam3edge_infra.stacks.storage import Storage
from sam3edge_infra.stages.stage import Api as ApiOptions
from sam3edge_serving.api.gateway_responses import (
    API_KEY_SOURCE,
    BINARY_MEDIA_TYPES,
    GATEWAY_RESPONSES,
    LAMBDA_TIMEOUT_SECONDS,
)

STAGE = "live"
TLS_POLICY = "SecurityPolicy_TLS13_1_2_2021_06"
"""TLS 1.2 and 1.3; by itself API Gateway takes 1.0, too."""

_LOGGING = "service-role/AmazonAPIGatewayPushToCloudWatchLogs"
_FINDINGS = {
    "AwsSolutions-APIG2": "the function checks requests: paths, members and sizes, and says what is wrong in OpenAI's "
    "shape, which a validator of API Gateway cannot",
    "AwsSolutions-COG4": "programs with keys use it, not people: the authorizer knows the keys",
}


@dataclass(frozen=True, slots=True)
class Api:
    """What other stacks get.

    Attributes:
        api_name: of the REST API, by which its metrics go; ``stage`` is its stage.
        function, authorizer: names of the functions.
        keys: name of the table of keys.
    """

    api_name: str
    stage: str
    function: str
    authorizer: str
    keys: str


def api_of(naming: Naming) -> Api:
    """The API of a stage."""
    return Api(naming("api"), STAGE, naming("api"), naming("api-authorizer"), naming("api-keys"))


def usage_plan_name(naming: Naming) -> str:
    """Of the usage plan that ``key_admin`` enters keys in."""
    return naming("standard")


class ApiStack(StageStack):
    """The API."""

    def __init__(
        self,
        scope: Construct,
        naming: Naming,
        storage: Storage,
        images: Images,
        endpoint: Endpoint,
        options: ApiOptions,
    ) -> None:
        super().__init__(scope, "api", naming, "sam3edge: API in front of the endpoint")
        self._naming = naming
        self.api = api_of(naming)
        on_demand_table(self, "api-keys", naming, "id")
        on_demand_table(self, "api-idempotency", naming, "id", expires="expiration")
        image = images.image(self, "api")
        function = image_function(
            self,
            FunctionSpec(
                "api",
                "sam3edge_serving.api.handler.handler",
                "API: answers requests",
                self._environment(storage, endpoint, options),
                seconds=LAMBDA_TIMEOUT_SECONDS,
                memory_mb=1769,  # one whole processor: images are decoded from base64, and large JSON is written
            ),
            naming,
            image,
        )
        allow(function.role, *_access(naming, storage, endpoint))
        authorizer = image_function(
            self,
            FunctionSpec(
                "api-authorizer",
                "sam3edge_serving.api.authorizer.handler",
                "API: which key a request carries",
                {"SAM3EDGE_API_KEY_TABLE": self.api.keys},
                seconds=10,
            ),
            naming,
            image,
        )
        allow(authorizer.role, Statement(["dynamodb:GetItem"], [naming.table_arn("api-keys")]))
        rest = self._rest_api(function, authorizer, options)
        if options.waf == "managed":
            firewall(self, naming, _stage_arn(rest, naming), rest.deployment_stage)

    def _environment(self, storage: Storage, endpoint: Endpoint, options: ApiOptions) -> dict[str, str]:
        told = {
            "SAM3EDGE_API_BUCKET": storage.inference.name,
            "SAM3EDGE_API_IDEMPOTENCY_TABLE": self._naming("api-idempotency"),
            "SAM3EDGE_API_IMAGE_HOSTS": ",".join(options.image_hosts),
        }
        kind = "SAM3EDGE_API_ASYNC_ENDPOINT_NAME" if endpoint.kind == "async" else "SAM3EDGE_API_ENDPOINT_NAME"
        return told | {kind: endpoint.name}

    def _rest_api(
        self,
        function: lambda_.DockerImageFunction,
        authorizer: lambda_.DockerImageFunction,
        options: ApiOptions,
    ) -> apigateway.RestApi:
        naming = self._naming
        account = self._account()
        log = log_group(self, "AccessLog", f"/aws/apigateway/{naming('api')}")
        keys = apigateway.RequestAuthorizer(
            self,
            "Keys",
            handler=authorizer,
            authorizer_name=naming("keys"),
            identity_sources=[],  # a key may stand in either of two headers
            results_cache_ttl=cdk.Duration.seconds(0),
        )
        rest = apigateway.RestApi(
            self,
            "Api",
            rest_api_name=naming("api"),
            description="promptable segmentation: OpenAI's and OversightML's ways to ask",
            binary_media_types=list(BINARY_MEDIA_TYPES),
            api_key_source_type=getattr(apigateway.ApiKeySourceType, API_KEY_SOURCE),
            cloud_watch_role=False,
            disable_execute_api_endpoint=False,
            endpoint_types=[apigateway.EndpointType.REGIONAL],
            deploy_options=apigateway.StageOptions(
                stage_name=STAGE,
                access_log_destination=apigateway.LogGroupLogDestination(log),
                access_log_format=apigateway.AccessLogFormat.json_with_standard_fields(
                    caller=False,
                    http_method=True,
                    ip=True,
                    protocol=True,
                    request_time=True,
                    resource_path=True,
                    response_length=True,
                    status=True,
                    user=False,
                ),
                logging_level=apigateway.MethodLoggingLevel.ERROR,
                data_trace_enabled=False,  # bodies are images, and headers have keys
                metrics_enabled=True,
                tracing_enabled=True,
                throttling_rate_limit=options.rate * 10,
                throttling_burst_limit=min(5000, options.burst * 10),
            ),
        )
        rest.deployment_stage.node.add_dependency(account)
        resource = rest.node.default_child
        resource.security_policy, resource.endpoint_access_mode = TLS_POLICY, "STRICT"
        rest.root.add_resource("{proxy+}").add_method(
            "ANY",
            apigateway.LambdaIntegration(
                function, timeout=cdk.Duration.seconds(LAMBDA_TIMEOUT_SECONDS), allow_test_invoke=False
            ),
            authorization_type=apigateway.AuthorizationType.CUSTOM,
            authorizer=keys,
            api_key_required=True,
        )
        for kind, response in GATEWAY_RESPONSES.items():
            apigateway.CfnGatewayResponse(
                self,
                f"Response-{kind}",
                rest_api_id=rest.rest_api_id,
                response_type=kind,
                status_code=str(response.status) if response.status is not None else None,
                response_templates={"application/json": response.template},
                response_parameters=response.parameters,
            )
        plan = rest.add_usage_plan(
            "Plan",
            name=usage_plan_name(naming),
            description="the limits of one key",
            api_stages=[apigateway.UsagePlanPerApiStage(api=rest, stage=rest.deployment_stage)],
            throttle=apigateway.ThrottleSettings(rate_limit=options.rate, burst_limit=options.burst),
            quota=apigateway.QuotaSettings(limit=options.quota, period=apigateway.Period.DAY),
        )
        cdk.CfnOutput(self, "Url", value=f"{rest.url}v1", description="base_url of clients")
        cdk.CfnOutput(self, "UsagePlan", value=plan.usage_plan_id, description="of key_admin issue --usage-plan")
        cdk.CfnOutput(self, "KeyTable", value=self.api.keys, description="of key_admin --table")
        acknowledge(rest, _FINDINGS)
        if options.waf == "none":
            acknowledge(
                rest, {"AwsSolutions-APIG3": "the stage wants none: every request needs a key that throttles it"}
            )
        return rest

    def _account(self) -> apigateway.CfnAccount:
        """API Gateway writes logs as a role of the account and region; it is left when the stack goes."""
        role = iam.Role(
            self,
            "LogRole",
            assumed_by=iam.ServicePrincipal("apigateway.amazonaws.com"),
            managed_policies=[iam.ManagedPolicy.from_aws_managed_policy_name(_LOGGING)],
            description="API Gateway: logs",
        )
        acknowledge(
            role,
            {
                f"AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/{_LOGGING}]": (
                    "API Gateway accepts no role of the account with less than this policy, which is made for it"
                )
            },
        )
        role.apply_removal_policy(cdk.RemovalPolicy.RETAIN)
        account = apigateway.CfnAccount(self, "Account", cloud_watch_role_arn=role.role_arn)
        account.apply_removal_policy(cdk.RemovalPolicy.RETAIN)
        return account


def _stage_arn(rest: apigateway.RestApi, naming: Naming) -> str:
    """ARN of the API's stage, as the firewall takes it."""
    return f"arn:aws:apigateway:{naming.region}::/restapis/{rest.rest_api_id}/stages/{STAGE}"


def _access(naming: Naming, storage: Storage, endpoint: Endpoint) -> tuple[Statement, ...]:
    inference = storage.inference
    asks = "sagemaker:InvokeEndpointAsync" if endpoint.kind == "async" else "sagemaker:InvokeEndpoint"
    mine = "each key has a folder in it"
    return (
        Statement([asks], [endpoint.arn]),
        Statement(["s3:ListBucket"], [inference.arn]),
        Statement(["s3:GetObject", "s3:PutObject"], inference.below("uploads/", "jobs/", "answers/"), mine),
        Statement(["s3:GetObject"], inference.below("async/"), "SageMaker names responses"),
        Statement(
            [f"dynamodb:{verb}Item" for verb in ("Get", "Put", "Update", "Delete")],
            [naming.table_arn("api-idempotency")],
        ),
    )
