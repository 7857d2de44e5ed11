"""What the templates say, stack by stack."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import grimp
import pytest
import yaml
from cfnlint.data import AdditionalSpecs
from cfnlint.helpers import load_resource
from moto.events.models import EventPattern

from sam3edge_infra.constructs.names import naming_of
from sam3edge_infra.costs.estimate import INTERFACE_ENDPOINTS
from sam3edge_infra.stacks.network import SERVICES
from sam3edge_infra.stacks.rollout import rollout_name
from sam3edge_infra.stages.files import FOLDER, parse_stage, read_stage
from sam3edge_infra.stages.values import REGIONS
from sam3edge_pipeline.labeling.settings import LabelingSettings
from sam3edge_pipeline.labeling.workflow import StepFunctions, WorkflowSettings
from sam3edge_pipeline.labeling.workflow import definition as labeling_definition
from sam3edge_pipeline.retraining.settings import RetrainingSettings
from sam3edge_pipeline.rollout.events import event_pattern
from sam3edge_pipeline.rollout.settings import RolloutSettings
from sam3edge_pipeline.rollout.state_machine import FUNCTIONS, Times
from sam3edge_pipeline.rollout.state_machine import definition as rollout_definition
from sam3edge_serving.api.gateway_responses import GATEWAY_RESPONSES
from sam3edge_serving.api.keys import presented
from sam3edge_serving.api.settings import AuthorizerSettings, Settings
from sam3edge_serving.environment import read_settings
from sam3edge_simulator.loop.rollout import approval_event
from support.iam import role_policy
from support.infra_templates import STAGES, Templates

BUCKET, FUNCTION, RULE = "AWS::S3::Bucket", "AWS::Lambda::Function", "AWS::Events::Rule"
ALARM = "AWS::CloudWatch::Alarm"


def everything(templates: Templates, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """All resources of a type, each with where it is."""
    for stage, stacks in templates.stages.items():
        for stack in stacks:
            for name, one in templates.resources(stage, stack, kind).items():
                yield f"{stage}/{stack}/{name}", one


def resource(template: dict[str, Any], name: str) -> dict[str, Any]:
    found: dict[str, Any] = template["Resources"][name]
    return found


# ---------------------------------------------------------------------------------------------------------- storage


def test_buckets_are_private_encrypted_and_reached_by_tls_only_and_what_is_kept_has_versions(
    templates: Templates,
) -> None:
    buckets = dict(everything(templates, BUCKET))
    assert len([one for one in buckets if one.startswith("dev/")]) == 6
    for where, one in buckets.items():
        assert set(one["PublicAccessBlockConfiguration"].values()) == {True}, where
        assert one["BucketEncryption"]["ServerSideEncryptionConfiguration"], where
        versions = {} if "-inference-" in one["BucketName"] else {"Status": "Enabled"}
        assert one.get("VersioningConfiguration", {}) == versions, where
        assert ("LoggingConfiguration" in one) == ("-logs-" not in one["BucketName"]), where
    policies = dict(everything(templates, "AWS::S3::BucketPolicy"))
    assert len(policies) == len(buckets)
    for where, one in policies.items():
        denied = [s for s in one["PolicyDocument"]["Statement"] if s["Effect"] == "Deny"]
        assert {"Bool": {"aws:SecureTransport": "false"}} in [s["Condition"] for s in denied], where


def test_names_of_buckets_fit_s3_in_every_region() -> None:
    # 12 characters are the most that the name of a stage may have
    longest = naming_of(read_stage("dev").model_copy(update={"name": "a" * 12, "region": max(REGIONS, key=len)}))
    for bucket in ("examples", "learning", "artifacts", "inference", "detections", "logs"):
        assert len(longest.bucket(bucket).name) <= 63


def test_uploads_of_devices_are_told_to_eventbridge_and_requests_expire(templates: Templates) -> None:
    buckets = {one["BucketName"].split("-")[2]: one for one in templates.resources("dev", "storage", BUCKET).values()}
    assert buckets["examples"]["NotificationConfiguration"]["EventBridgeConfiguration"]["EventBridgeEnabled"] is True
    rules = buckets["inference"]["LifecycleConfiguration"]["Rules"]
    expiring = {rule["Prefix"] for rule in rules if "ExpirationInDays" in rule}
    assert {"uploads/", "jobs/", "answers/", "async/"} <= expiring


def lifecycle(templates: Templates, stage: str, name: str) -> list[dict[str, Any]]:
    """Rules of a bucket."""
    buckets = {one["BucketName"].split("-")[2]: one for one in templates.resources(stage, "storage", BUCKET).values()}
    rules: list[dict[str, Any]] = buckets[name]["LifecycleConfiguration"]["Rules"]
    return rules


def test_what_clients_send_again_and_again_is_kept_once(templates: Templates) -> None:
    """A form for an upload is good for as many as anybody sends: each would be a version that is paid for."""
    for stage in STAGES:
        rules = lifecycle(templates, stage, "inference")
        assert not any("NoncurrentVersionExpiration" in rule for rule in rules)
        assert all(rule["ExpirationInDays"] <= 7 for rule in rules if "ExpirationInDays" in rule)


@pytest.mark.parametrize(
    ("stage", "days"),
    [
        ("dev", {"examples": 90, "detections": 90, "logs": 30}),
        ("prod", {"examples": 180, "detections": None, "logs": 180}),
    ],
)
def test_files_go_when_the_stage_says_and_cost_less_until_then(
    templates: Templates, stage: str, days: dict[str, int | None]
) -> None:
    for bucket in ("examples", "learning", "artifacts", "detections"):
        [tiers] = [rule["Transitions"] for rule in lifecycle(templates, stage, bucket) if "Transitions" in rule]
        assert tiers == [{"StorageClass": "INTELLIGENT_TIERING", "TransitionInDays": 30}]
    for bucket in ("examples", "learning", "artifacts", "detections", "logs"):
        expiring = [
            rule["ExpirationInDays"] for rule in lifecycle(templates, stage, bucket) if "ExpirationInDays" in rule
        ]
        assert expiring == ([days[bucket]] if days.get(bucket) is not None else [])


def test_no_image_goes_that_a_function_may_have(templates: Templates) -> None:
    repositories = dict(everything(templates, "AWS::ECR::Repository"))
    assert len(repositories) == 5 * len(STAGES)
    for where, one in repositories.items():
        policy = json.loads(one["LifecyclePolicy"]["LifecyclePolicyText"])
        assert {rule["selection"]["tagStatus"] for rule in policy["rules"]} == {"untagged"}, where


@pytest.mark.parametrize(("stage", "policy"), [("dev", "Delete"), ("prod", "Retain")])
def test_data_is_kept_where_the_stage_says_so(templates: Templates, stage: str, policy: str) -> None:
    for stack in ("storage", "rollout", "api", "registry"):
        for one in templates.stages[stage][stack]["Resources"].values():
            if one["Type"] in (BUCKET, "AWS::DynamoDB::Table", "AWS::SageMaker::ModelPackageGroup"):
                assert one["DeletionPolicy"] == policy, one
    tables = templates.resources(stage, "rollout", "AWS::DynamoDB::Table").values()
    assert {one.get("DeletionProtectionEnabled", False) for one in tables} == {policy == "Retain"}


# ---------------------------------------------------------------------------------------------------------- network


def test_containers_are_in_subnets_that_nothing_reaches(templates: Templates) -> None:
    for stage in STAGES:
        groups = templates.resources(stage, "network", "AWS::EC2::SecurityGroup")
        for one in groups.values():
            if one["GroupDescription"].startswith("Containers"):
                assert "SecurityGroupIngress" not in one
                assert [rule["FromPort"] for rule in one["SecurityGroupEgress"]] == [443]
            else:
                assert all(rule["CidrIp"] != "0.0.0.0/0" for rule in one.get("SecurityGroupIngress", ()))
    assert not templates.resources("lite", "network", "AWS::EC2::InternetGateway")
    assert len(templates.resources("dev", "network", "AWS::EC2::NatGateway")) == 1


def vpc_endpoints(templates: Templates, stage: str) -> dict[str, dict[str, Any]]:
    """By the service, without region."""
    found: dict[str, dict[str, Any]] = {}
    for one in templates.resources(stage, "network", "AWS::EC2::VPCEndpoint").values():
        name = one["ServiceName"]
        text = name if isinstance(name, str) else "".join(map(str, name["Fn::Join"][1]))
        found[re.sub(r"^com\.amazonaws\.(.+?[}\d])?\.", "", text)] = one
    return found


def test_without_a_nat_gateway_a_vpc_has_an_endpoint_for_what_its_containers_call_and_for_nothing_else(
    templates: Templates,
) -> None:
    """An interface endpoint costs as much as a third of a NAT gateway; what is called is looked for in the code."""
    roots = ("sam3edge", "sam3edge_export", "sam3edge_pipeline")
    graph = grimp.build_graph(*roots)
    steps = {name for name in graph.modules if re.fullmatch(r"sam3edge_pipeline\.steps\.\w+", name)}
    reached = steps.union(*(graph.find_upstream_modules(name) for name in steps))
    files = [find_spec(name).origin for name in sorted(reached)]  # type: ignore[union-attr]
    source = "".join(Path(str(file)).read_text(encoding="utf-8") for file in files)
    called = set(re.findall(r"""boto3\.(?:client|resource)\("([\w-]+)\"""", source))
    [job] = [
        name
        for name, one in templates.resources("lite", "training", "AWS::IAM::Role").items()
        if one.get("RoleName") == "sam3edge-lite-training-jobs"
    ]
    allowed = {action.partition(":")[0] for action in role_policy(templates.stages["lite"]["training"], job).actions()}
    assert vpc_endpoints(templates, "lite").keys() == {"s3", "sagemaker.api"}
    assert {name.partition(".")[0] for name in vpc_endpoints(templates, "lite")} == called & allowed
    assert len(SERVICES) == INTERFACE_ENDPOINTS == 1
    for stage in ("dev", "prod"):  # the endpoint's containers call nothing at all
        assert templates.only(stage, "endpoint", "AWS::SageMaker::Model")["EnableNetworkIsolation"] is True
    assert "VpcConfig" not in templates.only("lite", "endpoint", "AWS::SageMaker::Model")


