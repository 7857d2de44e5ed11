"""Private subnets for containers and simulators, with AWS' services reached from inside, or an existing VPC."""

from __future__ import annotations

from dataclasses import dataclass

from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_logs as logs
from constructs import Construct

from sam3edge_infra.constructs.log import log_group
from sam3edge_infra.constructs.names import Naming
from sam3edge_infra.constructs.permissions import for_account
from sam3edge_infra.constructs.stack import StageStack
from sam3edge_infra.stages.stage import ExistingNetwork, NewNetwork

SERVICES = {
    "EcrApi": ec2.InterfaceVpcEndpointAwsService.ECR,
    "EcrDocker": ec2.InterfaceVpcEndpointAwsService.ECR_DOCKER,
    "Logs": ec2.InterfaceVpcEndpointAwsService.CLOUDWATCH_LOGS,
    "Monitoring": ec2.InterfaceVpcEndpointAwsService.CLOUDWATCH_MONITORING,
    "SageMakerApi": ec2.InterfaceVpcEndpointAwsService.SAGEMAKER_API,
    "SageMakerRuntime": ec2.InterfaceVpcEndpointAwsService.SAGEMAKER_RUNTIME,
    "Sts": ec2.InterfaceVpcEndpointAwsService.STS,
}
"""What containers of SageMaker call, beside S3."""


@dataclass(frozen=True, slots=True)
class Network:
    """What other stacks get.

    Attributes:
        subnets: private ones, one a zone.
        workloads: security group of what runs in them: nothing comes in, HTTPS goes out.
    """

    vpc: ec2.IVpc
    subnets: tuple[ec2.ISubnet, ...]
    workloads: ec2.ISecurityGroup

    @property
    def subnet_ids(self) -> list[str]:
        """As SageMaker takes them."""
        return [subnet.subnet_id for subnet in self.subnets]


class NetworkStack(StageStack):
    """A network."""

    def __init__(self, scope: Construct, naming: Naming, options: NewNetwork | ExistingNetwork) -> None:
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
            vpc = self._new(naming, options)
        workloads = ec2.SecurityGroup(
            self,
            "Workloads",
            vpc=vpc,
            description="Containers and simulators: nothing comes in, HTTPS goes out",
            allow_all_outbound=False,
        )
        workloads.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(443), "AWS services")
        self.network = Network(vpc, tuple(vpc.private_subnets or vpc.isolated_subnets), workloads)

    def _new(self, naming: Naming, options: NewNetwork) -> ec2.Vpc:
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
            gateway_endpoints={
                "S3": ec2.GatewayVpcEndpointOptions(service=ec2.GatewayVpcEndpointAwsService.S3),
                "DynamoDb": ec2.GatewayVpcEndpointOptions(service=ec2.GatewayVpcEndpointAwsService.DYNAMODB),
            },
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
        doors = ec2.SecurityGroup(
            self,
            "Endpoints",
            vpc=vpc,
            description="Endpoints of AWS services: HTTPS from the VPC",
            allow_all_outbound=False,
        )
        doors.add_ingress_rule(ec2.Peer.ipv4(options.cidr), ec2.Port.tcp(443), "from the VPC")
        if options.egress == "none":
            for name, service in SERVICES.items():
                vpc.add_interface_endpoint(name, service=service, security_groups=[doors], open=False)
        return vpc
