"""Devices of a stage: those that are expected, the claim that they are made with, and their end.

    python -m sam3edge_infra.devices expect --stage dev --group canary cam-7 cam-8
    python -m sam3edge_infra.devices claim --stage dev --out claim

``expect``: a device with that serial number is provisioned when it presents a claim, once; said again, once more.
``claim`` makes a certificate and key that devices are made with; with it alone nobody becomes a device.

Their end, ``Devices.retire``, is a part of ``make destroy``: CloudFormation deletes neither a policy that certificates
have nor what it has not made. So things, certificates and claims go, and what the roll-out has made: deployments and
component versions.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from sam3edge.core.errors import SettingsError
from sam3edge_infra.account import session_of
from sam3edge_infra.constructs.names import Naming, naming_of
from sam3edge_infra.stages.files import read_stage
from sam3edge_infra.stages.stage import Stage
from sam3edge_pipeline.greengrass_build.build import NAMES
from sam3edge_pipeline.provisioning.hook import SERIAL

CERTIFICATE, KEY = "claim.pem.crt", "claim.pem.key"
RUNNING = frozenset({"ACTIVE"})
"""States of a deployment that must be cancelled before it can be deleted."""


@dataclass(frozen=True, slots=True)
class Devices:
    """The devices of a stage.

    Attributes:
        iot, greengrass, dynamodb: boto3's clients.
    """

    stage: Stage
    naming: Naming
    iot: Any
    greengrass: Any
    dynamodb: Any

    def expect(self, serials: Sequence[str], group: str) -> None:
        """Let devices become things of a group, ``canary`` or ``fleet``.

        Raises:
            SettingsError: a serial number cannot be a part of a thing's name; then none is expected.
        """
        if wrong := [serial for serial in serials if not SERIAL.fullmatch(serial)]:
            raise SettingsError(f"expected serial numbers of letters, digits, - and _, 64 at most; got {wrong}")
        named = self.stage.fleet.canary_group if group == "canary" else self.stage.fleet.fleet_group
        for serial in serials:
            item = {"serial": {"S": serial}, "group": {"S": named}}
            self.dynamodb.put_item(TableName=self.naming("devices"), Item=item)

    def claim(self, out: Path) -> str:
        """Make a claim: its certificate and key into a folder; returns the certificate's id.

        Raises:
            FileExistsError: there is one already.
        """
        certificate, key = (out / name for name in (CERTIFICATE, KEY))
        if there := [str(path) for path in (certificate, key) if path.exists()]:
            raise FileExistsError(f"expected no claim in {out}, got {', '.join(there)}; name another folder by --out")
        out.mkdir(parents=True, exist_ok=True)
        key.touch(mode=0o600, exist_ok=False)  # before there is a certificate that nobody could keep
        try:
            made = self.iot.create_keys_and_certificate(setAsActive=True)
        except (BotoCoreError, ClientError):
            key.unlink()
            raise
        key.write_text(made["keyPair"]["PrivateKey"], encoding="utf-8")
        certificate.write_text(made["certificatePem"], encoding="utf-8")
        self.iot.attach_policy(policyName=self.naming("claim"), target=made["certificateArn"])
        return str(made["certificateId"])

    def retire(self) -> None:
        """Delete all devices, claims, deployments and component versions.

        Raises:
            SettingsError: the stage keeps its data.
        """
        self.stage.check_deletes_data()
        for policy in (self.naming("claim"), self.naming("device")):
            for certificate in list(self._targets(policy)):
                self._delete_certificate(policy, certificate)
        for group in (self.stage.fleet.canary_group, self.stage.fleet.fleet_group):
            self._delete_deployments(self.naming.arn("iot", f"thinggroup/{group}"))
        for name in sorted(NAMES.values()):
            self._delete_versions(self.naming.arn("greengrass", f"components:{name}"))

    def _targets(self, policy: str) -> Iterator[str]:
        try:
            for page in self.iot.get_paginator("list_targets_for_policy").paginate(policyName=policy):
                yield from page["targets"]
        except self.iot.exceptions.ResourceNotFoundException:  # its stack is gone, or was never there
            return

    def _delete_certificate(self, policy: str, certificate: str) -> None:
        for thing in self.iot.list_principal_things(principal=certificate)["things"]:
            self.iot.detach_thing_principal(thingName=thing, principal=certificate)
            if thing.startswith(self.naming("")):
                self._delete_core_device(thing)
                self.iot.delete_thing(thingName=thing)
        self.iot.detach_policy(policyName=policy, target=certificate)
        identifier = certificate.rpartition("/")[2]
        self.iot.update_certificate(certificateId=identifier, newStatus="INACTIVE")
        self.iot.delete_certificate(certificateId=identifier, forceDelete=True)

    def _delete_core_device(self, thing: str) -> None:
        try:
            self.greengrass.delete_core_device(coreDeviceThingName=thing)
        except self.greengrass.exceptions.ResourceNotFoundException:
            return  # a thing that never said anything to Greengrass

    def _delete_deployments(self, target: str) -> None:
        listed = self.greengrass.get_paginator("list_deployments").paginate(targetArn=target, historyFilter="ALL")
        for deployment in [one for page in listed for one in page["deployments"]]:
            if deployment["deploymentStatus"] in RUNNING:
                self.greengrass.cancel_deployment(deploymentId=deployment["deploymentId"])
            self.greengrass.delete_deployment(deploymentId=deployment["deploymentId"])

    def _delete_versions(self, component: str) -> None:
        try:
            listed = self.greengrass.get_paginator("list_component_versions").paginate(arn=component)
            versions = [one["arn"] for page in listed for one in page["componentVersions"]]
        except self.greengrass.exceptions.ResourceNotFoundException:
            return
        for arn in versions:
            self.greengrass.delete_component(arn=arn)


def devices_of(stage: Stage, session: boto3.Session) -> Devices:
    """The devices of a stage, by AWS' clients."""
    iot, greengrass, dynamodb = (session.client(service) for service in ("iot", "greengrassv2", "dynamodb"))
    return Devices(stage, naming_of(stage), iot, greengrass, dynamodb)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        prog="python -m sam3edge_infra.devices",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    stage = argparse.ArgumentParser(add_help=False)
    stage.add_argument("--stage", required=True, help="name of a file in infra/stages")
    commands = parser.add_subparsers(dest="command", required=True)
    expect = commands.add_parser("expect", parents=[stage], help="let devices become things")
    expect.add_argument("--group", choices=("canary", "fleet"), default="fleet")
    expect.add_argument("serials", nargs="+", metavar="SERIAL")
    claim = commands.add_parser("claim", parents=[stage], help="make a claim")
    claim.add_argument("--out", type=Path, default=Path("claim"), help="folder")
    given = parser.parse_args(arguments)
    try:
        named = read_stage(given.stage)
        devices = devices_of(named, session_of(named))
        if given.command == "expect":
            devices.expect(given.serials, given.group)
        else:
            sys.stdout.write(f"{devices.claim(given.out)}\n")
    except (SettingsError, FileExistsError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