@pytest.mark.parametrize("stage", ["lite", "none"])
def test_nothing_leaves_a_vpc_without_a_nat_gateway_for_another_account(templates: Templates, stage: str) -> None:
    account = {"StringEquals": {"aws:ResourceAccount": read_stage(stage).account}}
    made = vpc_endpoints(templates, stage)
    [statement] = made["s3"]["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Condition"]) == ("Allow", account)
    [statement] = made["sagemaker.api"]["PolicyDocument"]["Statement"]
    assert statement["Condition"] == {"StringEquals": {"aws:PrincipalAccount": read_stage(stage).account}}


def test_buckets_that_the_stage_names_are_read_wherever_they_are(templates: Templates) -> None:
    policy = vpc_endpoints(templates, "variants")["s3"]["PolicyDocument"]["Statement"]
    [named] = [one for one in policy if "Condition" not in one]
    assert set(named["Action"]) == {"s3:GetObject", "s3:ListBucket", "s3:GetBucketLocation"}
    assert set(named["Resource"]) == {"arn:aws:s3:::models", "arn:aws:s3:::models/*"}
    document = yaml.safe_load((FOLDER / "prod.yaml").read_text())
    document["bundle"] = {"source": "s3", "uri": "s3://models/yard/"}
    assert parse_stage(document, "prod").named_buckets == ("models", "sam3edge-prod-checkpoints")


