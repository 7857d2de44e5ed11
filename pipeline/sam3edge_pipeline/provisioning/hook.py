"""What AWS IoT Core asks before it provisions a device that presents a claim.

All devices are made with the same claim, which can be copied off any of them. So a claim alone gives nothing: a device
must say the serial number of one that is expected, and each is provisioned once. That also keeps a copied claim from
getting a second certificate for a thing that is there. Which thing group it joins says whoever expects it.

An item of the table: ``serial``, ``group``, and after it was provisioned ``certificate`` and ``provisioned_at``.

https://docs.aws.amazon.com/iot/latest/developerguide/pre-provisioning-hook.html; the answer must come within 5 seconds,
so this module imports little.
"""

from __future__ import annotations

import functools
import logging
import os
import re
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

import boto3
from botocore.config import Config

logger = logging.getLogger(__name__)

TABLE_VARIABLE = "SAM3EDGE_DEVICES_TABLE"
SERIAL_PARAMETER, GROUP_PARAMETER = "SerialNumber", "ThingGroup"
"""Parameters of the provisioning template: what the device says, and what is put in for it."""

SERIAL = re.compile(r"[A-Za-z0-9_-]{1,64}")
"""Becomes a part of the thing's name, and so a level of topics."""

REFUSED: dict[str, Any] = {"allowProvisioning": False}

_QUICK = Config(connect_timeout=1, read_timeout=2, retries={"total_max_attempts": 2})


def allow(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """AWS Lambda's entry point."""
    return decide(_table(), event, datetime.now(timezone.utc))


def decide(table: Any, event: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """Whether a device becomes a thing; if so, the item says that it has.

    Args:
        table: boto3's, of DynamoDB.
    """
    serial = event.get("parameters", {}).get(SERIAL_PARAMETER, "")
    if not SERIAL.fullmatch(serial):
        logger.warning("refused a device whose serial number is none")
        return REFUSED
    try:
        item = table.update_item(
            Key={"serial": serial},
            UpdateExpression="SET certificate = :certificate, provisioned_at = :now",
            ConditionExpression="attribute_exists(serial) AND attribute_not_exists(certificate)",
            ExpressionAttributeValues={":certificate": event["certificateId"], ":now": now.isoformat()},
            ReturnValues="ALL_NEW",
        )["Attributes"]
    except table.meta.client.exceptions.ConditionalCheckFailedException:
        logger.warning("refused %s: not expected, or provisioned before", serial)
        return REFUSED
    logger.info("allowed %s with certificate %s into %s", serial, event["certificateId"], item["group"])
    return {"allowProvisioning": True, "parameterOverrides": {GROUP_PARAMETER: item["group"]}}


@functools.cache
def _table() -> Any:
    return boto3.resource("dynamodb", config=_QUICK).Table(os.environ[TABLE_VARIABLE])
