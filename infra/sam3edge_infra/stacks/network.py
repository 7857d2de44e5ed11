"""Private subnets for containers and simulators, with what they call reached from inside, or an existing VPC.

What is where is kept in parameters of Systems Manager, which other stacks read when they are deployed. An export could
not change while another stack imports it: nothing of a network that is in use could.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from aws_cdk import aws_ssm as ssm
from constructs import Construct

from sam3edge_infra.constructs.log import log_group
from sam3edge_infra.constructs.names import PARTITION, Naming
from sam3edge_infra.constructs.permissions import for_account
from sam3edge_infra.constructs.stack import StageStack
from sam3edge_infra.stages.stage import ExistingNetwork, NewNetwork

SERVICES = {"SageMakerApi": ec2.InterfaceVpcEndpointAwsService.SAGEMAKER_API}
"""What containers of SageMaker call beside S3: the step that registers a model. SageMaker itself pulls their images and
writes their logs and metrics, not by way of the VPC
(https://docs.aws.amazon.com/sagemaker/latest/dg/train-vpc.html); an endpoint's containers call nothing. Each costs by
the hour and zone."""


@dataclass(frozen=True, slots=True)
class Network:
    """What other stacks get.

    Attributes:
        prefix: of the parameters' names.
        zones: how many private subnets there are, each in one.
    """

    prefix: str
    zones: int

    def vpc_id(self, scope: Construct) -> str:
        """Of the VPC, as a stack reads it when it is deployed."""
        return self._read(scope, "vpc")

    def subnet_ids(self, scope: Construct) -> list[str]:
        """Of the private subnets."""
        return [self._subnet(scope, number) for number in range(1, self.zones + 1)]

    def first_subnet_id(self, scope: Construct) -> str:
        """Of one of them, where one is enough."""
        return self._subnet(scope, 1)

    def workloads_id(self, scope: Construct) -> str:
        """Of the security group of what runs in them: no inbound traffic, HTTPS outbound."""
        return self._read(scope, "workloads")

    def _subnet(self, scope: Construct, number: int) -> str:
        return self._read(scope, f"subnet-{number}")

    def _read(self, scope: Construct, name: str) -> str:
        return str(ssm.StringParameter.value_for_string_parameter(scope, f"{self.prefix}/{name}"))


def network_of(naming: Naming, options: NewNetwork | ExistingNetwork) -> Network:
    """The network of a stage."""
    zones = len(options.subnets) if isinstance(options, ExistingNetwork) else options.zones
    return Network(f"/sam3edge/{naming.stage}/network", zones)


class NetworkStack(StageStack):
    """A network.

    Args:
        buckets: that the stage names, in whatever account they are: containers may read them.
    """

    def __init__(
        self, scope: Construct, naming: Naming, options: NewNetwork | ExistingNetwork, buckets: Sequence[str] = ()
    ) -> None:
        super().__init__(scope, "network", naming, "sam3edge: private network")
        vpc: ec2.IVpc
        if isinstance(options, ExistingNetwork):
            vpc = ec2.Vpc.from_vpc_attributes(
                self,
                "Vpc",
                vpc_id=options.vpc,
                vpc_cidr_block=options.cidr,
                availability_zones=list(options.zones),
                private_subnet_ids=list(options.subnets),
                private_subnet_route_table_ids=list(options.route_tables),
            )
        else:
            vpc = self._new(naming, options, buckets)
        workloads = ec2.SecurityGroup(
            self,
            "Workloads",
            vpc=vpc,
            description="Containers and simulators: nothing comes in, HTTPS goes out",
            allow_all_outbound=False,
        )
        workloads.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(443), "AWS services")
        self.network = network_of(naming, options)
        subnets = vpc.private_subnets or vpc.isolated_subnets
        values = {
            "vpc": vpc.vpc_id,
            "workloads": workloads.security_group_id,
            **{f"subnet-{number}": one.subnet_id for number, one in enumerate(subnets, start=1)},
        }
        for name, value in values.items():
            ssm.StringParameter(
                self,
                f"Parameter-{name}",
                parameter_name=f"{self.network.prefix}/{name}",
                string_value=value,
                description="of the stage's network, for its other stacks",
            )

    def _new(self, naming: Naming, options: NewNetwork, buckets: Sequence[str]) -> ec2.Vpc:
        private = ec2.SubnetType.PRIVATE_WITH_EGRESS if options.egress == "nat" else ec2.SubnetType.PRIVATE_ISOLATED
        subnets = [ec2.SubnetConfiguration(name="private", subnet_type=private, cidr_mask=22)]
        if options.egress == "nat":
            subnets.append(ec2.SubnetConfiguration(name="public", subnet_type=ec2.SubnetType.PUBLIC, cidr_mask=26))
        vpc = ec2.Vpc(
            self,
            "Vpc",
            vpc_name=naming("vpc"),
            ip_addresses=ec2.IpAddresses.cidr(options.cidr),
            max_azs=options.zones,
            nat_gateways=1 if options.egress == "nat" else 0,
            subnet_configuration=subnets,
            restrict_default_security_group=False,
        )
        log = log_group(self, "FlowLog", f"/sam3edge/{naming.stage}/flow", logs.RetentionDays.ONE_MONTH)
        writes = iam.Role(
            self,
            "FlowLogRole",
            assumed_by=for_account("vpc-flow-logs.amazonaws.com", naming),
            description="the VPC: its log of rejected connections",
        )
        vpc.add_flow_log(
            "Rejected",
            destination=ec2.FlowLogDestination.to_cloud_watch_logs(log, writes),
            traffic_type=ec2.FlowLogTrafficType.REJECT,
        )
        s3 = vpc.add_gateway_endpoint("S3", service=ec2.GatewayVpcEndpointAwsService.S3)
        if options.egress == "nat":
            vpc.add_gateway_endpoint("DynamoDb", service=ec2.GatewayVpcEndpointAwsService.DYNAMODB)
        else:
            self._closed(naming, vpc, options.cidr, s3, buckets)
        return vpc

    def _closed(
        self, naming: Naming, vpc: ec2.Vpc, cidr: str, s3: ec2.GatewayVpcEndpoint, buckets: Sequence[str]
    ) -> None:
        """The only ways out of a VPC without a NAT gateway, and none of them to another account: whatever runs in a
        container, and with whose credentials, data does not leave by them."""
        for statement in _own_buckets(naming, buckets):
            s3.add_to_policy(statement)
        endpoints = ec2.SecurityGroup(
            self,
            "Endpoints",
            vpc=vpc,
            description="Endpoints of AWS services: HTTPS from the VPC",
            allow_all_outbound=False,
        )
        endpoints.add_ingress_rule(ec2.Peer.ipv4(cidr), ec2.Port.tcp(443), "from the VPC")
        for name, service in SERVICES.items():
            made = vpc.add_interface_endpoint(name, service=service, security_groups=[endpoints], open=False)
            made.add_to_policy(_bounded(["sagemaker:*"], ["*"], {"aws:PrincipalAccount": naming.account}))


def _own_buckets(naming: Naming, named: Sequence[str]) -> list[iam.PolicyStatement]:
    """What S3's endpoint lets through: everything to the account's own buckets, reading to those that the stage
    names. A policy of an endpoint grants nothing by itself: roles are allowed actions by their names."""
    statements = [_bounded(["s3:*"], ["*"], {"aws:ResourceAccount": naming.account})]
    if named:
        arns = [f"arn:{PARTITION}:s3:::{one}" for one in named]
        reads = ["s3:GetObject", "s3:ListBucket", "s3:GetBucketLocation"]
        statements.append(_bounded(reads, [*arns, *(f"{arn}/*" for arn in arns)]))
    return statements


def _bounded(
    actions: Sequence[str], resources: Sequence[str], conditions: dict[str, str] | None = None
) -> iam.PolicyStatement:
    return iam.PolicyStatement(
        principals=[iam.AnyPrincipal()],
        actions=list(actions),
        resources=list(resources),
        conditions={"StringEquals": conditions} if conditions is not None else None,
    )