def network_parameters(templates: Templates, stage: str, stack: str) -> set[str]:
    """What a stack reads of the network when it is deployed."""
    parameters = templates.stages[stage][stack].get("Parameters", {}).values()
    names = [str(one.get("Default")) for one in parameters if one["Type"] == "AWS::SSM::Parameter::Value<String>"]
    return {name.rpartition("/")[2] for name in names if f"/{stage}/network/" in name}


def test_what_is_where_in_the_network_is_read_and_not_imported(templates: Templates) -> None:
    """A network could not change while another stack imports a part of it."""
    assert "Fn::ImportValue" not in json.dumps(templates.stages)
    for stage in STAGES:
        kept = {
            one["Name"].rpartition("/")[2]: one["Value"]
            for one in templates.resources(stage, "network", "AWS::SSM::Parameter").values()
        }
        assert kept.keys() == {"vpc", "subnet-1", "subnet-2", "workloads"}
        for stack in templates.stages[stage]:
            read = network_parameters(templates, stage, stack)
            assert read <= kept.keys()
            reads = stack in ("training", "simulator") or (stack == "endpoint" and stage != "lite")
            assert bool(read) == reads, (stage, stack)


def test_an_existing_vpc_is_used_and_none_is_made(templates: Templates) -> None:
    assert not templates.resources("prod", "network", "AWS::EC2::VPC")
    assert templates.only("prod", "network", "AWS::EC2::SecurityGroup")["VpcId"] == "vpc-0123456789abcdef0"
    kept = {one["Name"]: one["Value"] for one in templates.resources("prod", "network", "AWS::SSM::Parameter").values()}
    parameters = templates.stages["prod"]["endpoint"]["Parameters"]
    subnets = templates.only("prod", "endpoint", "AWS::SageMaker::Model")["VpcConfig"]["Subnets"]
    assert [kept[parameters[one["Ref"]]["Default"]] for one in subnets] == [
        "subnet-0123456789abcdef0",
        "subnet-0123456789abcdef1",
    ]


