"""Devices of a stage: those that are expected, the claim that they are made with, and their end.

    python -m sam3edge_infra.devices expect --stage dev --group canary cam-7 cam-8
    python -m sam3edge_infra.devices revoke --stage dev cam-7
    python -m sam3edge_infra.devices claim --stage dev --out claim

``expect``: a device with that serial number is provisioned when it presents a claim, once, within a day.
``revoke`` takes a device out, for good or to be provisioned again: its certificates are of no use from then on.
``claim`` makes a certificate and key that devices are made with; with it alone nobody becomes a device.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3

from sam3edge.core.backoff import ceiling
from sam3edge.core.errors import SettingsError
from sam3edge_infra.checks import expect_deletable, session_of
from sam3edge_infra.command_line import add_stage, exit_status, parser_of
from sam3edge_infra.constructs.names import Naming, naming_of
from sam3edge_infra.stacks.device_access import DEVICE_POLICIES
from sam3edge_infra.stages.files import read_stage
from sam3edge_infra.stages.stage import Stage
from sam3edge_pipeline.greengrass_build.build import NAMES
from sam3edge_pipeline.provisioning.hook import SERIAL

CERTIFICATE, KEY = "claim.pem.crt", "claim.pem.key"
EXPECTED_HOURS, MAX_HOURS = 24, 24 * 365
RUNNING = frozenset({"ACTIVE"})
"""States of a deployment that must be cancelled before it can be deleted."""

DETACH_TRIES = 7
FIRST_PAUSE, MAX_PAUSE = 1.0, 8.0
"""Seconds: half a minute in all, for AWS IoT Core to carry out a detachment."""


@dataclass(frozen=True, slots=True)
class Devices:
    """The devices of a stage.

    Attributes:
        iot, greengrass, dynamodb: boto3's clients.
        clock: seconds since 1970.
    """

    stage: Stage
    naming: Naming
    iot: Any
    greengrass: Any
    dynamodb: Any
    clock: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep

    def expect(self, serials: Sequence[str], group: str, hours: float = EXPECTED_HOURS) -> None:
        """Let devices become things of a group, ``canary`` or ``fleet``.

        Args:
            hours: in which they must come.

        Raises:
            SettingsError: a serial number cannot be a part of a thing's name, its device has a certificate, which would
                be good beside the next one, or the hours are none; then none is expected.
        """
        _check(serials)
        if not 0 < hours <= MAX_HOURS:
            raise SettingsError(f"expected hours above 0, {MAX_HOURS} at most, got {hours}")
        if certified := [one for one in serials if self._certificates(self.naming(one))]:
            raise SettingsError(
                f"expected devices without a certificate, got {', '.join(certified)}; to provision them again, "
                "revoke them first"
            )
        named = self.stage.fleet.canary_group if group == "canary" else self.stage.fleet.fleet_group
        expires = str(int(self.clock() + hours * 3600))
        for serial in serials:
            item = {"serial": {"S": serial}, "group": {"S": named}, "expires": {"N": expires}}
            self.dynamodb.put_item(TableName=self.naming("devices"), Item=item)

    def revoke(self, serials: Sequence[str]) -> None:
        """Take devices out: they are not expected any more, their certificates are deactivated, and these and the
        things are deleted.

        Raises:
            SettingsError: a device is not known; then none is revoked.
        """
        _check(serials)
        if unknown := [one for one in serials if not self._is_expected(one) and not self._is_thing(self.naming(one))]:
            raise SettingsError(f"expected devices of the stage {self.stage.name}, got {', '.join(unknown)}")
        for serial in serials:
            self.dynamodb.delete_item(TableName=self.naming("devices"), Key={"serial": {"S": serial}})
            self._remove(self.naming(serial))

    def claim(self, out: Path) -> str:
        """Make a claim: its certificate and key into a folder; returns the certificate's id.

        Raises:
            FileExistsError: there is one already.
        """
        certificate, key = (out / name for name in (CERTIFICATE, KEY))
        if there := [str(path) for path in (certificate, key) if path.exists()]:
            raise FileExistsError(f"expected no claim in {out}, got {', '.join(there)}; name another folder by --out")
        out.mkdir(parents=True, exist_ok=True)
        made = self.iot.create_keys_and_certificate(setAsActive=True)
        self.iot.attach_policy(policyName=self.naming("claim"), target=made["certificateArn"])
        for name, text in ((KEY, made["keyPair"]["PrivateKey"]), (CERTIFICATE, made["certificatePem"])):
            (out / name).touch(mode=0o600, exist_ok=False)
            (out / name).write_text(text, encoding="utf-8")
        return str(made["certificateId"])

    def retire(self) -> None:
        """Delete all devices and claims, and what the roll-out has made: deployments and component versions.

        Raises:
            SettingsError: the stage keeps its data.
        """
        expect_deletable(self.stage)
        for thing in list(self._things()):
            self._remove(thing)
        for policy in ("claim", *DEVICE_POLICIES):
            for certificate in list(self._targets(self.naming(policy))):
                self._delete_certificate(certificate)
        for group in (self.stage.fleet.canary_group, self.stage.fleet.fleet_group):
            self._delete_deployments(self.naming.arn("iot", f"thinggroup/{group}"))
        for name in sorted(NAMES.values()):
            self._delete_versions(self.naming.arn("greengrass", f"components:{name}"))

    def _targets(self, policy: str) -> Iterator[str]:
        """Certificates that have a policy."""
        try:
            for page in self.iot.get_paginator("list_targets_for_policy").paginate(policyName=policy):
                yield from page["targets"]
        except self.iot.exceptions.ResourceNotFoundException:  # its stack is gone, or was never there
            return

    def _things(self) -> Iterator[str]:
        for page in self.iot.get_paginator("list_things").paginate():
            yield from (one["thingName"] for one in page["things"] if one["thingName"].startswith(self.naming("")))

    def _is_expected(self, serial: str) -> bool:
        found = self.dynamodb.get_item(TableName=self.naming("devices"), Key={"serial": {"S": serial}})
        return "Item" in found

    def _is_thing(self, thing: str) -> bool:
        try:
            self.iot.describe_thing(thingName=thing)
        except self.iot.exceptions.ResourceNotFoundException:
            return False
        return True

    def _certificates(self, thing: str) -> list[str]:
        """ARNs of a thing's certificates; none of a thing that is not there."""
        pages = self.iot.get_paginator("list_thing_principals").paginate(thingName=thing)
        try:
            return [arn for page in pages for arn in page["principals"]]
        except self.iot.exceptions.ResourceNotFoundException:
            return []

    def _remove(self, thing: str) -> None:
        """Delete a thing and its certificates, of which it may have none, and may not be there itself."""
        for certificate in self._certificates(thing):
            self._delete_certificate(certificate)
        with suppress(self.greengrass.exceptions.ResourceNotFoundException):  # it never said anything to Greengrass
            self.greengrass.delete_core_device(coreDeviceThingName=thing)
        with suppress(self.iot.exceptions.ResourceNotFoundException):
            self._when_detached(lambda: self.iot.delete_thing(thingName=thing))

    def _delete_certificate(self, certificate: str) -> None:
        identifier = certificate.rpartition("/")[2]
        self.iot.update_certificate(certificateId=identifier, newStatus="INACTIVE")
        for policy in self.iot.list_attached_policies(target=certificate)["policies"]:
            self.iot.detach_policy(policyName=policy["policyName"], target=certificate)
        for thing in self.iot.list_principal_things(principal=certificate)["things"]:
            self.iot.detach_thing_principal(thingName=thing, principal=certificate)
        self._when_detached(lambda: self.iot.delete_certificate(certificateId=identifier, forceDelete=True))

    def _when_detached(self, delete: Callable[[], object]) -> None:
        """Delete what was detached, again while AWS IoT Core has not done that: it does so seconds later.

        https://docs.aws.amazon.com/iot/latest/apireference/API_DetachThingPrincipal.html
        """
        not_yet = (self.iot.exceptions.InvalidRequestException, self.iot.exceptions.DeleteConflictException)
        for attempt in range(1, DETACH_TRIES):
            try:
                delete()
            except not_yet:
                self.sleep(ceiling(FIRST_PAUSE, MAX_PAUSE, attempt))
            else:
                return
        delete()

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


