"""What AWS IoT Core asks before it provisions a device that presents a claim.

All devices are made with the same claim, which can be copied off any of them. So a claim alone gives nothing: a device
must say the serial number of one that is expected, until it has its certificate or the expectation expires. That also
keeps a copied claim from getting a second certificate for a thing that is there. Which thing group it joins says
whoever expects it, not the device.

An item of the table: ``serial``, ``group``, ``expires`` in seconds since 1970, and after a device was allowed
``certificate`` and ``provisioned_at``. An expectation is used up when that certificate is the thing's, and not before:
an answer may come too late or get lost, or provisioning may fail after it. Then the same certificate is allowed again,
and another one once the attempt is over.

AWS IoT Core waits 5 seconds for the answer. So this module imports nothing but the standard library and boto3, and its
function is made of this folder alone.
https://docs.aws.amazon.com/iot/latest/developerguide/pre-provisioning-hook.html
"""

from __future__ import annotations

import functools
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

import boto3
from boto3.dynamodb.conditions import Attr
from botocore.config import Config

logger = logging.getLogger(__name__)

TABLE_VARIABLE = "SAM3EDGE_DEVICES_TABLE"
THINGS_VARIABLE = "SAM3EDGE_DEVICES_THINGS"
"""Of the environment: the table's name, and what names of things begin with."""

SERIAL_PARAMETER, GROUP_PARAMETER = "SerialNumber", "ThingGroup"
"""Parameters of the provisioning template: what the device says, and what is put in for it."""

SERIAL = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""Becomes a part of the thing's name, and so a level of topics."""

ATTEMPT = timedelta(seconds=10)
"""After which the certificate that was allowed is the thing's, or will not be: AWS IoT Core registers a thing within
seconds. Until then another certificate is refused, so that a copied claim gets none beside the device's unnoticed."""

REFUSED: dict[str, Any] = {"allowProvisioning": False}

_QUICK = Config(connect_timeout=1, read_timeout=2, retries={"total_max_attempts": 2})


@dataclass(frozen=True, slots=True)
class Hook:
    """Decides about devices.

    Attributes:
        table: of devices that are expected; boto3's, of DynamoDB.
        iot: boto3's client.
        things: what names of things begin with.
    """

    table: Any
    iot: Any
    things: str

    def decide(self, event: Mapping[str, Any], now: datetime) -> dict[str, Any]:
        """Whether a device becomes a thing; if so, the item says by which certificate.

        Args:
            event: AWS IoT Core's.
        """
        serial = event.get("parameters", {}).get(SERIAL_PARAMETER, "")
        if not SERIAL.fullmatch(serial):
            logger.warning("refused a device without a valid serial number")
            return REFUSED
        item = self.table.get_item(Key={"serial": serial}, ConsistentRead=True).get("Item")
        if item is None or item.get("expires", 0) <= now.timestamp():
            logger.warning("refused %s: it is not expected, or not any more", serial)
            return REFUSED
        certificate, before = event["certificateId"], item.get("certificate")
        if before not in (None, certificate) and not self._failed(serial, item, now):
            logger.warning("refused %s: certificate %s was allowed at %s", serial, before, item["provisioned_at"])
            return REFUSED
        unchanged = Attr("certificate").not_exists() if before is None else Attr("certificate").eq(before)
        try:
            self.table.update_item(
                Key={"serial": serial},
                UpdateExpression="SET certificate = :certificate, provisioned_at = :now",
                ConditionExpression=Attr("serial").exists() & unchanged,
                ExpressionAttributeValues={":certificate": certificate, ":now": now.isoformat()},
            )
        except self.table.meta.client.exceptions.ConditionalCheckFailedException:
            logger.warning("refused %s: another certificate was allowed at the same time", serial)
            return REFUSED
        logger.info("allowed %s with certificate %s into %s", serial, certificate, item["group"])
        return {"allowProvisioning": True, "parameterOverrides": {GROUP_PARAMETER: item["group"]}}

    def _failed(self, serial: str, item: Mapping[str, Any], now: datetime) -> bool:
        """Whether the attempt before is over without having made its certificate the thing's."""
        if now - datetime.fromisoformat(item["provisioned_at"]) < ATTEMPT:
            return False
        pages = self.iot.get_paginator("list_thing_principals").paginate(thingName=self.things + serial)
        try:
            attached = {arn.rpartition("/")[2] for page in pages for arn in page["principals"]}
        except self.iot.exceptions.ResourceNotFoundException:
            return True  # not even the thing was made
        return item["certificate"] not in attached


def allow(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """AWS Lambda's entry point. An empty event is no question, but the daily call that keeps the function active."""
    if not event:
        return REFUSED
    return _hook().decide(event, datetime.now(timezone.utc))


@functools.cache
def _hook() -> Hook:
    table = boto3.resource("dynamodb", config=_QUICK).Table(os.environ[TABLE_VARIABLE])
    return Hook(table, boto3.client("iot", config=_QUICK), os.environ[THINGS_VARIABLE])