# --------------------------------------------------------------------------------------------------------- endpoint


def test_an_instance_endpoint_scales_and_is_updated_by_a_canary_that_alarms_roll_back(templates: Templates) -> None:
    endpoint = templates.only("dev", "endpoint", "AWS::SageMaker::Endpoint")
    careful = endpoint["DeploymentConfig"]
    alarms = templates.resources("dev", "endpoint", "AWS::CloudWatch::Alarm").values()
    watched = {one["AlarmName"] for one in careful["AutoRollbackConfiguration"]["Alarms"]}
    assert (
        watched
        == {one["AlarmName"] for one in alarms}
        == {"sam3edge-dev-endpoint-failing", "sam3edge-dev-endpoint-slow"}
    )
    routing = careful["BlueGreenUpdatePolicy"]["TrafficRoutingConfiguration"]
    assert routing["Type"] == "CANARY"
    assert (
        routing["WaitIntervalInSeconds"] + careful["BlueGreenUpdatePolicy"]["TerminationWaitInSeconds"]
        < (careful["BlueGreenUpdatePolicy"]["MaximumExecutionTimeoutInSeconds"])
    )
    for one in alarms:
        assert {d["Name"]: d["Value"] for d in one["Dimensions"]} == {
            "EndpointName": endpoint["EndpointName"],
            "VariantName": "main",
        }
    assert endpoint["RetainAllVariantProperties"] is True
    target = templates.only("dev", "endpoint", "AWS::ApplicationAutoScaling::ScalableTarget")
    assert (target["MinCapacity"], target["MaxCapacity"]) == (1, 2)
    assert target["ResourceId"] == f"endpoint/{endpoint['EndpointName']}/variant/main"


def test_an_update_of_an_async_endpoint_is_rolled_back_by_errors_and_by_nothing_that_long_requests_do(
    templates: Templates,
) -> None:
    endpoint = templates.only("prod", "endpoint", "AWS::SageMaker::Endpoint")
    watched = [one["AlarmName"] for one in endpoint["DeploymentConfig"]["AutoRollbackConfiguration"]["Alarms"]]
    alarms = {one["AlarmName"]: one for one in templates.resources("prod", "endpoint", ALARM).values()}
    assert [alarms[name]["MetricName"] for name in watched] == ["Invocation5XXErrors"]
    update = endpoint["DeploymentConfig"]["BlueGreenUpdatePolicy"]
    bake = update["TrafficRoutingConfiguration"]["WaitIntervalInSeconds"]
    assert all(alarms[name]["Period"] * alarms[name]["EvaluationPeriods"] < bake for name in watched)
    monitored = templates.resources("prod", "monitoring", ALARM).values()
    assert "ModelLatency" not in {one.get("MetricName") for one in monitored}


@pytest.mark.parametrize("stage", ["dev", "prod", "lite"])
def test_the_endpoints_role_reads_the_alarms_that_its_updates_are_watched_by(templates: Templates, stage: str) -> None:
    """SageMaker reads them as that role: https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-configuration.html"""
    endpoint = templates.only(stage, "endpoint", "AWS::SageMaker::Endpoint")
    rollback = endpoint.get("DeploymentConfig", {}).get("AutoRollbackConfiguration", {"Alarms": []})
    watched = {
        naming_of(read_stage(stage)).arn("cloudwatch", f"alarm:{one['AlarmName']}") for one in rollback["Alarms"]
    }
    allowed = {
        arn
        for policy in templates.resources(stage, "endpoint", "AWS::IAM::Policy").values()
        for one in policy["PolicyDocument"]["Statement"]
        if "cloudwatch:DescribeAlarms" in listed(one["Action"])
        for arn in listed(one["Resource"])
    }
    assert allowed == watched
    assert bool(watched) == (stage != "lite")