def _check(serials: Sequence[str]) -> None:
    if wrong := [serial for serial in serials if not SERIAL.fullmatch(serial)]:
        raise SettingsError(f"expected serial numbers of letters, digits, - and _, 64 at most; got {wrong}")


def devices_of(stage: Stage, session: boto3.Session) -> Devices:
    """The devices of a stage, by AWS' clients."""
    clients = (session.client(service) for service in ("iot", "greengrassv2", "dynamodb"))
    return Devices(stage, naming_of(stage), *clients)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = parser_of("sam3edge_infra.devices", __doc__)
    common = argparse.ArgumentParser(add_help=False)
    add_stage(common)
    commands = parser.add_subparsers(dest="command", required=True)
    expect = commands.add_parser("expect", parents=[common], help="let devices become things")
    expect.add_argument("--group", choices=("canary", "fleet"), default="fleet")
    expect.add_argument("--hours", type=float, default=EXPECTED_HOURS, help="in which they must come")
    revoke = commands.add_parser("revoke", parents=[common], help="take devices out")
    for command in (expect, revoke):
        command.add_argument("serials", nargs="+", metavar="SERIAL")
    claim = commands.add_parser("claim", parents=[common], help="make a claim")
    claim.add_argument("--out", type=Path, default=Path("claim"), help="folder")
    given = parser.parse_args(arguments)
    return exit_status(lambda: _do(given))


def _do(given: argparse.Namespace) -> None:
    stage = read_stage(given.stage)
    devices = devices_of(stage, session_of(stage))
    if given.command == "expect":
        devices.expect(given.serials, given.group, given.hours)
    elif given.command == "revoke":
        devices.revoke(given.serials)
    else:
        sys.stdout.write(f"{devices.claim(given.out)}\n")


if __name__ == "__main__":
    sys.exit(main())
