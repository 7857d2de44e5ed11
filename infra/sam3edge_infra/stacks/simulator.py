"""An EC2 instance that is a device: it is provisioned by claim as any device is, and sees scenes.

No inbound access: no key pair, no open port; people reach it by Systems Manager. What it does when it boots is in
``user_data/simulator.sh``.
"""

from __future__ import annotations

import aws_cdk as cdk
from aws_cdk import aws_ec2 as ec2
from aws_cdk import aws_iam as iam
from aws_cdk import aws_s3_assets as assets
from constructs import Construct

from sam3edge_infra.constructs.acknowledged import acknowledge
from sam3edge_infra.constructs.names import PARTITION, Naming
from sam3edge_infra.constructs.permissions import NO_RESOURCES, Statement, allow
from sam3edge_infra.constructs.stack import StageStack
from sam3edge_infra.stacks.fleet import Fleet
from sam3edge_infra.stacks.network import Network
from sam3edge_infra.stacks.user_data import Device, simulator_script
from sam3edge_infra.stages.delivery import Simulator
from sam3edge_infra.stages.files import ROOT
from sam3edge_infra.stages.stage import ClassicNucleus, LiteNucleus
from sam3edge_infra.stages.values import UNKNOWN_SHA256, has_gpu

SERIAL = "simulator"
SCENES = ROOT / "assets" / "scenes"

CPU_IMAGE = "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id"
GPU_IMAGE = "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-24.04/latest/ami-id"
"""Parameters that Canonical and AWS keep: Ubuntu 24.04, the second with NVIDIA's driver. They are read when the stack
is deployed, and a newer image makes a new instance; what the old one had sent is in the cloud."""

DISK_GB = {False: 30, True: 100}
"""By whether there is a GPU, whose image is larger."""

OUTBOUND_PORTS = {80: "packages of Ubuntu, which are signed", 443: "AWS' services", 8443: "Greengrass", 8883: "MQTT"}


class SimulatorStack(StageStack):
    """A device in the cloud."""

    def __init__(
        self,
        scope: Construct,
        naming: Naming,
        network: Network,
        fleet: Fleet,
        options: Simulator,
        nucleus: ClassicNucleus | LiteNucleus,
    ) -> None:
        super().__init__(scope, "simulator", naming, f"sam3edge: a device with nucleus {nucleus.kind}")
        group = fleet.canary_group if options.group == "canary" else fleet.fleet_group
        scenes = assets.Asset(self, "Scenes", path=str(SCENES), exclude=["*.md", "*.json"])
        role = self._role(naming, fleet, scenes)
        script = simulator_script(
            nucleus,
            Device(
                region=naming.region,
                template=fleet.template,
                role_alias=fleet.role_alias,
                serial=SERIAL,
                group=group,
                table=fleet.devices_table,
                scenes=scenes.s3_object_url,
            ),
        )
        vpc = ec2.Vpc.from_vpc_attributes(
            self,
            "Vpc",
            vpc_id=network.vpc_id(self),
            availability_zones=self.availability_zones[:1],
            private_subnet_ids=[network.first_subnet_id(self)],
        )
        security_group = ec2.SecurityGroup(
            self,
            "SecurityGroup",
            vpc=vpc,
            description="A simulator: no inbound traffic",
            allow_all_outbound=False,
        )
        for port, why in OUTBOUND_PORTS.items():
            security_group.add_egress_rule(ec2.Peer.any_ipv4(), ec2.Port.tcp(port), why)
        gpu = has_gpu(options.instance_type)
        instance = ec2.Instance(
            self,
            "Instance",
            instance_name=naming("simulator"),
            instance_type=ec2.InstanceType(options.instance_type),
            machine_image=ec2.MachineImage.from_ssm_parameter(
                GPU_IMAGE if gpu else CPU_IMAGE, os=ec2.OperatingSystemType.LINUX
            ),
            vpc=vpc,
            vpc_subnets=ec2.SubnetSelection(subnets=vpc.private_subnets),
            security_group=security_group,
            role=role,
            user_data=ec2.UserData.custom(script),
            user_data_causes_replacement=True,
            detailed_monitoring=True,
            http_tokens=ec2.HttpTokens.REQUIRED,
            http_put_response_hop_limit=1,
            associate_public_ip_address=False,
            block_devices=[
                ec2.BlockDevice(
                    device_name="/dev/sda1",
                    volume=ec2.BlockDeviceVolume.ebs(
                        DISK_GB[gpu], encrypted=True, volume_type=ec2.EbsDeviceVolumeType.GP3
                    ),
                )
            ],
        )
        instance.node.add_dependency(role)
        if UNKNOWN_SHA256 in nucleus.digests:
            cdk.Annotations.of(instance).add_warning_v2(
                "sam3edge:digest",
                "expected the digests of what the simulator installs, got placeholders: it will install nothing; "
                "infra/devices.md says how to get them",
            )
        resource = instance.node.default_child
        resource.add_property_deletion_override("AvailabilityZone")  # which is the subnet's anyway
        acknowledge(
            instance,
            {"AwsSolutions-EC29": "a simulator holds nothing that is not made again, and goes when its stage says so"},
        )
        cdk.CfnOutput(self, "Session", value=f"aws ssm start-session --target {instance.instance_id}")

    def _role(self, naming: Naming, fleet: Fleet, scenes: assets.Asset) -> iam.Role:
        role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal("ec2.amazonaws.com"),
            description="a simulator's host: Systems Manager, its scenes, and to ask for a claim of its own",
        )
        allow(
            role,
            Statement(["iot:CreateProvisioningClaim"], [fleet.template_arn]),
            Statement(["iot:DescribeEndpoint"], ["*"], NO_RESOURCES),
            Statement(
                ["dynamodb:PutItem"],
                [naming.table_arn("devices")],
                conditions={"ForAllValues:StringEquals": {"dynamodb:LeadingKeys": [SERIAL]}},
            ),
            Statement(["s3:GetObject"], [f"arn:{PARTITION}:s3:::{scenes.s3_bucket_name}/{scenes.s3_object_key}"]),
            Statement(
                ["ssm:UpdateInstanceInformation"],
                [naming.arn("ec2", "instance/*")],
                "EC2 names the instance, which the role is made before",
            ),
            Statement(
                [
                    "ssmmessages:CreateControlChannel",
                    "ssmmessages:CreateDataChannel",
                    "ssmmessages:OpenControlChannel",
                    "ssmmessages:OpenDataChannel",
                ],
                ["*"],
                NO_RESOURCES,
            ),
        )
        return role