def test_an_async_endpoint_scales_to_zero_and_from_zero(templates: Templates) -> None:
    target = templates.only("prod", "endpoint", "AWS::ApplicationAutoScaling::ScalableTarget")
    assert (target["MinCapacity"], target["MaxCapacity"]) == (0, 4)
    policies = templates.resources("prod", "endpoint", "AWS::ApplicationAutoScaling::ScalingPolicy").values()
    assert {one["PolicyType"] for one in policies} == {"TargetTrackingScaling", "StepScaling"}
    alarms = templates.resources("prod", "endpoint", "AWS::CloudWatch::Alarm").values()
    [waking] = [one for one in alarms if one["MetricName"] == "HasBacklogWithoutCapacity"]
    assert waking["AlarmActions"]
    configuration = templates.only("prod", "endpoint", "AWS::SageMaker::EndpointConfig")
    [variant] = configuration["ProductionVariants"]
    assert variant["InferenceAmiVersion"] == "al2023-ami-sagemaker-inference-gpu-4-1"
    output = configuration["AsyncInferenceConfig"]["OutputConfig"]
    assert output["S3OutputPath"].startswith("s3://sam3edge-prod-inference-444455556666-eu-central-1/async/")
    container = templates.only("prod", "endpoint", "AWS::SageMaker::Model")["PrimaryContainer"]
    assert container["ModelPackageName"].endswith(":model-package/sam3edge-prod-models/1")
    assert int(container["Environment"]["SAM3EDGE_MAX_BODY_BYTES"]) == 2**30


def test_a_serverless_endpoint_has_no_instances_no_vpc_and_a_packed_model(templates: Templates) -> None:
    model = templates.only("lite", "endpoint", "AWS::SageMaker::Model")
    assert "VpcConfig" not in model
    assert not model["EnableNetworkIsolation"]
    [variant] = templates.only("lite", "endpoint", "AWS::SageMaker::EndpointConfig")["ProductionVariants"]
    assert variant["ServerlessConfig"] == {"MaxConcurrency": 2, "MemorySizeInMB": 6144}
    assert "InstanceType" not in variant
    assert "DeploymentConfig" not in templates.only("lite", "endpoint", "AWS::SageMaker::Endpoint")
    assert not templates.resources("lite", "endpoint", "AWS::ApplicationAutoScaling::ScalableTarget")
    assert ".gz" in json.dumps(model["PrimaryContainer"]["ModelDataUrl"])


def test_a_bundle_in_a_folder_of_s3_is_read_from_there_alone(templates: Templates) -> None:
    source = templates.only("variants", "endpoint", "AWS::SageMaker::Model")["PrimaryContainer"]["ModelDataSource"]
    assert source["S3DataSource"] == {"CompressionType": "None", "S3DataType": "S3Prefix", "S3Uri": "s3://models/yard/"}
    statements = [
        one
        for policy in templates.resources("variants", "endpoint", "AWS::IAM::Policy").values()
        for one in policy["PolicyDocument"]["Statement"]
        if "s3:GetObject" in one["Action"]
    ]
    assert [one["Resource"] for one in statements] == ["arn:aws:s3:::models/yard/*"]


def test_a_change_of_the_configuration_makes_another_one(templates: Templates) -> None:
    names = {
        stage: next(iter(templates.resources(stage, "endpoint", "AWS::SageMaker::EndpointConfig")))
        for stage in ("dev", "prod", "lite", "variants")
    }
    assert len(set(names.values())) == 4


# -------------------------------------------------------------------------------------------------------------- api


def test_every_request_needs_a_key_that_the_authorizer_knows(templates: Templates) -> None:
    for stage in ("dev", "prod", "lite"):
        rest = templates.only(stage, "api", "AWS::ApiGateway::RestApi")
        assert (rest["SecurityPolicy"], rest["EndpointAccessMode"]) == ("SecurityPolicy_TLS13_1_2_2021_06", "STRICT")
        assert rest["ApiKeySourceType"] == "AUTHORIZER"
        assert rest["BinaryMediaTypes"] == ["*/*"]
        method = templates.only(stage, "api", "AWS::ApiGateway::Method")
        assert (method["HttpMethod"], method["AuthorizationType"], method["ApiKeyRequired"]) == ("ANY", "CUSTOM", True)
        assert method["Integration"]["TimeoutInMillis"] == 29_000
        authorizer = templates.only(stage, "api", "AWS::ApiGateway::Authorizer")
        assert (authorizer["Type"], authorizer["AuthorizerResultTtlInSeconds"]) == ("REQUEST", 0)
        assert not authorizer.get("IdentitySource")


def test_api_gateway_answers_as_the_api_does(templates: Templates) -> None:
    made = templates.resources("dev", "api", "AWS::ApiGateway::GatewayResponse").values()
    assert {one["ResponseType"] for one in made} == set(GATEWAY_RESPONSES)
    for one in made:
        response = GATEWAY_RESPONSES[one["ResponseType"]]
        assert one["ResponseTemplates"] == {"application/json": response.template}
        assert one["ResponseParameters"] == response.parameters
        assert one.get("StatusCode") == (None if response.status is None else str(response.status))


