"""``python -m sam3edge_serving.api.key_admin``: make and revoke API keys.

A key is shown once and kept as its SHA-256. Its id is entered in API Gateway, too, where the usage plan counts by it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import boto3

from sam3edge_serving.api.keys import DynamoKeys, new_key


def issue(keys: DynamoKeys, gateway: Any, usage_plan: str, owner: str) -> str:
    """Make a key, enter its id in the usage plan, and return it.

    Args:
        gateway: boto3's ``apigateway`` client.
    """
    key, record = new_key(owner)
    entered = gateway.create_api_key(name=f"sam3edge-{record.id}", value=record.id, enabled=True, description=owner)
    gateway.create_usage_plan_key(usagePlanId=usage_plan, keyId=entered["id"], keyType="API_KEY")
    keys.add(record)
    return key


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m sam3edge_serving.api.key_admin", description=__doc__)
    parser.add_argument("--table", required=True, help="DynamoDB table of the keys")
    commands = parser.add_subparsers(dest="command", required=True)
    making = commands.add_parser("issue", help="make a key and show it")
    making.add_argument("--usage-plan", required=True, help="id of API Gateway's usage plan")
    making.add_argument("--owner", required=True, help="who gets it")
    revoking = commands.add_parser("revoke", help="revoke a key")
    revoking.add_argument("key_id", help="24 hexadecimal digits, the middle of the key")
    given = parser.parse_args(arguments)
    keys = DynamoKeys(boto3.resource("dynamodb").Table(given.table))
    if given.command == "issue":
        key = issue(keys, boto3.client("apigateway"), given.usage_plan, given.owner)
        sys.stdout.write(f"{key}\n")
    else:
        keys.revoke(given.key_id)
    return 0


if __name__ == "__main__":
    sys.exit(main())