def test_keys_are_throttled_as_the_stage_says(templates: Templates) -> None:
    for stage in ("dev", "prod", "lite"):
        options = read_stage(stage).api
        assert options is not None
        plan = templates.only(stage, "api", "AWS::ApiGateway::UsagePlan")
        assert plan["Throttle"] == {"BurstLimit": options.burst, "RateLimit": options.rate}
        assert plan["Quota"] == {"Limit": options.quota, "Period": "DAY"}


def test_a_firewall_is_where_the_stage_wants_one_and_lets_images_through(templates: Templates) -> None:
    assert not templates.resources("dev", "api", "AWS::WAFv2::WebACL")
    rules = templates.only("prod", "api", "AWS::WAFv2::WebACL")["Rules"]
    [common] = [one for one in rules if one["Name"] == "AWSManagedRulesCommonRuleSet"]
    [counted] = common["Statement"]["ManagedRuleGroupStatement"]["RuleActionOverrides"]
    assert counted == {"ActionToUse": {"Count": {}}, "Name": "SizeRestrictions_BODY"}
    assert templates.resources("prod", "api", "AWS::WAFv2::WebACLAssociation")


def test_what_the_firewall_blocks_is_logged_without_keys(templates: Templates) -> None:
    logging = templates.only("prod", "api", "AWS::WAFv2::LoggingConfiguration")
    [acl] = templates.resources("prod", "api", "AWS::WAFv2::WebACL")
    assert logging["ResourceArn"] == {"Fn::GetAtt": [acl, "Arn"]}
    redacted = [one["SingleHeader"]["Name"] for one in logging["RedactedFields"]]
    assert [presented({name: "Bearer K"}) for name in redacted] == ["K", "Bearer K"]  # all that a key is taken from
    assert presented({"cookie": "K", "user-agent": "K"}) == ""
    [place] = logging["LogDestinationConfigs"]
    names = {one["LogGroupName"] for one in templates.resources("prod", "api", "AWS::Logs::LogGroup").values()}
    assert place.rpartition(":log-group:")[2] in names
    assert place.rpartition(":log-group:")[2].startswith("aws-waf-logs-")  # to no other name does WAF write
    assert logging["LoggingFilter"]["DefaultBehavior"] == "DROP"
    assert not templates.resources("dev", "api", "AWS::WAFv2::LoggingConfiguration")


def environment(templates: Templates, stage: str, stack: str, name: str) -> dict[str, str]:
    found = [one for one in templates.resources(stage, stack, FUNCTION).values() if one["FunctionName"] == name]
    variables: dict[str, str] = found[0]["Environment"]["Variables"]
    return variables


def test_the_functions_can_read_what_they_are_told(templates: Templates, monkeypatch: pytest.MonkeyPatch) -> None:
    for stage in ("dev", "prod", "lite"):
        settings = read_settings(Settings, environment(templates, stage, "api", f"sam3edge-{stage}-api"))
        assert settings.answers_at_once == (stage != "prod")
        assert bool(settings.async_endpoint) == (stage == "prod")
        read_settings(AuthorizerSettings, environment(templates, stage, "api", f"sam3edge-{stage}-api-authorizer"))
    for stage in STAGES:
        told = {
            **environment(templates, stage, "rollout", f"sam3edge-{stage}-rollout-judge"),
            **environment(templates, stage, "labeling", f"sam3edge-{stage}-labeling-check"),
            **environment(templates, stage, "training", f"sam3edge-{stage}-retrain-train"),
        }
        with monkeypatch.context() as patched:
            for name, value in told.items():
                patched.setenv(name, value)
            rollout, labeling, retraining = RolloutSettings(), LabelingSettings(), RetrainingSettings()
        options = read_stage(stage)
        assert rollout.nucleus_version == options.nucleus.version
        assert rollout.max_bakes == Times().bake.rounds
        assert rollout.claim_seconds > Times().longest()
        assert labeling.phrase_list() == options.labeling.phrases
        assert retraining.machine_arn.endswith(f":stateMachine:sam3edge-{stage}-labeling")
    ground_truth = environment(templates, "variants", "labeling", "sam3edge-prod-labeling-start")
    assert ground_truth["SAM3EDGE_LABELING_WORK_TEAM"].endswith("/yard")


# ------------------------------------------------------------------------------------------------ machines, patterns


def test_the_state_machines_are_those_that_the_loops_tests_execute(templates: Templates) -> None:
    for stage in STAGES:
        options = read_stage(stage)
        naming = naming_of(options)
        arns = {name: naming.function_arn(rollout_name(name)) for name in FUNCTIONS}
        machine = templates.only(stage, "rollout", "AWS::StepFunctions::StateMachine")
        assert json.loads(machine["DefinitionString"]) == rollout_definition(arns, Times())
        steps = ("check", "start", "status", "verify", "store")
        functions = StepFunctions(**{step: naming.function_arn(f"labeling-{step}") for step in steps})
        bounds = WorkflowSettings(minimum=options.labeling.minimum, maximum=options.labeling.maximum)
        machine = templates.only(stage, "labeling", "AWS::StepFunctions::StateMachine")
        assert json.loads(machine["DefinitionString"]) == labeling_definition(functions, bounds)


def test_the_functions_that_the_machines_call_are_there(templates: Templates) -> None:
    for stage in STAGES:
        naming = naming_of(read_stage(stage))
        for stack in ("rollout", "labeling"):
            made = {
                naming.arn("lambda", f"function:{one['FunctionName']}"): one["ImageConfig"]["Command"][0]
                for one in templates.resources(stage, stack, FUNCTION).values()
            }
            states = json.loads(templates.only(stage, stack, "AWS::StepFunctions::StateMachine")["DefinitionString"])
            called = {one["Parameters"]["FunctionName"] for one in states["States"].values() if one["Type"] == "Task"}
            assert called <= made.keys()
            for handler in made.values():
                module, _, name = handler.rpartition(".")
                assert callable(getattr(__import__(module, fromlist=[name]), name)), handler


def rules(templates: Templates, stage: str, stack: str) -> dict[str, dict[str, Any]]:
    return {one["Name"]: one for one in templates.resources(stage, stack, RULE).values()}


def test_approvals_of_the_stages_own_group_start_a_rollout(templates: Templates) -> None:
    approved = rules(templates, "dev", "rollout")["sam3edge-dev-approved"]
    assert approved["EventPattern"] == event_pattern("sam3edge-dev-models")
    pattern = EventPattern.load(json.dumps(approved["EventPattern"]))
    arn = "arn:aws:sagemaker:eu-central-1:111122223333:model-package/sam3edge-dev-models/3"
    assert pattern.matches_event(approval_event(arn, "Approved"))
    assert not pattern.matches_event(approval_event(arn, "Rejected"))
    assert not pattern.matches_event(approval_event(arn.replace("dev", "prod"), "Approved"))
    [target] = approved["Targets"]
    assert target["DeadLetterConfig"]["Arn"]


def test_labels_start_training_and_schedules_ask_for_labels(templates: Templates) -> None:
    made = rules(templates, "dev", "training")
    assert made["sam3edge-dev-retraining-due"]["ScheduleExpression"] == "rate(7 days)"
    labeled = EventPattern.load(json.dumps(made["sam3edge-dev-labeled"]["EventPattern"]))
    machine = naming_of(read_stage("dev")).machine_arn("labeling")
    event: dict[str, Any] = {
        "source": "aws.states",
        "detail-type": "Step Functions Execution Status Change",
        "detail": {"stateMachineArn": machine, "status": "SUCCEEDED"},
    }
    assert labeled.matches_event(event)
    assert not labeled.matches_event({**event, "detail": {**event["detail"], "status": "FAILED"}})
    counted = made["sam3edge-dev-new-examples"]
    assert counted["EventPattern"]["detail"]["bucket"]["name"] == ["sam3edge-dev-examples-111122223333-eu-central-1"]
    told = environment(templates, "dev", "training", "sam3edge-dev-retrain-label")
    assert told["SAM3EDGE_RETRAINING_UPLOADS_RULE"] == counted["Name"]
    assert "sam3edge-lite-retraining-due" not in rules(templates, "lite", "training")
    assert "sam3edge-none-retrain-on-examples" not in rules(templates, "none", "training")
    assert "sam3edge-none-new-examples" not in rules(templates, "none", "training")


def test_new_examples_are_counted_every_hour_and_not_only_once(templates: Templates) -> None:
    """An alarm would go off once and stay where it is, as long as devices go on sending as much."""
    hourly = rules(templates, "dev", "training")["sam3edge-dev-retrain-on-examples"]
    assert hourly["ScheduleExpression"] == "rate(1 hour)"
    [target] = hourly["Targets"]
    transformer = target["InputTransformer"]
    assert transformer["InputPathsMap"] == {"time": "$.time"}
    event = json.loads(transformer["InputTemplate"].replace("<time>", '"2026-03-02T08:00:00Z"'))
    assert event == {"time": "2026-03-02T08:00:00Z", "minimum": 100}


def test_what_devices_say_is_checked_for_who_says_it_and_kept_in_a_queue(templates: Templates) -> None:
    made = templates.resources("dev", "rollout", "AWS::IoT::TopicRule").values()
    sql = {one["TopicRulePayload"]["Sql"] for one in made}
    topics = ("detections", "errors", "status", "status/model")
    assert sql == {f"SELECT * FROM 'sam3edge/+/{topic}' WHERE device = topic(2)" for topic in topics}
    queues = {one["QueueName"]: one for one in templates.resources("dev", "rollout", "AWS::SQS::Queue").values()}
    url = "https://sqs.eu-central-1.amazonaws.com/111122223333/"
    for one in made:
        [action] = one["TopicRulePayload"]["Actions"]
        assert action["Sqs"]["QueueUrl"] == f"{url}sam3edge-dev-observations"
        assert one["TopicRulePayload"]["ErrorAction"]["Sqs"]["QueueUrl"] == f"{url}sam3edge-dev-observations-dead"
    observations = queues["sam3edge-dev-observations"]
    assert observations["RedrivePolicy"]["maxReceiveCount"] == 5
    mapping = templates.only("dev", "rollout", "AWS::Lambda::EventSourceMapping")
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    observe = [
        one for one in templates.resources("dev", "rollout", FUNCTION).values() if "observe" in one["FunctionName"]
    ]
    assert observations["VisibilityTimeout"] >= 6 * observe[0]["Timeout"]


# --------------------------------------------------------------------------------------------------------- training


def test_the_pipeline_is_the_repositorys_in_the_accounts_network_and_role(templates: Templates) -> None:
    pipeline = templates.only("prod", "training", "AWS::SageMaker::Pipeline")
    body = json.dumps(pipeline["PipelineDefinition"]["PipelineDefinitionBody"])
    assert "role/sam3edge-pipeline" not in body
    assert "123456789012" not in body
    assert body.count("networksubnet1") == 5
    assert "sam3edge-prod-models" in body
    assert "scratch|dent" in body


# -------------------------------------------------------------------------------------------------- least privilege


def statements(templates: Templates) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every statement of every policy of a role, with where it is.

    Not those that CDK Pipelines writes, with groups of actions: ``stacks/delivery.py`` accepts them kind by kind.
    """
    for where, policy in everything(templates, "AWS::IAM::Policy"):
        if where.startswith("delivered/delivery/Pipeline"):
            continue
        for one in policy["PolicyDocument"]["Statement"]:
            yield where, one
    for where, role in everything(templates, "AWS::IAM::Role"):
        for policy in role.get("Policies", ()):
            for one in policy["PolicyDocument"]["Statement"]:
                yield where, one


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


WITHOUT_RESOURCES = {
    "greengrass:createdeployment": "names a resource of Greengrass V1 only",
    "greengrass:listdeployments": "names a resource of Greengrass V1 only",
    "cloudwatch:putmetricdata": "has no resource for metrics; a condition bounds the namespace",
}
"""Actions that the list of AWS' resources gives a resource, and that need ``*`` nevertheless."""


def test_no_policy_allows_groups_of_actions_or_everything_where_less_would_do(templates: Templates) -> None:
    known = load_resource(AdditionalSpecs, "Policies.json")
    seen = 0
    for where, one in statements(templates):
        seen += 1
        assert one["Effect"] == "Allow", where
        assert "NotAction" not in one, where
        for action in listed(one["Action"]):
            assert "*" not in action, (where, action)
            service, _, name = action.lower().partition(":")
            assert name in known[service]["Actions"], (where, action)
            if "*" in listed(one["Resource"]) and action.lower() not in WITHOUT_RESOURCES:
                assert not known[service]["Actions"][name].get("Resources"), (where, action)
    assert seen > 100


def test_no_role_has_a_managed_policy_but_api_gateways_logging(templates: Templates) -> None:
    for where, role in everything(templates, "AWS::IAM::Role"):
        managed = json.dumps(role.get("ManagedPolicyArns", []))
        assert "FullAccess" not in managed
        assert managed == "[]" or "AmazonAPIGatewayPushToCloudWatchLogs" in managed, where


def test_only_a_function_is_told_to_pass_a_role_and_to_sagemaker_only(templates: Templates) -> None:
    passing = [(where, one) for where, one in statements(templates) if "iam:PassRole" in listed(one["Action"])]
    assert passing
    for where, one in passing:
        assert one["Action"] == "iam:PassRole", where
        assert one["Condition"] == {"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}, where
        assert "*" not in json.dumps(one["Resource"]), where
